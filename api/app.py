"""The application: one factory with explicit arguments, and the lifetime of what it opens."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from api.agents.run.worker import Worker
from api.http import body_limit, metrics, prefer_wait, problems
from api.http.auth.permissions import Tokens
from api.http.openapi import Documented
from api.http.routes import (
    agents,
    decisions,
    event_types,
    health,
    model_calls,
    portfolio,
    recommendations,
    reports,
    tlog,
)
from api.otlp import route
from api.settings import AppSettings
from api.witness.app import install_witness
from ledger.database import conninfo
from ledger.service.ledger import Ledger
from ledger.store.readers import STATEMENT_TIMEOUT_S, Readers
from ledger.store.writer import Writer
from ledger.tlog.serve.proof_cache import Proofs
from ledger.tlog.serve.published import Serving
from ledger.tlog.sign.signer_thread import SignerThread
from ledger.verify.continuous import Watch
from projections.projector import Projector

# Two sealed fields of 8 MiB, escaped, with room for the rest; so much, too, of spans once they are unpacked.
MAX_REQUEST_BYTES = 20 * 1024 * 1024

DESCRIPTION = """
Every input, model output and human override, appended to a hash-chained table; what you read here is derived from it.
Errors are `application/problem+json`. Writes take an `Idempotency-Key` and answer with `Ledger-Position` and
`Ledger-Hash`. Reads see everything acknowledged before them.
"""


def create_app(settings: AppSettings) -> FastAPI:
    """The HTTP application. It opens the database when it starts and closes it when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await _open(app, settings, stack)
            _spare_the_collector()
            yield

    app = Documented(
        title="advice-ledger",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.registry = CollectorRegistry()
    problems.install(app)
    prefer_wait.install(app)
    body_limit.install(app, app.state.registry, most_bytes=MAX_REQUEST_BYTES)
    for module in (
        portfolio,
        recommendations,
        decisions,
        model_calls,
        agents,
        reports,
        route,
        tlog,
        event_types,
        health,
    ):
        app.include_router(module.router)
    if settings.witness is not None:
        install_witness(app, settings.witness)
    return app


def _spare_the_collector() -> None:
    """What lives as long as the process is not looked through again, and new objects less often.

    A request makes some hundred objects that no cycle holds; with Python's own threshold of 700 the collector took a
    good part of each write.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def _open(app: FastAPI, settings: AppSettings, stack: AsyncExitStack) -> None:
    """Starts writer, readers, projector and worker; they stop in the opposite order."""

    def connection(role: str, name: str, **more: str) -> str:
        more["statement_timeout"] = f"{STATEMENT_TIMEOUT_S}s"
        application = f"advice-ledger {name}"
        return conninfo(settings.database_url, role, schema=settings.schema_name, application=application, **more)

    readers = Readers(
        connection("reader", "reader"),
        most=settings.readers,
        patience_s=settings.patience_s,
    )
    await readers.open()
    stack.push_async_callback(readers.close)
    writer = Writer(
        # Waiting longer for the row of head would only keep the callers: what is given up here is surely not recorded.
        connection("writer", "writer", lock_timeout=f"{settings.patience_s}s"),
        patience_s=settings.patience_s,
    )
    await writer.start()
    stack.push_async_callback(writer.close)
    projector = Projector(settings.database_url, schema=settings.schema_name)
    projector.start()
    stack.push_async_callback(asyncio.to_thread, projector.stop)
    ledger = Ledger(writer, readers, settings.patience_s, settings.policies)
    app.state.tokens = Tokens(readers)
    app.state.ledger = ledger
    app.state.proofs = Proofs()
    app.state.serving = Serving(settings.vouching.policy)
    app.state.coverage = prefer_wait.Coverage(readers)
    stack.push_async_callback(app.state.coverage.close)
    app.state.signer = None
    if settings.signing is not None:
        app.state.signer = SignerThread(settings.database_url, settings.signing, schema=settings.schema_name)
        app.state.signer.start()
        stack.push_async_callback(asyncio.to_thread, app.state.signer.stop)
    app.state.watch = None
    if settings.watching is not None:
        app.state.watch = Watch(settings.database_url, settings.watching, schema=settings.schema_name)
        app.state.watch.start()
        stack.push_async_callback(asyncio.to_thread, app.state.watch.stop)
    app.state.verification = metrics.Verification(app.state.registry)
    app.state.checkpoints = metrics.Checkpoints(app.state.registry)
    app.state.asked = settings.vouching
    app.state.vouchers = metrics.Vouchers(app.state.registry, settings.vouching)
    app.state.orphans = metrics.Orphans(app.state.registry, settings.orphan_after_s)
    if settings.run_worker:
        worker = Worker(ledger, settings.make_agent(), connection("writer", "worker"))
        worker.start()
        stack.push_async_callback(worker.stop)

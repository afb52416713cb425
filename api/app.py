"""Make the HTTP application with one factory and explicit arguments."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp

from api.http import (
    body_limit,
    compression,
    docs_page,
    head,
    login,
    metrics,
    prefer_wait,
    problems,
    read_only,
    root_path,
    verify_page,
)
from api.http.openapi import Documented
from api.http.routes import (
    access,
    agents,
    assignments,
    cases,
    client_assignments,
    clients,
    decisions,
    deliveries,
    disposals,
    erasures,
    event_types,
    events,
    exports,
    findings,
    health,
    holdings,
    identities,
    jobs,
    legal_holds,
    me,
    mistakes,
    model_calls,
    monitoring,
    monitoring_inputs,
    portfolio,
    portfolios,
    rebalancing,
    recommendations,
    reports,
    reviews,
    runs_again,
    samples,
    signing_keys,
    subject_changes,
    subjects,
    tlog,
)
from api.malloc import give_back
from api.otlp import route
from api.services import Parts, open_services, services_of
from api.witness.app import install_witness

DESCRIPTION = """
Records every input, model output and human decision in a hash-chained, append-only table. Reads come from tables
that are derived from it.

Errors are `application/problem+json` (RFC 9457). Writes take an `Idempotency-Key` and answer with `Ledger-Position`
and `Ledger-Hash`. A read sees every write that was acknowledged before it.
"""


# The modules with routes, in the order of the OpenAPI document.
ROUTES = (
    portfolio,
    recommendations,
    decisions,
    deliveries,
    mistakes,
    reviews,
    samples,
    model_calls,
    agents,
    assignments,
    cases,
    client_assignments,
    clients,
    me,
    signing_keys,
    subjects,
    identities,
    subject_changes,
    portfolios,
    holdings,
    monitoring_inputs,
    rebalancing,
    legal_holds,
    disposals,
    erasures,
    monitoring,
    runs_again,
    jobs,
    exports,
    findings,
    reports,
    access,
    events,
    route,
    tlog,
    event_types,
    health,
)


class Application(Documented):
    """A FastAPI application without the layers of the framework that nothing here uses."""

    def build_middleware_stack(self) -> ASGIApp:
        """Put our own layers around one handler of all exceptions, and that handler around the routes.

        Starlette's outermost layer is left out: after its handler for Exception it raises the exception again, and the
        server then logs the message, which may hold values that the caller sent.
        """
        stack: ASGIApp = AsyncExitStackMiddleware(self.router)
        stack = ExceptionMiddleware(stack, handlers=self.exception_handlers)
        for layer in reversed(self.user_middleware):
            stack = layer.cls(stack, *layer.args, **layer.kwargs)
        return stack


def create_app(parts: Parts) -> FastAPI:
    """Make the HTTP application. It opens its services when it starts and closes them when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(parts) as services:
            app.state.services = services
            _tune_garbage_collection()
            yield

    app = Application(
        title="advice-ledger",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for module in ROUTES:
        # Do not use include_router(): it wraps each route, which would bypass JsonRoute and slow down all other
        # routes.
        app.router.routes.extend(module.router.routes)
    app.router.routes.extend(portfolios.prices_router.routes)
    docs_page.install(app)
    verify_page.install(app)
    if parts.identity_provider is not None:
        login.install(app)
    if parts.witness is not None:
        install_witness(app, parts.witness)
    # Each middleware goes around those added before it.
    problems.install(app)
    if parts.read_only:
        read_only.install(app)
    prefer_wait.install(app, lambda: services_of(app).coverage)
    body_limit.install(app)
    compression.install(app)
    head.install(app)
    root_path.install(app, parts.root_path)
    metrics.install(app)
    return app


def _tune_garbage_collection() -> None:
    """Exempt long-lived objects from collection, and collect young ones less often.

    A request makes some hundred objects, few of them in a cycle. With Python's default threshold of 700, the collector
    took a large part of each write. A collection of all generations takes a millisecond, because only some thousand
    objects are not frozen. So it can run often enough that old garbage does not accumulate. After it, free memory is
    given back.
    """
    gc.collect()
    gc.freeze()
    # Python collects all generations only if the number of old objects is more than a quarter of those that the last
    # such collection left. Make this number exclude the frozen objects.
    gc.collect()
    gc.set_threshold(20_000, 2, 2)
    if _collected not in gc.callbacks:
        gc.callbacks.append(_collected)


def _collected(phase: str, info: dict[str, int]) -> None:
    # Not after a collection of young objects: these are several times as many, and giving memory back takes longer.
    if phase == "stop" and info["generation"] == 2:
        give_back()

"""The parts of one open ledger, and the one function that opens them: for HTTP, the worker, jobs and commands.

`create_app()` stores the opened `Services` in `app.state`; `services_of()` is the only code that reads it. Routes
declare a parameter of type `InjectedServices`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from starlette.applications import Starlette

from api.agents.builtin.agent import BuiltinAgent
from api.agents.protocol import Agent
from api.agents.run.worker import Worker
from api.callers import Callers
from api.one_at_once import OneAtOnce
from api.postgres.privileged import parameters
from api.slow_reads import MOST_OF_ALL, SlowReads
from api.witness.witness import Witness
from ledger.background import BackgroundWorker, stop_all
from ledger.database import Url, conninfo
from ledger.proof.tlog.note import VerifierKey
from ledger.service.ledger import Ledger
from ledger.service.policies import Policies
from ledger.store.readers import STATEMENT_TIMEOUT_S, Readers
from ledger.store.writer import Writer
from ledger.tlog.endorse.endorsers import EndorserConfig
from ledger.tlog.serve.coverage import Coverage
from ledger.tlog.serve.proof_cache import ProofCache
from ledger.tlog.serve.published import CheckpointSelector
from ledger.tlog.sign.signed_checkpoints import SignedCheckpoints
from ledger.tlog.sign.signer_thread import SignerThread, SigningConfig
from ledger.verify.continuous import ContinuousVerification, VerificationConfig
from projections.projector import Projector
from projections.projector_process import ProjectorProcess

# Connections that look up tokens.
AUTHENTICATING = 2

# Nothing is served before the signer has compared the database with what was signed last, but no longer than this.
LOOK_S = 5.0
UNPACKED_AT_ONCE = 2

# The background threads have this time to end, all together.
STOP_S = 4.0


@dataclass(frozen=True)
class Parts:
    """The arguments of `open_services()`: settings that were checked and turned into objects."""

    # A migrated ledger, by a login that may act in its roles, or by a login for each.
    database_url: Url
    schema_name: str = "ledger"
    # Where read models are kept at the head: in a thread or a process of its own, or not here.
    projector: Literal["none", "thread", "process"] = "thread"
    # Only read: no writer. The database may be a standby.
    read_only: bool = False
    run_worker: bool = True
    # Makes the agent that the worker asks.
    make_agent: Callable[[], Agent] = BuiltinAgent
    policies: Policies = field(default_factory=Policies.packaged)
    # A model call that has been open for longer is counted as an orphan.
    orphan_after_s: float = 300.0
    # The key and schedule to sign with; None if another process signs, or none.
    signing: SigningConfig | None = None
    # The witnesses and timestamp authorities that the signing process asks; other processes report what is stored.
    endorsers: EndorserConfig = field(default_factory=EndorserConfig)
    # For the logs of others; None if this process is no witness.
    witness: Witness | None = None
    # The rate and keys of continuous verification; None if this process does not verify.
    verification: VerificationConfig | None = None
    # The path under which a proxy serves the application, such as /ledger.
    root_path: str = ""
    # Connections for reads.
    readers: int = 8
    # How long a read waits for its projection, and a write for the database.
    patience_s: float = 3.0


@dataclass(frozen=True)
class Services:
    """One open ledger. The members live as long as `open_services()` runs; none is replaced meanwhile."""

    ledger: Ledger
    callers: Callers
    slow_reads: SlowReads
    # Which checkpoint readers are shown.
    checkpoint_selector: CheckpointSelector
    # Those that the log's key signed, as far as this process has the key.
    checkpoints: SignedCheckpoints
    proof_cache: ProofCache
    coverage: Coverage
    # None if this process does not sign.
    signer: SignerThread | None
    # None if this process has no worker.
    worker: Worker | None
    # None if this process does not verify in the background.
    continuous_verification: ContinuousVerification | None
    endorsers: EndorserConfig
    orphan_after_s: float
    # Which logins this process uses, for api/postgres/privileged.py.
    logins: dict[str, Any]
    # True if this process records nothing.
    read_only: bool = False
    # The time between two checkpoints; None if this process does not sign.
    sign_every_s: float | None = None
    one_at_once: OneAtOnce = field(default_factory=OneAtOnce)
    # Exports that are unpacked and mapped at once; others wait.
    unpacking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UNPACKED_AT_ONCE))
    # What came in over OTLP since the start of this process: by signal, dialect and outcome, `recorded` or why not.
    otlp_items: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    started_s: float = field(default_factory=monotonic)


@asynccontextmanager
async def open_services(parts: Parts) -> AsyncIterator[Services]:
    """Open connections and start background workers; stop them in the opposite order when the block ends.

    The database need not answer yet: each part connects on its own, again and again.
    """
    async with AsyncExitStack() as stack:
        ledger = await _open_ledger(parts, stack)
        # Pools of their own: long reads in one must not keep callers out of another.
        callers = Callers(await _open_readers(parts, stack, "authentication", AUTHENTICATING))
        slow_reads = SlowReads(await _open_readers(parts, stack, "slow reader", MOST_OF_ALL))
        threads: list[BackgroundWorker] = []
        if parts.projector == "thread":
            threads.append(Projector(parts.database_url, schema=parts.schema_name))
        elif parts.projector == "process":
            threads.append(ProjectorProcess(parts.database_url, schema=parts.schema_name))
        checkpoints = SignedCheckpoints(_verifier_key(parts), [each.key for each in parts.endorsers.policy.witnesses])
        coverage = Coverage(ledger.readers, checkpoints.covered)
        stack.push_async_callback(coverage.close)
        signer, verification = _signer(parts), _verification(parts)
        threads += [thread for thread in (signer, verification) if thread is not None]
        for thread in threads:
            thread.start()
        stack.push_async_callback(asyncio.to_thread, stop_all, threads, STOP_S)
        if signer is not None:
            await asyncio.to_thread(signer.looked.wait, LOOK_S)
        worker = None
        if parts.run_worker:
            worker = Worker(ledger, parts.make_agent(), _conninfo(parts, "writer", "worker"))
            worker.start()
            stack.push_async_callback(worker.stop)
        yield Services(
            ledger=ledger,
            callers=callers,
            slow_reads=slow_reads,
            checkpoint_selector=CheckpointSelector(parts.endorsers.policy),
            checkpoints=checkpoints,
            proof_cache=ProofCache(),
            coverage=coverage,
            signer=signer,
            worker=worker,
            continuous_verification=verification,
            endorsers=parts.endorsers,
            orphan_after_s=parts.orphan_after_s,
            read_only=parts.read_only,
            logins=parameters(parts.database_url, parts.schema_name),
            sign_every_s=None if parts.signing is None else parts.signing.every_s,
        )


def services_of(app: Starlette) -> Services:
    """Return the services of a running application."""
    services: Services = app.state.services
    return services


async def _services(request: Request) -> Services:
    return services_of(request.app)


InjectedServices = Annotated[Services, Depends(_services)]


async def _open_ledger(parts: Parts, stack: AsyncExitStack) -> Ledger:
    readers = await _open_readers(parts, stack, "reader", parts.readers)
    # The lock timeout bounds how long an append waits for the row of `head`. An append that is given up there is
    # certainly not recorded.
    url = _conninfo(parts, "writer", "writer", lock_timeout=f"{parts.patience_s}s")
    known = tuple if parts.signing is None else parts.signing.known_events
    writer = Writer(url, patience_s=parts.patience_s, known=known)
    if not parts.read_only:
        await writer.start()
    stack.push_async_callback(writer.close)
    return Ledger(writer, readers, parts.patience_s, parts.policies)


async def _open_readers(parts: Parts, stack: AsyncExitStack, name: str, most: int) -> Readers:
    readers = Readers(_conninfo(parts, "reader", name), most=most, patience_s=parts.patience_s)
    await readers.open()
    stack.push_async_callback(readers.close)
    return readers


def _signer(parts: Parts) -> SignerThread | None:
    if parts.signing is None:
        return None
    return SignerThread(parts.database_url, parts.signing, parts.endorsers, schema=parts.schema_name)


def _verifier_key(parts: Parts) -> VerifierKey | None:
    if parts.signing is not None:
        return parts.signing.key.verifier
    return next(iter(parts.verification.keys), None) if parts.verification is not None else None


def _verification(parts: Parts) -> ContinuousVerification | None:
    if parts.verification is None:
        return None
    return ContinuousVerification(parts.database_url, parts.verification, schema=parts.schema_name)


def _conninfo(parts: Parts, role: str, name: str, **options: str) -> str:
    return conninfo(
        parts.database_url,
        role,
        schema=parts.schema_name,
        application=f"advice-ledger {name}",
        statement_timeout=f"{STATEMENT_TIMEOUT_S}s",
        **options,
    )

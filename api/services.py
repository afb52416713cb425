"""Define the parts of one open ledger, and the function that opens them for HTTP, the worker, jobs and commands.

`create_app()` stores the opened `Services` in `app.state`; only `services_of()` reads it. Routes declare a parameter
of type `InjectedServices`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from starlette.applications import Starlette

from api.agents.builtin.agent import BuiltinAgent
from api.agents.protocol import Agent
from api.agents.run.worker import Worker
from api.callers import Callers
from api.event_feed import READS_AT_ONCE, EventFeed
from api.jobs.kind import AnyKind, JobFiles, JobTools
from api.jobs.mail import MailSettings
from api.jobs.queue import JobQueue
from api.jobs.runner import JobRunner
from api.jobs.webhook import WebhookSettings
from api.oidc.login import Login, login_of
from api.oidc.provider import Provider, ProviderConfig
from api.one_at_once import OneAtOnce
from api.postgres.privileged import parameters
from api.slow_reads import MOST_OF_ALL, SlowReads
from api.witness.witness import Witness
from ledger.background import BackgroundWorker, stop_all
from ledger.database import conninfo
from ledger.domain.access_policy import AccessPolicy
from ledger.proof.tlog.note import VerifierKey
from ledger.service.credential_uses import CredentialUses
from ledger.service.erasures import Erasing
from ledger.service.ledger import Ledger
from ledger.service.open_ledger import LedgerParts, conninfo_of, open_ledger, open_readers
from ledger.tlog.endorse.endorsers import EndorserConfig
from ledger.tlog.serve.coverage import Coverage
from ledger.tlog.serve.proof_cache import ProofCache
from ledger.tlog.serve.published import CheckpointSelector
from ledger.tlog.serve.tile_cache import TileCache
from ledger.tlog.sign.signed_checkpoints import SignedCheckpoints
from ledger.tlog.sign.signer_thread import SignerThread, SigningConfig
from ledger.verify.continuous import ContinuousVerification, VerificationConfig
from projections.erased import family, read_models_folded_again
from projections.projector import Projector
from projections.projector_process import ProjectorProcess

# The functions of the read models that erasures need.
ERASING = Erasing(read_models_folded_again, family)
# The number of connections that look up tokens.
AUTHENTICATING = 2

# Requests wait until the signer has compared the database with what was signed last, but no longer than this.
LOOK_S = 5.0
UNPACKED_AT_ONCE = 2

# The time in which all background threads together have to end.
STOP_S = 4.0


@dataclass(frozen=True)
class Parts(LedgerParts):
    """The arguments of `open_services()`: settings that were checked and turned into objects."""

    erasing: Erasing | None = ERASING
    # The place of the projector: a thread, a process of its own, or "none" if it runs elsewhere.
    projector: Literal["none", "thread", "process"] = "thread"
    run_worker: bool = True
    # The kinds of jobs that this process runs; None if it runs none.
    job_kinds: Sequence[AnyKind] | None = None
    # The place for files of jobs; None without one.
    job_files: JobFiles | None = None
    # The list of erasures that is kept outside the database; None if this process keeps none.
    erasures_file: Path | None = None
    # The settings for sending messages to endpoints; None if this process sends none.
    webhooks: WebhookSettings | None = None
    mail: MailSettings | None = None
    # The address that links in messages begin with.
    link_base: str = ""
    # Makes the agent that the worker asks.
    make_agent: Callable[[], Agent] = BuiltinAgent
    # A model call that has been open for longer is counted as an orphan.
    orphan_after_s: float = 300.0
    # The key and schedule to sign with; None if another process signs, or none.
    signing: SigningConfig | None = None
    # The witnesses and timestamp authorities that the signing process asks; other processes report what is stored.
    endorsers: EndorserConfig = field(default_factory=EndorserConfig)
    # The witness for other logs; None if this process is no witness.
    witness: Witness | None = None
    # The rate and keys of continuous verification; None if this process does not verify.
    verification: VerificationConfig | None = None
    # The provider whose tokens are accepted besides the ledger's own; None without one.
    identity_provider: ProviderConfig | None = None
    # The path under which a proxy serves the application, such as /ledger.
    root_path: str = ""
    # The addresses at which browsers reach this server, such as https://ledger.example: passkeys are registered there.
    public_origins: tuple[str, ...] = ()


@dataclass(frozen=True)
class Services:
    """One open ledger. The members live as long as `open_services()` runs; none is replaced meanwhile."""

    ledger: Ledger
    callers: Callers
    # None if the ledger has no provider.
    identity_provider: Provider | None
    # The login of browsers at that provider; None without one.
    login: Login | None
    slow_reads: SlowReads
    event_feed: EventFeed
    # Chooses the checkpoint that readers are shown.
    checkpoint_selector: CheckpointSelector
    # The checkpoints that the log's key signed, if this process has the key.
    checkpoints: SignedCheckpoints
    proof_cache: ProofCache
    tile_cache: TileCache
    coverage: Coverage
    # None if this process does not sign.
    signer: SignerThread | None
    # None if this process has no worker.
    worker: Worker | None
    jobs: JobQueue
    # None if this process runs no jobs.
    job_runner: JobRunner | None
    job_files: JobFiles | None
    # None if this process does not verify in the background.
    continuous_verification: ContinuousVerification | None
    endorsers: EndorserConfig
    # The permissions of each role.
    access_policy: AccessPolicy
    orphan_after_s: float
    # The logins of this process, for api/postgres/privileged.py.
    logins: dict[str, Any]
    # True if this process records nothing.
    read_only: bool = False
    public_origins: tuple[str, ...] = ()
    # The time between two checkpoints; None if this process does not sign.
    sign_every_s: float | None = None
    one_at_once: OneAtOnce = field(default_factory=OneAtOnce)
    # The exports that are unpacked and mapped at once; others wait.
    unpacking: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UNPACKED_AT_ONCE))
    # Items received over OTLP since the start of this process, by signal, dialect and outcome.
    otlp_items: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    started_s: float = field(default_factory=monotonic)


@asynccontextmanager
async def open_services(parts: Parts) -> AsyncIterator[Services]:
    """Open connections and start background workers; stop them in the opposite order when the block ends.

    The database need not answer yet: each part connects on its own, again and again.
    """
    async with AsyncExitStack() as stack:
        known = tuple if parts.signing is None else parts.signing.known_events
        ledger = await stack.enter_async_context(open_ledger(parts, known))
        # Separate pools: long reads in one must not keep callers out of another.
        authenticating = await open_readers(parts, stack, "authentication", AUTHENTICATING)
        provider = None if parts.identity_provider is None else Provider(parts.identity_provider)
        if provider is not None:
            stack.push_async_callback(provider.close)
        callers = Callers(
            authenticating, patience_s=parts.patience_s, provider=provider, uses=CredentialUses(ledger.claims.claiming)
        )
        callers.start()
        stack.push_async_callback(callers.close)
        slow_reads = SlowReads(await open_readers(parts, stack, "slow reader", MOST_OF_ALL))
        event_feed = await _event_feed(parts, stack)
        threads = _projector(parts)
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
        worker = _worker(parts, ledger, stack)
        jobs = JobQueue(ledger.readers, ledger.claims.claiming)
        yield Services(
            ledger=ledger,
            callers=callers,
            identity_provider=provider,
            login=None if provider is None else login_of(provider, parts.public_origins, parts.root_path),
            slow_reads=slow_reads,
            event_feed=event_feed,
            checkpoint_selector=CheckpointSelector(parts.endorsers.policy),
            checkpoints=checkpoints,
            proof_cache=ProofCache(),
            tile_cache=TileCache(),
            coverage=coverage,
            signer=signer,
            worker=worker,
            jobs=jobs,
            job_runner=_job_runner(parts, ledger, jobs, stack),
            job_files=parts.job_files,
            continuous_verification=verification,
            endorsers=parts.endorsers,
            access_policy=parts.policies.access,
            orphan_after_s=parts.orphan_after_s,
            read_only=parts.read_only,
            public_origins=parts.public_origins,
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


def _projector(parts: Parts) -> list[BackgroundWorker]:
    """Return the worker that keeps the read models up to date, if this process has one."""
    if parts.projector == "thread":
        return [Projector(parts.database_url, schema=parts.schema_name)]
    if parts.projector == "process":
        return [ProjectorProcess(parts.database_url, schema=parts.schema_name)]
    return []


async def _event_feed(parts: Parts, stack: AsyncExitStack) -> EventFeed:
    """Make the feed; the stack closes it. One connection looks for new events while the others read."""
    event_feed = EventFeed(await open_readers(parts, stack, "follower", READS_AT_ONCE + 1))
    stack.push_async_callback(event_feed.close)
    return event_feed


def _worker(parts: Parts, ledger: Ledger, stack: AsyncExitStack) -> Worker | None:
    """Start the worker, if this process has one; the stack stops it."""
    if not parts.run_worker:
        return None
    worker = Worker(ledger, parts.make_agent(), conninfo_of(parts, "writer", "worker"))
    worker.start()
    stack.push_async_callback(worker.stop)
    return worker


def _job_runner(parts: Parts, ledger: Ledger, jobs: JobQueue, stack: AsyncExitStack) -> JobRunner | None:
    """Start a job runner, if this process runs jobs; the stack stops it."""
    if parts.job_kinds is None:
        return None
    key = _verifier_key(parts)
    keys = () if key is None else (key.text,)
    sending = (parts.webhooks, parts.mail, parts.link_base)
    tools = JobTools(
        ledger, partial(_conninfo, parts), parts.recorder, parts.job_files, keys, *sending, parts.erasures_file
    )
    runner = JobRunner(jobs, [kind for kind in parts.job_kinds if kind.can_run(tools)], tools)
    runner.start()
    stack.push_async_callback(runner.stop)
    return runner


def _conninfo(parts: Parts, role: str, name: str) -> str:
    """Return the connection string of a job for a role, without a limit for its statements."""
    return conninfo(parts.database_url, role, schema=parts.schema_name, application=f"advice-ledger {name}")


def _signer(parts: Parts) -> SignerThread | None:
    if parts.signing is None:
        return None
    return SignerThread(
        parts.database_url, parts.signing, parts.endorsers, recorder=parts.recorder, schema=parts.schema_name
    )


def _verifier_key(parts: Parts) -> VerifierKey | None:
    if parts.signing is not None:
        return parts.signing.key.verifier
    return next(iter(parts.verification.keys), None) if parts.verification is not None else None


def _verification(parts: Parts) -> ContinuousVerification | None:
    if parts.verification is None:
        return None
    return ContinuousVerification(
        parts.database_url, parts.verification, recorder=parts.recorder, schema=parts.schema_name
    )

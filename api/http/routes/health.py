"""Liveness and readiness of a process."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from time import monotonic, time

import orjson
from fastapi import APIRouter
from fastapi.responses import Response

from api.http import readiness
from api.http.health_shapes import (
    Alive,
    CheckpointState,
    Readiness,
    ReadModelState,
    RecordingState,
    StandbyState,
    VerificationState,
)
from api.http.parameters import NoQuery
from api.http.problems import documented
from api.jobs.recurring import failed_work
from api.postgres.privileged import privileged_logins_async, warning
from api.services import InjectedServices, Services
from ledger.background import WorkerStatus
from ledger.database import AsyncConnection
from ledger.errors import Unavailable
from ledger.proof.findings import Kind
from ledger.store.head import read_clocks_async, read_head_async
from ledger.store.standby import read_standby, wait_for_replay
from ledger.store.writer_health import WriterStatus
from ledger.tlog import status as endorsements
from ledger.tlog.heads.record import waiting_for_heads_async
from ledger.tlog.serve.newest_checkpoint import NewestCheckpoint, NotCovered, not_covered_async
from ledger.tlog.sign.signer_thread import SignerThread
from ledger.verify.continuous import ContinuousVerification, VerificationStatus
from projections.health import READ_MODELS_LAG, RECENT_CALLS, SET_ASIDE, SHORT_LIST, CallCount, ReadModelLag
from projections.set_aside import SetAside

router = APIRouter(tags=["operation"])

NOT_SIGNING = "this process does not sign, as it has no key: give serve a key with --key (docs/operate/tlog.md)"

NO_HEAD = "the ledger has no head: somebody deleted it, or the first advice-ledger migrate did not end"


NOT_KNOWN = RecordingState(failing_s=0, cause=None, waiting=0, oldest_s=0)

# Findings that are not in the chain.
BESIDE: dict[str, str] = {
    Kind.PROJECTION_DRIFT: f"a read model differs from its events: {Kind.PROJECTION_DRIFT}: run advice-ledger verify,"
    " then advice-ledger rebuild",
    Kind.SCHEMA_MISMATCH: f"functions, triggers, grants or views are not of this version: {Kind.SCHEMA_MISMATCH}: run"
    " advice-ledger verify, then advice-ledger migrate",
}
# This happens in an upgrade, while processes of two versions serve. It makes none of them unready.
OTHER_VERSION = (
    f"the database says that another version migrated it or built its read models: {Kind.OTHER_VERSION}: if nobody"
    " upgrades it, run advice-ledger verify"
)


@router.get("/healthz", response_model=Alive, responses=documented(422))
async def healthz(_query: NoQuery) -> Response:
    """Answer while the process lives. The database is not asked."""
    return Response(b'{"status":"alive"}', media_type="application/json")


@router.get(
    "/readyz",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Not ready; see reasons."}, **documented(422)},
)
async def readyz(services: InjectedServices, _query: NoQuery) -> Response:
    """Tell whether callers are known, appends, strong reads and signatures succeed, and nothing was found to be wrong.

    If nothing was appended in the last second, an append is tried and nothing recorded.
    """
    state = await services.one_at_once.run("readyz", partial(_readiness, services))
    status = 200 if state.status == "ready" else 503
    return Response(orjson.dumps(state.model_dump()), status, media_type="application/json")


async def _readiness(services: Services) -> Readiness:
    checking = asyncio.create_task(_recording(services), name="readyz-writer")
    authenticating = asyncio.create_task(_authenticating(services), name="readyz-callers")
    warning = asyncio.create_task(_warnings(services), name="readyz-warnings")
    try:
        state = await services.ledger.readers.run(partial(_read, services), within_s=services.ledger.patience_s)
    except Unavailable as error:
        state = Readiness(
            status="not ready",
            reasons=[str(error), *_refusal(services.signer)],
            warnings=[],
            origin=None,
            position=None,
            hash=None,
            read_models=[],
            checkpoint=None,
            verification=_verification(services.continuous_verification),
            recording=NOT_KNOWN,
            standby=None,
        )
    writer = await checking
    reasons = [*state.reasons, *readiness.recording(writer), *await authenticating]
    if services.worker is not None:
        reasons += readiness.answering(services.worker.health.status)
    if services.job_runner is not None:
        reasons += readiness.working(services.job_runner.status)
    return state.model_copy(
        update={
            "status": "not ready" if reasons else "ready",
            "reasons": reasons,
            "warnings": [*state.warnings, *await warning],
            "recording": RecordingState(
                failing_s=writer.failing_s,
                cause=writer.cause or writer.ended,
                waiting=writer.queued,
                oldest_s=writer.oldest_s,
            ),
        }
    )


async def _recording(services: Services) -> WriterStatus:
    writer = services.ledger.writer
    return writer.status() if services.read_only else await writer.check()


async def _authenticating(services: Services) -> list[str]:
    try:
        await services.callers.check()
    except Unavailable as error:
        return [readiness.authenticating(error)]
    return []


async def _read(services: Services, conn: AsyncConnection) -> Readiness:
    signer = services.signer
    checkpoint = await services.checkpoints.newest(conn)
    not_covered = await not_covered_async(conn, upto=0 if checkpoint is None else checkpoint.size)
    if not_covered is None:
        raise Unavailable(NO_HEAD)
    endorsed = await endorsements.endorsement_status(conn, services.endorsers, signer)
    rows = await (await conn.execute(READ_MODELS_LAG, prepare=True)).fetchall()
    # The head last: what was read before it is not ahead of it.
    head = await read_head_async(conn)
    if head is None:
        raise Unavailable(NO_HEAD)
    read_models = [ReadModelLag(*row) for row in rows]
    aside = [SetAside(*row) for row in await (await conn.execute(SET_ASIDE, [SHORT_LIST + 1], prepare=True)).fetchall()]
    verification = _verification(services.continuous_verification)
    clocks = await read_clocks_async(conn)
    reasons = [] if clocks is None else [*readiness.clocks_differ(clocks, time())]
    standby = await read_standby(conn)
    reasons += await _replay(conn, services.ledger.patience_s)
    reasons += [*readiness.reading(read_models, services.ledger.patience_s)]
    if signer is not None and services.sign_every_s is not None:
        up_s = monotonic() - services.started_s
        reasons += readiness.signing(signer.status, not_covered, services.sign_every_s, up_s)
    if verification.finding not in {None, Kind.OTHER_VERSION}:
        reasons.append(_finding(verification))
    return Readiness(
        status="not ready" if reasons else "ready",
        reasons=reasons,
        warnings=[
            *([] if clocks is None or clocks.since is None else [str(clocks)]),
            *readiness.set_aside(aside, SHORT_LIST),
            *readiness.unsigned(services.checkpoints.unsigned),
            *([OTHER_VERSION] if verification.finding == Kind.OTHER_VERSION else []),
            *readiness.verifying(WorkerStatus(verification.state, verification.error)),
        ],
        origin=head.origin,
        position=head.position,
        hash=head.hash.hex(),
        read_models=[ReadModelState(**state._asdict()) for state in read_models],
        checkpoint=_checkpoint(checkpoint, not_covered, signer, endorsed),
        verification=verification,
        recording=NOT_KNOWN,
        standby=None if standby is None else StandbyState(receives=standby.receives, behind_bytes=standby.behind_bytes),
    )


async def _replay(conn: AsyncConnection, patience_s: float) -> list[str]:
    """Wait as a consistent read does; say why it would not succeed."""
    try:
        await wait_for_replay(conn, patience_s=patience_s / 2)
    except Unavailable as error:
        return [str(error)]
    return []


async def _warnings(services: Services) -> list[str]:
    """Name the logins with too many rights and the agents that only fail, as far as the database answers."""
    found: list[str] = []
    with contextlib.suppress(Unavailable):
        reading = partial(services.ledger.readers.run, within_s=services.ledger.patience_s)
        found += [warning(login) for login in await reading(partial(privileged_logins_async, asked=services.logins))]
        found += readiness.answering_calls(await reading(recent_calls))
        found += readiness.recurring(await reading(failed_work))
        if services.signer is not None:
            recorder = services.signer.heads_recorder
            waiting_s = await reading(waiting_for_heads_async)
            found += readiness.recording_heads(waiting_s, None if recorder is None else recorder.status)
    return found


async def recent_calls(conn: AsyncConnection) -> list[CallCount]:
    """Count the newest calls that have ended."""
    return [CallCount(*row) for row in await (await conn.execute(RECENT_CALLS, prepare=True)).fetchall()]


def _refusal(signer: SignerThread | None) -> list[str]:
    """Return the reason that a refusal to sign is. It also counts while the database does not answer."""
    refused = signer is not None and signer.status.state == "refused"
    return [readiness.refusal(signer.status)] if signer is not None and refused else []


def _checkpoint(
    checkpoint: NewestCheckpoint | None,
    not_covered: NotCovered,
    signer: SignerThread | None,
    endorsed: endorsements.EndorsementStatus,
) -> CheckpointState:
    status = WorkerStatus("none", NOT_SIGNING) if signer is None else signer.status
    return CheckpointState(
        size=0 if checkpoint is None else checkpoint.size,
        age_s=None if checkpoint is None else checkpoint.age_s,
        not_covered=not_covered.events,
        waiting_s=not_covered.waiting_s,
        signer=status.state,
        error=status.error,
        witnessed=endorsed.witnessed,
        timestamps=endorsed.timestamps,
    )


def _verification(verifier: ContinuousVerification | None) -> VerificationState:
    status = VerificationStatus("none") if verifier is None else verifier.status
    return VerificationState(
        state=status.state,
        position=status.position,
        age_s=status.age_s,
        passed_age_s=status.passed_age_s,
        checkpoint_size=status.checkpoint_size,
        finding=status.finding,
        first_bad_position=status.first_bad_position,
        error=status.error,
    )


def _finding(verification: VerificationState) -> str:
    """Name the finding, and the command or page that tells more."""
    if verification.finding == Kind.PROOF_MISMATCH:
        return (
            f"the stored tiles are not what the events make, from position {verification.first_bad_position} on:"
            f" {Kind.PROOF_MISMATCH}: docs/operate/continuous-verification.md says what to do"
        )
    if verification.finding in BESIDE:
        return BESIDE[verification.finding]
    where = f"at position {verification.first_bad_position}: " if verification.first_bad_position else ""
    return (
        f"the chain does not hold, {where}{verification.finding}: run advice-ledger verify with the settings of this"
        " server"
    )

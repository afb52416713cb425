"""Liveness and readiness of a process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

import orjson
from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from api.services import InjectedServices
from ledger.background import WorkerState, WorkerStatus
from ledger.database import AsyncConnection
from ledger.errors import Unavailable
from ledger.proof.findings import Kind
from ledger.store.head import Head, read_head_async
from ledger.store.writer import ENDED
from ledger.store.writer_health import WriterStatus
from ledger.tlog import status as endorsements
from ledger.tlog.serve.newest_checkpoint import NewestCheckpoint, newest_checkpoint_async
from ledger.tlog.sign.signer_thread import SignerThread
from ledger.verify.continuous import ContinuousVerification, VerificationStatus

router = APIRouter(tags=["operation"])

NOT_SIGNING = "this process does not sign, as it has no key: give serve a key with --key (docs/operate/tlog.md)"

PROJECTIONS = "SELECT name, position, error FROM projections ORDER BY name"


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class ReadModelState(BaseModel):
    """The state of a read model. `lag` counts the events that it has not folded yet."""

    name: str
    position: int
    lag: int
    error: str | None


class CheckpointState(BaseModel):
    """The newest checkpoint, and the part of this process in signing.

    `error` says why nothing is signed, or not by this process. `witnessed` and `timestamps` are the endorsements.
    """

    size: int
    age_s: float | None
    signer: WorkerState
    error: str | None
    witnessed: endorsements.WitnessedState | None
    timestamps: list[endorsements.TimestampState]


class VerificationState(BaseModel):
    """The progress of this process in verifying the chain, and its finding.

    `passed_age_s` is the time since the last complete scan.
    """

    state: WorkerState
    position: int
    age_s: float | None
    passed_age_s: float | None
    checkpoint_size: int
    finding: str | None
    first_bad_position: int | None
    error: str | None


class Readiness(BaseModel):
    """The state of this process. It is ready if it can record and answer."""

    status: Literal["ready", "not ready"]
    reasons: list[str]
    origin: str | None
    position: int | None
    hash: str | None
    read_models: list[ReadModelState]
    checkpoint: CheckpointState | None
    verification: VerificationState


@router.get("/healthz", response_model=Alive)
async def healthz() -> Response:
    """Answer while the process lives. The database is not asked."""
    return Response(b'{"status":"alive"}', media_type="application/json")


@router.get(
    "/readyz", response_model=Readiness, responses={503: {"model": Readiness, "description": "Not ready; see reasons."}}
)
async def readyz(services: InjectedServices) -> Response:
    """Tell whether the database answers, every read model follows, and nothing was found to be wrong."""
    ledger, signer = services.ledger, services.signer
    checking = asyncio.create_task(ledger.writer.check(), name="readyz-writer")
    verification = _verification(services.continuous_verification)

    async def read(conn: AsyncConnection) -> Readiness:
        # The head last: what was read before it is not ahead of it.
        projections = await (await conn.execute(PROJECTIONS, prepare=True)).fetchall()
        checkpoint = await newest_checkpoint_async(conn)
        endorsed = await endorsements.endorsement_status(conn, services.endorsers, signer)
        head = await read_head_async(conn)
        return _readiness(head, projections, _checkpoint(checkpoint, signer, endorsed), verification)

    try:
        state = await ledger.readers.run(read, within_s=ledger.patience_s)
    except Unavailable as error:
        state = Readiness(
            status="not ready",
            reasons=[str(error), *_refusal(None if signer is None else signer.status)],
            origin=None,
            position=None,
            hash=None,
            read_models=[],
            checkpoint=None,
            verification=verification,
        )
    reasons = [*state.reasons, *_recording(await checking)]
    state = state.model_copy(update={"reasons": reasons, "status": "not ready" if reasons else "ready"})
    return Response(
        orjson.dumps(state.model_dump()), 200 if state.status == "ready" else 503, media_type="application/json"
    )


def _checkpoint(
    checkpoint: NewestCheckpoint | None, signer: SignerThread | None, endorsed: endorsements.EndorsementStatus
) -> CheckpointState:
    status = WorkerStatus("none", NOT_SIGNING) if signer is None else signer.status
    return CheckpointState(
        size=0 if checkpoint is None else checkpoint.size,
        age_s=None if checkpoint is None else checkpoint.age_s,
        signer=status.state,
        error=status.error,
        witnessed=endorsed.witnessed,
        timestamps=endorsed.timestamps,
    )


def _recording(writer: WriterStatus) -> list[str]:
    """Return why nothing can be recorded, if that is so."""
    if writer.ended is not None:
        return [f"{ENDED} ({writer.ended})"]
    if writer.failing_s:
        return [f"nothing can be recorded, for {writer.failing_s:.0f} s now: {writer.cause}"]
    return []


def _refusal(status: WorkerStatus | None) -> list[str]:
    """Return the reason that a refusal to sign is. It also counts while the database does not answer."""
    return [f"nothing is signed any more: {status.error}"] if status and status.state == "refused" else []


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
    """Say what was found and what tells more. `advice-ledger verify` does not look at stored tiles."""
    if verification.finding == Kind.PROOF_MISMATCH:
        return (
            f"the stored tiles are not what the events make, from position {verification.first_bad_position} on:"
            f" {Kind.PROOF_MISMATCH}: docs/operate/continuous-verification.md says what to do"
        )
    where = f"at position {verification.first_bad_position}: " if verification.first_bad_position else ""
    return f"the chain does not hold, {where}{verification.finding}: run advice-ledger verify"


def _readiness(
    head: Head | None,
    rows: Sequence[tuple[str, int, str | None]],
    checkpoint: CheckpointState,
    verification: VerificationState,
) -> Readiness:
    if head is None:
        raise Unavailable("this database has no ledger yet: run advice-ledger migrate")
    read_models = [
        ReadModelState(name=name, position=position, lag=head.position - position, error=error)
        for name, position, error in rows
    ]
    reasons = [
        f"the read model {state.name} is stopped: run advice-ledger rebuild" for state in read_models if state.error
    ]
    reasons += [
        f"the read model {state.name} is beyond the last event: run advice-ledger rebuild"
        for state in read_models
        if state.lag < 0
    ]
    reasons += _refusal(WorkerStatus(checkpoint.signer, checkpoint.error))
    if verification.finding is not None:
        reasons.append(_finding(verification))
    if not read_models:
        reasons.append("no read model was built: run advice-ledger rebuild")
    return Readiness(
        status="not ready" if reasons else "ready",
        reasons=reasons,
        origin=head.origin,
        position=head.position,
        hash=head.hash.hex(),
        read_models=read_models,
        checkpoint=checkpoint,
        verification=verification,
    )

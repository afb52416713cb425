"""Is it alive, is it ready, and what does it count."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from api.services import InjectedServices
from ledger.background import WorkerState, WorkerStatus
from ledger.database import AsyncConnection
from ledger.errors import Unavailable
from ledger.proof.findings import Kind
from ledger.tlog import status as endorsements
from ledger.tlog.sign.signer_thread import SignerThread
from ledger.verify.continuous import ContinuousVerification, VerificationStatus

router = APIRouter(tags=["operation"])

NOT_SIGNING = "this process signs nothing, as it has no key: give serve one with --key (docs/operate/tlog.md)"

STATE = """
    SELECT h.origin, h.position, encode(h.hash, 'hex'), c.size, c.age_s, p.name, p.position, p.error
    FROM head h
    LEFT JOIN (
        SELECT size, extract(epoch FROM clock_timestamp() - created_at)::float AS age_s
        FROM checkpoints ORDER BY size DESC LIMIT 1
    ) c ON true
    LEFT JOIN projections p ON true
    ORDER BY p.name
"""


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class ProjectionState(BaseModel):
    """Where a read model stands; `lag` counts events it has not folded yet."""

    name: str
    position: int
    lag: int
    error: str | None


class CheckpointState(BaseModel):
    """What is signed: the newest checkpoint's size and age, and what this process has to do with it.

    `error` says why nothing is signed, or not by this process; `witnessed` and `timestamps` how others vouch for it.
    """

    size: int
    age_s: float | None
    signer: WorkerState
    error: str | None
    witnessed: endorsements.WitnessedState | None
    timestamps: list[endorsements.TimestampState]


class VerificationState(BaseModel):
    """How far this process has checked the chain, how long ago, and what it found not to hold.

    `passed_age_s`: since the whole chain was last through.
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
    """Whether this process can record and answer."""

    status: Literal["ready", "not ready"]
    reasons: list[str]
    origin: str | None
    position: int | None
    hash: str | None
    projections: list[ProjectionState]
    checkpoint: CheckpointState | None
    verification: VerificationState


@router.get("/healthz", response_model=Alive)
async def healthz() -> Response:
    """Whether the process answers; says nothing of the database."""
    return Response(b'{"status":"alive"}', media_type="application/json")


@router.get(
    "/readyz", response_model=Readiness, responses={503: {"model": Readiness, "description": "Not ready; see reasons."}}
)
async def readyz(services: InjectedServices) -> Response:
    """Whether the database answers and every read model follows."""
    ledger, signer = services.ledger, services.signer
    verification = _checked(services.continuous_verification)

    async def work(conn: AsyncConnection) -> tuple[list[tuple[Any, ...]], endorsements.EndorsementStatus]:
        rows = await (await conn.execute(STATE, prepare=True)).fetchall()
        return rows, await endorsements.endorsement_status(conn, services.endorsers, signer)

    try:
        rows, others = await ledger.readers.run(work, within_s=ledger.patience_s)
        state = _readiness(rows, _signed(rows, signer, others), verification)
    except Unavailable as error:
        state = Readiness(
            status="not ready",
            reasons=[str(error), *_refusal(None if signer is None else signer.status)],
            origin=None,
            position=None,
            hash=None,
            projections=[],
            checkpoint=None,
            verification=verification,
        )
    return Response(
        orjson.dumps(state.model_dump()), 200 if state.status == "ready" else 503, media_type="application/json"
    )


def _signed(
    rows: list[tuple[Any, ...]], signer: SignerThread | None, others: endorsements.EndorsementStatus
) -> CheckpointState:
    status = WorkerStatus("none", NOT_SIGNING) if signer is None else signer.status
    size, age_s = rows[0][3:5] if rows else (None, None)
    return CheckpointState(
        size=size or 0,
        age_s=age_s,
        signer=status.state,
        error=status.error,
        witnessed=others.witnessed,
        timestamps=others.timestamps,
    )


def _refusal(status: WorkerStatus | None) -> list[str]:
    """The reason that a signer which gave up is; said also where the database has nothing to say, as without a head."""
    return [f"nothing is signed any more: {status.error}"] if status and status.state == "refused" else []


def _checked(verifier: ContinuousVerification | None) -> VerificationState:
    found = VerificationStatus("none") if verifier is None else verifier.status
    return VerificationState(
        state=found.state,
        position=found.position,
        age_s=found.age_s,
        passed_age_s=found.passed_age_s,
        checkpoint_size=found.checkpoint_size,
        finding=found.finding,
        first_bad_position=found.first_bad_position,
        error=found.error,
    )


def _not_holding(verification: VerificationState) -> str:
    """What does not hold, and what tells more: of tiles `advice-ledger verify` knows nothing."""
    if verification.finding == Kind.PROOF_MISMATCH:
        return (
            f"the stored tiles of the log are not what its events make, from position {verification.first_bad_position}"
            f" on: {Kind.PROOF_MISMATCH}: docs/operate/continuous-verification.md says what to do"
        )
    where = f"at position {verification.first_bad_position}: " if verification.first_bad_position else ""
    return f"the chain does not hold, {where}{verification.finding}: run advice-ledger verify"


def _readiness(rows: list[tuple[Any, ...]], checkpoint: CheckpointState, verification: VerificationState) -> Readiness:
    if not rows:
        raise Unavailable("this database has no ledger yet: run advice-ledger migrate")
    origin, head, head_hash = rows[0][:3]
    projections = [
        ProjectionState(name=name, position=position, lag=head - position, error=error)
        for *_, name, position, error in rows
        if name is not None
    ]
    reasons = [
        f"the read model {found.name} stands still: run advice-ledger rebuild" for found in projections if found.error
    ]
    reasons += [
        f"the read model {found.name} is beyond the last event: run advice-ledger rebuild"
        for found in projections
        if found.lag < 0
    ]
    reasons += _refusal(WorkerStatus(checkpoint.signer, checkpoint.error))
    if verification.finding is not None:
        reasons.append(_not_holding(verification))
    if not projections:
        reasons.append("no read model was built: run advice-ledger rebuild")
    return Readiness(
        status="not ready" if reasons else "ready",
        reasons=reasons,
        origin=origin,
        position=head,
        hash=head_hash,
        projections=projections,
        checkpoint=checkpoint,
        verification=verification,
    )

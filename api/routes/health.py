"""Is it alive, is it ready, and what does it count."""

from __future__ import annotations

from math import nan
from typing import Any, Literal

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from pydantic import BaseModel

from api.service import Ledger
from ledger.errors import Unavailable
from ledger.log.thread import SealerThread, Status
from ledger.log.watch import Watch, Watched
from ledger.store import AsyncConnection

router = APIRouter(tags=["operation"])

NOT_SIGNING = "this process signs nothing, as it has no key: give serve one with --key (docs/log.md)"

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


ORPHANS = """
    SELECT count(*) FILTER (WHERE created_at <= clock_timestamp() - %s * interval '1 second'),
           count(*),
           coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)
    FROM model_calls WHERE state = 'open'
"""


class Orphans:
    """Model calls that were started and not ended, counted when somebody asks for the metrics."""

    def __init__(self, registry: CollectorRegistry, after_s: float) -> None:
        self._after_s = after_s
        what = "Model calls that were started and have not ended"
        self._orphans = Gauge("advice_ledger_model_calls_orphaned", f"{what} for {after_s:g} s", registry=registry)
        self._open = Gauge("advice_ledger_model_calls_open", what, registry=registry)
        self._oldest = Gauge(
            "advice_ledger_model_call_oldest_open_seconds", "Age of the oldest of them", registry=registry
        )

    async def look(self, ledger: Ledger) -> None:
        """Counts; what cannot be counted, because the database does not answer, is not a number."""
        try:
            row = await ledger.readers.fetch_one(ORPHANS, [self._after_s])
        except Unavailable:
            row = None
        for gauge, value in zip((self._orphans, self._open, self._oldest), row or (nan,) * 3, strict=True):
            gauge.set(value)


CHECKPOINT = """
    SELECT coalesce(c.size, 0), extract(epoch FROM clock_timestamp() - c.created_at), h.position - coalesce(c.size, 0)
    FROM head h LEFT JOIN (SELECT size, created_at FROM checkpoints ORDER BY size DESC LIMIT 1) c ON true
"""


class Checkpoints:
    """What is signed, looked up when somebody asks for the metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        name = "advice_ledger_checkpoint"
        self._size = Gauge(f"{name}_size", "Events that the newest checkpoint covers", registry=registry)
        self._age = Gauge(f"{name}_age_seconds", "Age of the newest checkpoint", registry=registry)
        self._waiting = Gauge(f"{name}_events_not_covered", "Events that no checkpoint covers", registry=registry)
        self._refused = Gauge(
            "advice_ledger_sealing_refused", "1 once this process refused to sign; /readyz says why", registry=registry
        )

    async def look(self, ledger: Ledger, sealer: SealerThread | None) -> None:
        """As Orphans.look()."""
        try:
            row = await ledger.readers.fetch_one(CHECKPOINT, [])
        except Unavailable:
            row = None
        for gauge, value in zip((self._size, self._age, self._waiting), row or (nan,) * 3, strict=True):
            gauge.set(nan if value is None else value)
        self._refused.set(sealer is not None and sealer.status.state == "refused")


class Verification:
    """How far the chain is checked in the background, looked up when somebody asks for the metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        name = "advice_ledger_verification"
        self._position = Gauge(f"{name}_position", "All events up to here were checked", registry=registry)
        self._age = Gauge(f"{name}_age_seconds", "Since when nothing newer was checked", registry=registry)
        self._passed = Gauge(f"{name}_passed_age_seconds", "Since the whole chain was last through", registry=registry)
        self._failed = Gauge(f"{name}_failed", "1 while something does not hold; /readyz says what", registry=registry)

    def look(self, watch: Watch | None) -> None:
        """Not a number where this process does not check."""
        found = Watched("none") if watch is None else watch.status
        self._position.set(found.position if watch is not None else nan)
        self._age.set(nan if found.age_s is None else found.age_s)
        self._passed.set(nan if found.passed_age_s is None else found.passed_age_s)
        self._failed.set(found.finding is not None)


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

    `error` says why nothing is signed, or not by this process.
    """

    size: int
    age_s: float | None
    signer: Literal["none", "starting", "leads", "follows", "troubled", "refused", "stopped"]
    error: str | None


class VerificationState(BaseModel):
    """How far this process has checked the chain, how long ago, and what it found not to hold.

    `passed_age_s`: since the whole chain was last through.
    """

    state: Literal["none", "starting", "leads", "follows", "troubled", "stopped"]
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
async def readyz(request: Request) -> Response:
    """Whether the database answers and every read model follows."""
    ledger: Ledger = request.app.state.ledger
    try:
        rows = await ledger.readers.run(_rows, within_s=ledger.patience_s)
        state = _readiness(rows, request.app.state.sealer, request.app.state.watch)
    except Unavailable as error:
        state = Readiness(
            status="not ready",
            reasons=[str(error)],
            origin=None,
            position=None,
            hash=None,
            projections=[],
            checkpoint=None,
            verification=_checked(request.app.state.watch),
        )
    return Response(
        orjson.dumps(state.model_dump()), 200 if state.status == "ready" else 503, media_type="application/json"
    )


@router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
async def metrics(request: Request) -> Response:
    """Counters in the Prometheus text format. No personal data is in them."""
    ledger: Ledger = request.app.state.ledger
    await request.app.state.orphans.look(ledger)
    await request.app.state.checkpoints.look(ledger, request.app.state.sealer)
    request.app.state.verification.look(request.app.state.watch)
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


async def _rows(conn: AsyncConnection) -> list[tuple[Any, ...]]:
    return await (await conn.execute(STATE, prepare=True)).fetchall()


def _signed(size: int | None, age_s: float | None, sealer: SealerThread | None) -> CheckpointState:
    status = Status("none", NOT_SIGNING) if sealer is None else sealer.status
    return CheckpointState(size=size or 0, age_s=age_s, signer=status.state, error=status.error)


def _checked(watch: Watch | None) -> VerificationState:
    found = Watched("none") if watch is None else watch.status
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


def _readiness(rows: list[tuple[Any, ...]], sealer: SealerThread | None, watch: Watch | None) -> Readiness:
    if not rows:
        raise Unavailable("this database has no ledger yet: run advice-ledger migrate")
    origin, head, head_hash, size, age_s = rows[0][:5]
    checkpoint = _signed(size, age_s, sealer)
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
    if checkpoint.signer == "refused":
        reasons.append(f"nothing is signed any more: {checkpoint.error}")
    verification = _checked(watch)
    if verification.finding is not None:
        where = f"at position {verification.first_bad_position}: " if verification.first_bad_position else ""
        reasons.append(f"the chain does not hold, {where}{verification.finding}: run advice-ledger verify")
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

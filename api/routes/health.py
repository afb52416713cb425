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
from ledger.store import AsyncConnection

router = APIRouter(tags=["operation"])

STATE = """
    SELECT h.origin, h.position, encode(h.hash, 'hex'), p.name, p.position, p.error
    FROM head h LEFT JOIN projections p ON true
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


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"]


class ProjectionState(BaseModel):
    """Where a read model stands; `lag` counts events it has not folded yet."""

    name: str
    position: int
    lag: int
    error: str | None


class Readiness(BaseModel):
    """Whether this process can record and answer."""

    status: Literal["ready", "not ready"]
    reasons: list[str]
    origin: str | None
    position: int | None
    hash: str | None
    projections: list[ProjectionState]


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
        state = _readiness(await ledger.readers.run(_rows, within_s=ledger.patience_s))
    except Unavailable as error:
        state = Readiness(
            status="not ready", reasons=[str(error)], origin=None, position=None, hash=None, projections=[]
        )
    return Response(
        orjson.dumps(state.model_dump()), 200 if state.status == "ready" else 503, media_type="application/json"
    )


@router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
async def metrics(request: Request) -> Response:
    """Counters in the Prometheus text format. No personal data is in them."""
    await request.app.state.orphans.look(request.app.state.ledger)
    return Response(generate_latest(request.app.state.registry), media_type=CONTENT_TYPE_LATEST)


async def _rows(conn: AsyncConnection) -> list[tuple[Any, ...]]:
    return await (await conn.execute(STATE, prepare=True)).fetchall()


def _readiness(rows: list[tuple[Any, ...]]) -> Readiness:
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
    if not projections:
        reasons.append("no read model was built: run advice-ledger rebuild")
    return Readiness(
        status="not ready" if reasons else "ready",
        reasons=reasons,
        origin=origin,
        position=head,
        hash=head_hash,
        projections=projections,
    )

"""What people and agents do after the recommendations of a filled ledger: decisions, confirmations, failures."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import uvloop

from ledger.database import Connection, conninfo
from ledger.store import events as store
from ledger.store.envelope import Actor, NewEvent, encode, uuid7
from schema.events import RecommendationConfirmed, RecommendationDecided, RequestFailed
from tests.bench.bench import Bench, connect
from tests.bench.workload import ADVISOR, AGENT, BATCH

# Of all recommendations, one in so many is decided, and one in so many is of a request that fails later.
DECIDED, FAILED = 3, 10
# Of the decisions, one in so many needs a confirmation.
CONFIRMED = 2
CONFIRMER = Actor(id="advisor-18", kind="human", role="advisor")
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
RECOMMENDATIONS = "SELECT position, stream FROM events WHERE type = 'recommendation.recorded' ORDER BY position"

Place = tuple[int, str]
"""The position of a recommendation, and its stream."""


def act(bench: Bench, url: str) -> None:
    """Append decisions, confirmations and failures, about a quarter as many as there are events."""
    bench.say("deciding on a third of the recommendations")
    with connect(url) as conn:
        recommendations: list[Place] = conn.execute(RECOMMENDATIONS).fetchall()
        uvloop.run(_append(url, recommendations))
        _settle(conn)


def _settle(conn: Connection) -> None:
    conn.execute("VACUUM ANALYZE")
    conn.execute("CHECKPOINT")


async def _append(url: str, recommendations: list[Place]) -> None:
    async with await psycopg.AsyncConnection.connect(conninfo(url, "writer"), autocommit=True) as conn:
        for some in _batches(recommendations[::DECIDED]):
            receipts = await store.append(conn, [encode(decided(*place)) for place in some])
            waiting = [(*place, receipt.position) for place, receipt in zip(some, receipts, strict=True)][::CONFIRMED]
            await store.append(conn, [encode(confirmed(*each)) for each in waiting])
        for some in _batches(recommendations[1::FAILED]):
            await store.append(conn, [encode(failed(stream)) for _, stream in some])


def decided(recommendation_id: int, stream: str) -> NewEvent:
    """An approval, which needs a confirmation if the confirmer acts on it."""
    event = RecommendationDecided.model_construct(
        recommendation_id=recommendation_id,
        digest=DIGEST,
        outcome="approve",
        rationale="Fits the client's horizon and loss capacity.",
        needs_second=True,
        second_rules=["amount"],
        four_eyes_version="1",
    )
    return NewEvent(uuid7(), stream, event, ADVISOR)


def confirmed(recommendation_id: int, stream: str, decision_id: int) -> NewEvent:
    """The confirmation of a decision."""
    event = RecommendationConfirmed.model_construct(
        recommendation_id=recommendation_id, decision_id=decision_id, digest=DIGEST, outcome="approve"
    )
    return NewEvent(uuid7(), stream, event, CONFIRMER)


def failed(stream: str) -> NewEvent:
    """The end of a request that nobody answers again."""
    return NewEvent(uuid7(), stream, RequestFailed.model_construct(reason="agent-fault", detail="three tries"), AGENT)


def _batches(places: list[Place]) -> Iterator[list[Place]]:
    for first in range(0, len(places), BATCH):
        yield places[first : first + BATCH]

"""Decisions expire once, by the database's clock: none is missed, none twice, none that was confirmed in time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ledger.errors import Refused
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor, NewEvent, uuid7
from schema.events import Confirm, Decide
from tests.api.program import cli
from tests.ledger.service.test_clients import opened
from tests.projections.scenes import recommended
from tests.support import append, connect, new, requested
from tests.tampering import tamper

ANN, BOB = (Actor(name, "human", "advisor") for name in ("ann", "bob"))
CLOCK = Actor("clock", "service", "operator")
# As if all of it had been recorded a month ago, less or more some seconds. The deadline is after 720 hours.
AGED = "UPDATE events SET recorded_at = recorded_at - interval '720 hours' {} interval '{} s'"


def answered(url: str, count: int) -> list[int]:
    """Record requests with answers; return the ids of the recommendations."""
    with connect(url) as conn:
        streams = [row.stream for row in append(conn, *(new("request-", requested(f"c{at}")) for at in range(count)))]
        robot = Actor("robot", "agent", "agent")
        answers = append(conn, *(NewEvent(uuid7(), stream, recommended(), robot) for stream in streams))
        return [int(row.position) for row in answers]


async def decide(ledger: Ledger, recommendation_id: int) -> tuple[int, str]:
    """Reject for a reason that needs a confirmation; return the decision and the digest to confirm."""
    digest = await digest_of(ledger, recommendation_id)
    body: dict[str, Any] = {"digest": digest, "outcome": "reject", "reason_code": "other", "rationale": "no"}
    receipt = await ledger.decisions.decide(ANN, recommendation_id, Decide.model_validate(body))
    return receipt.position, digest


async def digest_of(ledger: Ledger, recommendation_id: int) -> str:
    """Return the commitment to an answer."""
    stream, _ = await ledger.decisions.executor.locate(recommendation_id, "recommendation.recorded", "x")
    [history] = await ledger.readers.streams(stream)
    return next(one for one in history if one.position == recommendation_id).commitment("recommendation")


def expiries(url: str) -> list[int]:
    """Return the decisions that have expired, in the order of the events."""
    query = "SELECT (body::json->'data'->>'decision_id')::bigint FROM events WHERE type = 'decision.expired' ORDER BY 1"
    with connect(url) as conn:
        return [row[0] for row in conn.execute(query).fetchall()]


@pytest.mark.tampers
def test_each_overdue_decision_expires_once(database_url: str) -> None:
    """From two processes at the same moment; a confirmation is refused before, and accepted a second earlier."""

    async def work() -> None:
        async with opened(database_url, count=2) as [one, two]:
            recommendations = answered(database_url, 3)
            early, late, confirmed = [await decide(one, at) for at in recommendations]
            assert await one.mistakes.expire(CLOCK, early[0]) is None
            tamper(database_url, AGED.format("+", 5))  # five seconds are left
            assert await one.mistakes.expire(CLOCK, early[0]) is None
            await two.decisions.confirm(BOB, confirmed[0], Confirm(digest=confirmed[1], outcome="approve"))
            tamper(database_url, AGED.replace("720", "1").format("-", 0))
            with pytest.raises(Refused) as refused:
                await two.decisions.confirm(BOB, late[0], Confirm(digest=late[1], outcome="approve"))
            assert refused.value.code == "decision-overdue"
            assert expiries(database_url) == []
            both = [
                ledger.mistakes.expire(CLOCK, decision)
                for decision, _ in (early, late, confirmed)
                for ledger in (one, two)
            ]
            receipts = [receipt for receipt in await asyncio.gather(*both) if receipt is not None]
            assert len(receipts) == 2
            assert expiries(database_url) == sorted([early[0], late[0]])
            await decide(two, recommendations[0])  # it is proposed again

    asyncio.run(work())


@pytest.mark.tampers
def test_the_command_expires_what_is_overdue(database_url: str) -> None:
    """It names the decisions, also those that the read model had not shown yet; the second run finds nothing."""

    async def work() -> list[int]:
        async with opened(database_url) as [ledger]:
            return [(await decide(ledger, at))[0] for at in answered(database_url, 3)]

    made = asyncio.run(work())
    first = cli("expire", "--json", "--database-url", database_url)
    assert (first.code, first.json()) == (0, {"expired": []})
    tamper(database_url, AGED.format("-", 1))
    with connect(database_url) as conn:
        conn.execute("UPDATE projections SET position = 0 WHERE name = 'decisions'; DELETE FROM decisions")
    ran = cli("expire", "--json", "--database-url", database_url)
    assert (ran.code, ran.json()) == (0, {"expired": made})
    assert cli("expire", "--database-url", database_url).out == "no decision has waited for too long\n"
    assert expiries(database_url) == made

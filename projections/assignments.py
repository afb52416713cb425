"""Queued requests as an agent may claim them: read models and claims together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ledger.database import AsyncConnection
from ledger.domain.claim import LONGEST_LEASE_S
from projections.portfolio_requests.model import PORTFOLIO_REQUESTS
from projections.reads import wait_until_caught_up

ASSIGNMENTS = (Path(__file__).parent / "assignments.sql").read_bytes()


@dataclass(frozen=True)
class Assignment:
    """A queued request. If the agent has claimed it, `claim_expires_at` is the time at which the claim ends."""

    request_id: int
    created_at: datetime
    claimed: bool
    claim_expires_at: datetime | None


async def assignments(
    conn: AsyncConnection, agent: str, *, after: int, limit: int, patience_s: float
) -> list[Assignment]:
    """Return requests with numbers beyond `after` that no other agent has claimed, the oldest first.

    They include everything that was acknowledged before. Raises Unavailable if the read model is behind.
    """
    await wait_until_caught_up(conn, PORTFOLIO_REQUESTS, patience_s=patience_s)
    parameters = {"agent": agent, "after": after, "limit": limit, "longest_s": LONGEST_LEASE_S}
    return [Assignment(*row) for row in await (await conn.execute(ASSIGNMENTS, parameters, prepare=True)).fetchall()]

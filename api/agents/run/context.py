"""What an agent is given to answer a request: the request, and what the client was recommended before.

The worker, the HTTP API and a replay all take it from here, so that what was seen once can be seen again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from api.agents.protocol import AgentRequest, Earlier
from ledger.database import AsyncConnection
from projections import reads
from projections.ai_recommendations.history import client_history
from projections.ai_recommendations.model import AI_RECOMMENDATIONS
from projections.portfolio_requests.model import PORTFOLIO_REQUESTS

# So many earlier recommendations, the newest, are shown to an agent.
MOST_EARLIER = 20

# How long the read model may take to have what is shown.
PATIENCE_S = 3.0
EARLIER = tuple(Earlier.__dataclass_fields__)


async def contexts(conn: AsyncConnection, request_ids: Sequence[int], upto: int | None = None) -> list[AgentRequest]:
    """A context for each of the requests that there are, all of them as of one position: the newest, or `upto`."""
    as_of = await reads.wait_until_caught_up(conn, AI_RECOMMENDATIONS, patience_s=PATIENCE_S, upto=upto)
    found = await reads.read_rows(
        conn,
        PORTFOLIO_REQUESTS,
        {"ids": list(request_ids)},
        as_of=reads.AsOf(),
        limit=len(request_ids),
        parsed=True,
    )
    clients = sorted({row["client_id"] for row in found if row["client_id"] is not None})
    history = await client_history(conn, clients, as_of, MOST_EARLIER) if clients else {}
    return [_context(row, history.get(row["client_id"], []), as_of) for row in found]


def as_json(context: AgentRequest) -> dict[str, Any]:
    """As the HTTP API gives it."""
    found = asdict(context)
    return {"as_of": found.pop("as_of"), "earlier": found.pop("earlier"), "request": found}


def _context(row: dict[str, Any], earlier: Sequence[dict[str, Any]], as_of: int) -> AgentRequest:
    return AgentRequest(
        request_id=row["id"],
        risk_profile=row["risk_profile"],
        amount_usd=row["amount_usd"],
        horizon_years=row["horizon_years"],
        objectives=tuple(row["objectives"] or ()),
        constraints=row["constraints"] or {},
        notes=row["notes"],
        earlier=tuple(_earlier(one) for one in earlier),
        as_of=as_of,
    )


def _earlier(row: dict[str, Any]) -> Earlier:
    return Earlier(**{name: row[name] for name in EARLIER})

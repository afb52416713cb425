"""Read the context of a request: the request itself, and the client's earlier recommendations.

The worker, the HTTP API and a replay all use this module, so that a replay sees what the agent saw.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from api.agents.protocol import AgentRequest, Earlier
from ledger.database import AsyncConnection
from projections import reads
from projections.ai_recommendations.model import AI_RECOMMENDATIONS
from projections.client_history import client_history
from projections.client_names import names_of
from projections.clients.model import CLIENTS
from projections.portfolio_requests.model import PORTFOLIO_REQUESTS
from projections.rows import read_rows

# The number of earlier recommendations that an agent sees, from the newest on.
MAX_EARLIER = 20
# The longest wait for the read models to catch up, in seconds.
PATIENCE_S = 3.0
EARLIER = tuple(Earlier.__dataclass_fields__)


async def contexts(
    conn: AsyncConnection,
    request_ids: Sequence[int],
    upto: int | None = None,
    *,
    within: Collection[str | None] | None = None,
) -> list[AgentRequest]:
    """Read the context of each existing request, all as of one position: `upto`, or the newest.

    A client's recommendations are those under all identifiers that were one client then, or under those of them that
    are `within`.
    """
    as_of = await reads.wait_until_caught_up(conn, AI_RECOMMENDATIONS, patience_s=PATIENCE_S, upto=upto)
    rows = await read_rows(
        conn,
        PORTFOLIO_REQUESTS,
        {"ids": list(request_ids)},
        as_of=reads.AsOf(),
        limit=len(request_ids),
        parsed=True,
    )
    clients = sorted({row["client_id"] for row in rows if row["client_id"] is not None})
    earlier = await _earlier_of(conn, clients, as_of, within) if clients else {}
    return [_context(row, earlier.get(row["client_id"], []), as_of) for row in rows]


async def _earlier_of(
    conn: AsyncConnection, clients: Sequence[str], as_of: int, within: Collection[str | None] | None
) -> dict[str, list[dict[str, Any]]]:
    """Return the newest recommendations of each client, the newest first."""
    await reads.wait_until_caught_up(conn, CLIENTS, patience_s=PATIENCE_S, upto=as_of)
    names = await names_of(conn, clients, as_of)
    shown = {name for several in names.values() for name in several if within is None or name in within}
    history = await client_history(conn, sorted(shown), as_of, MAX_EARLIER)
    rows = {client: [row for name in names[client] for row in history.get(name, [])] for client in clients}
    return {client: sorted(found, key=lambda row: -int(row["id"]))[:MAX_EARLIER] for client, found in rows.items()}


def as_json(context: AgentRequest) -> dict[str, Any]:
    """Convert to the form of the HTTP API."""
    request = asdict(context)
    return {"as_of": request.pop("as_of"), "earlier": request.pop("earlier"), "request": request}


def _context(row: dict[str, Any], earlier: Sequence[dict[str, Any]], as_of: int) -> AgentRequest:
    return AgentRequest(
        request_id=row["id"],
        risk_profile=row["risk_profile"],
        amount_usd=row["amount_usd"],
        horizon_years=row["horizon_years"],
        objectives=tuple(row["objectives"] or ()),
        constraints=row["constraints"] or {},
        notes=row["notes"],
        earlier=tuple(map(_earlier, earlier)),
        as_of=as_of,
    )


def _earlier(row: dict[str, Any]) -> Earlier:
    return Earlier(**{name: row[name] for name in EARLIER})

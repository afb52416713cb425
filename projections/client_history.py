"""Read earlier recommendations of clients as of a position: the history that an agent is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ledger.database import AsyncConnection
from projections.ai_recommendations.model import AI_RECOMMENDATIONS
from projections.engine import FEW_STREAMS
from projections.read_model import TOUCHED, sql_file
from projections.rows import fetch

HERE = Path(__file__).parent
NEWEST_STREAMS = sql_file(HERE / "newest_streams.sql")
HISTORY = sql_file(HERE / "client_history.sql").format(AI_RECOMMENDATIONS.rows(TOUCHED))


async def client_history(
    conn: AsyncConnection, client_ids: Sequence[str], upto: int, most: int
) -> dict[str, list[dict[str, Any]]]:
    """Return for each client the newest `most` recommendations as of position `upto`, the newest first.

    The current table says which streams to fold, so it must have caught up to `upto`: see wait_until_caught_up().
    A client without recommendations has an empty list.
    """
    history: dict[str, list[dict[str, Any]]] = {client_id: [] for client_id in client_ids}
    parameters: dict[str, Any] = {"client_ids": list(history), "upto": upto, "most": most}
    async with conn.transaction():
        await conn.execute(FEW_STREAMS, prepare=False)
        cursor = await conn.execute(NEWEST_STREAMS, parameters, prepare=True)
        parameters["streams"] = [stream for (stream,) in await cursor.fetchall()]
        rows = await fetch(conn, HISTORY, parameters, parsed=True)
    for row in rows:
        del row["nth"]
        # The fold of a stream whose sealed fields were erased names no client. Its row in the table may be older.
        if row["client_id"] in history:
            history[row["client_id"]].append(row)
    return history

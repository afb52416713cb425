"""Events as a search finds them: one row for each."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from pathlib import Path

from psycopg import sql
from pydantic import BaseModel

from projections.read_model import Filter, ReadModel, fixed, of_amount, within

# The events of all streams that were known to be a client's, as of the last position that is read. Once the client is
# erased, nobody can tell any more.
OF_CLIENT = sql.SQL(
    "model.stream = ANY (ARRAY(SELECT c.stream FROM stream_clients c"
    " WHERE c.client_id = ANY (%(of_client)s) AND c.position <= %(upto)s))"
)


# The events whose sealed values have these words: projections/event_texts.
WITH_WORDS = sql.SQL("model.id IN (SELECT t.id FROM event_texts t WHERE t.words @@ search_query(%(text)s))")


class IndexedEvent(BaseModel):
    """An event as a search finds it. `id` is its position; `/events/{position}` has the whole of it."""

    id: int
    version: int
    type: str
    actor: str | None
    actor_kind: str | None
    role: str | None
    request_id: int | None
    model: str | None
    outcome: str | None
    amount_usd: Decimal | None
    created_at: datetime
    occurred_at: datetime
    imported_by: str | None


EVENT_INDEX = ReadModel(
    Path(__file__).parent,
    IndexedEvent,
    {
        "upto": Filter(sql.SQL("model.id <= %(upto)s")),
        "of_client": Filter(OF_CLIENT),
        "text": Filter(WITH_WORDS),
        # The stream has an index; the number of the request has none.
        "request_id": Filter(sql.SQL("model.stream = 'request-' || %(request_id)s::bigint")),
        **fixed("stream", "type", "actor", "role", "model", "outcome"),
        **within("occurred_at", "occurred"),
        **of_amount(),
    },
    request_column="request_id",
    per_event=True,
)

"""Refuse a single row of a client outside the reader's scope, with the answer for an unknown row, and record the
attempt."""

from __future__ import annotations

from api.http.auth.permissions import Reader
from api.http.parameters import not_found
from api.services import Services
from ledger.database import AsyncConnection
from ledger.service.accesses import Access
from projections import reads
from projections.client_scope import is_in_scope


async def check_scope(services: Services, reader: Reader, stream: str | None, row_id: int, what: str) -> None:
    """Check that a row belongs to a client in the reader's scope. Without `stream`, use the stream of the event
    `row_id`.

    Raises ApiError `{what}-unknown`, as for an unknown row, after the attempt is recorded; Unavailable.
    """
    actor, patience_s = reader.actor, services.ledger.patience_s
    if (scope := actor.scope) is None:
        return

    async def work(conn: AsyncConnection) -> bool:
        within = stream or await reads.stream_at(conn, row_id)
        return within is not None and await is_in_scope(conn, scope, within, patience_s)

    if not await services.ledger.readers.run(work):
        if not services.read_only:
            access = Access(
                actor.id, actor.role, "refused", reader.resource, credential=actor.credential, reason="out-of-scope"
            )
            await services.ledger.accesses.record(access)
        raise not_found(what)

"""Commands about exports: request one, and record its result."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid5

from ledger.database import AsyncConnection
from ledger.domain import client, export
from ledger.domain.case import stream_of as stream_of_request
from ledger.domain.export import CATEGORY, Export, stream_of
from ledger.errors import ClientErased, Conflict, NotFound
from ledger.service.command import Command
from ledger.service.execute import Executor
from ledger.store.client_names import other_names_async
from ledger.store.envelope import Actor, NewEvent
from ledger.store.events import Receipt
from ledger.store.head import read_head_async
from schema.accesses import MOST_SHOWN
from schema.events import CATALOGUE, ExportCompleted, ExportFailed, ExportRequest, ExportRequested

# The actor of the events about an export that the ledger itself records.
EXPORTER = Actor(id="advice-ledger", kind="service", role="exporter")
REQUESTS = (Path(__file__).parent / "exported_requests.sql").read_text("utf-8")
OWNER = "SELECT c.client_id FROM stream_clients c WHERE c.stream = %s"
WORDS = (
    "SELECT s.fields->>'text' FROM events e JOIN sealed_fields s USING (position) WHERE e.stream = %s AND e.version = 1"
)
SEALED = frozenset(
    name for type_, kind in CATALOGUE.items() for field in kind.sealed for name in (field, f"{type_}.{field}")
)
DERIVED = frozenset({"client_id", "upto"})


@dataclass(frozen=True)
class ExportCommands:
    """Commands about exports."""

    executor: Executor

    async def request(self, actor: Actor, body: ExportRequest, event_id: UUID | None = None) -> Receipt:
        """Record the request for an export. Its number is that of the receipt's stream.

        Raises InvalidEvent, NotFound `client-unknown` or `request-unknown`.
        """

        async def look() -> tuple[str | None, int]:
            head = await self.executor.readers.run_short(read_head_async)
            return await self._owner(body), 0 if head is None else head.position

        def decide(found: tuple[str | None, int], new_id: UUID) -> list[NewEvent]:
            owner, upto = found
            event = ExportRequested(**dict(body), client_id=owner, upto=upto)
            return [NewEvent(new_id, CATEGORY, event, actor, "no_stream")]

        export.check_names(body, SEALED)
        members = body.model_dump(exclude_none=True)
        command = Command(actor, CATEGORY, ExportRequested, members, event_id, DERIVED)
        return await self.executor.execute(command, look, decide)

    async def get(self, number: int) -> Export:
        """Return an export, without sealed values. Raises NotFound `export-unknown`, Unavailable."""
        [history] = await self.executor.readers.streams(stream_of(number))
        return export.fold(history)

    async def extent(self, body: ExportRequest, number: int) -> tuple[list[int], int]:
        """Return the exported requests, up to the number that an event may name, and the number of streams or
        positions."""
        if body.request is not None:
            return [body.request], 1
        if body.client is None and (body.search is None or body.search.client is None):
            return [], 0
        client_id = await self.client_id(number)
        if client_id is None:
            return [], 0

        async def work(conn: AsyncConnection) -> tuple[list[int], int]:
            names = [client_id, *await other_names_async(conn, client_id)]
            [row] = await (await conn.execute(REQUESTS, {"client_ids": names, "most": MOST_SHOWN})).fetchall()
            return list(row[0]), int(row[1])

        return await self.executor.readers.run(work)

    async def client_id(self, number: int) -> str | None:
        """Return the identifier of the client whose data is exported; None without one, or if it was erased."""
        row = await self.executor.readers.fetch_one(OWNER, [stream_of(number)])
        return None if row is None else str(row[0])

    async def words(self, number: int) -> str | None:
        """Return the words of a search; None without a search."""
        row = await self.executor.readers.fetch_one(WORDS, [stream_of(number)])
        return None if row is None else row[0]

    async def finish(self, number: int, event: ExportCompleted | ExportFailed) -> Export:
        """Record the result of an export once; return the export as it is then, because another process may have been
        first."""
        found = await self.get(number)
        new_id = uuid5(found.requested.id, "finished")
        new = NewEvent(new_id, stream_of(number), event, EXPORTER, 1, found.requested.id)
        with contextlib.suppress(Conflict, ClientErased):  # it is already on record, or can no longer be recorded
            await self.executor.writer.append([new])
        return await self.get(number)

    async def _owner(self, body: ExportRequest) -> str | None:
        """Return the identifier of the client whose data is asked for; None for a range, or a search of all clients."""
        number = body.client if body.search is None else body.search.client
        if number is not None:
            row = await self.executor.readers.fetch_one(OWNER, [client.stream_of(number)])
            if row is None:
                raise NotFound("client-unknown", "there is no such client, or its data was erased")
            return str(row[0])
        if body.request is None:
            return None
        if await self.executor.first(stream_of_request(body.request)) is None:
            raise NotFound("request-unknown", "there is no such request")
        row = await self.executor.readers.fetch_one(OWNER, [stream_of_request(body.request)])
        return None if row is None else str(row[0])

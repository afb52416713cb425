"""Follow the events: those that match a search, and then new ones as they are recorded, as server-sent events.

The id of a message is the position of its event, so a follower that comes back with `Last-Event-ID` misses nothing and
gets nothing twice. What a page shows is recorded before it is sent. The caller's rights are looked at before each page,
and while nothing happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Mapping
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from pydantic import Field
from starlette.types import Receive, Scope, Send

from api.callers import Caller
from api.event_feed import Follower
from api.http.auth.acting import ROLE_HEADER
from api.http.auth.permissions import SCOPE_KEY, Reader, ReadPermission
from api.http.connections import STATE_KEY, Connection, affordable
from api.http.event_forms import FORM_HELP, EventForm, encoded, shaped
from api.http.event_search import EventFilters, EventSearch, FoundEvents, check_text
from api.http.head import HEAD_KEY
from api.http.problems import answer_to
from api.services import Services
from ledger.database import AsyncConnection
from ledger.errors import InvalidEvent, Unavailable
from ledger.store.head import last_before_async, read_head_async

MEDIA_TYPE = "text/event-stream"
# Tell proxies not to buffer messages.
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
PAGE_ROWS = 200
WRITTEN_AT_ONCE = 20
# Streams of one caller share a look at their rights that is no older.
SAME_RIGHTS_S = 0.25
# What rights depend on: who is calling, and in which role.
CALLER_HEADERS = ("authorization", "cookie", ROLE_HEADER)
# Tell followers to reconnect after a second.
FIRST = b"retry: 1000\n\n"


class FollowEvents(EventFilters):
    """Query parameters of the stream. With `as_of`, `position_to` or `to` it ends, once all is sent."""

    format: EventForm = Field("ledger", description=FORM_HELP)


@dataclass(frozen=True)
class StreamPage:
    """Events between two positions, and the messages that they are: written once for all that share the page."""

    found: FoundEvents
    text: bytes

    @property
    def through(self) -> int:
        """All events that match are on this page, or before it, up to here."""
        return int(self.found.items[-1]["position"]) if self.found.more else self.found.upto


class EventStream(StreamingResponse):
    """The streaming answer.

    It opens the stream when it is sent, so that a failure before the first message has its status.
    """

    def __init__(self, services: Services, request: Request, reader: Reader, query: FollowEvents, after: int) -> None:
        super().__init__(iter(()), headers=HEADERS | query.zone_header, media_type=MEDIA_TYPE)
        self._services = services
        self._request = request
        self._reader = reader
        self._query = query
        self._after = after
        self._filters = repr(query)
        self._origin = ""
        self._feed = services.event_feed
        # What the caller may do, and the time at which events end to match.
        headers = (tuple(request.headers.getlist(name)) for name in CALLER_HEADERS)
        self._key = (*headers, query.created_to)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the stream, and send it until it ends. Raises ApiError, LedgerError before it begins."""
        connection: Connection | None = scope.get("state", {}).get(STATE_KEY)
        with self._feed.follow(self._reader.actor.id, affordable() // 2) as follower:
            if connection is not None:
                connection.at_shutdown.add(follower.stop)
            try:
                await self._feed.pace.turn()
                first = await self._open(follower)
                if HEAD_KEY in scope:
                    await Response(headers=HEADERS, media_type=MEDIA_TYPE)(scope, receive, send)
                    return
                self.body_iterator = self._told(self._messages(follower, first), follower)
                await super().__call__(scope, receive, send)
            finally:
                if connection is not None:
                    connection.at_shutdown.discard(follower.stop)

    async def stream_response(self, send: Send) -> None:
        """Send the stream, as a part of the bounded work for followers."""
        await self._feed.pace.measured(super().stream_response(send))

    async def _open(self, follower: Follower) -> StreamPage:
        """Read the first page, and find out where the stream ends, if that is known."""
        check_text(self._request, self._reader, self._query)
        query = self._query

        async def work(conn: AsyncConnection) -> int:
            head = await read_head_async(conn)
            if head is None:
                raise Unavailable("this database has no ledger yet: run advice-ledger migrate")
            if self._after > head.position:
                raise InvalidEvent("Last-Event-ID", "the ledger has no such position yet")
            self._origin = head.origin
            end = None if query.created_to is None else await last_before_async(conn, query.created_to)
            upto = await self._search().last(conn, query.as_of)
            ends = (query.position_to, end, None if query.as_of is None else upto)
            follower.end = min((each for each in ends if each is not None), default=inf)
            return upto

        return await self._read(await self._feed.read(work))

    def _search(self) -> EventSearch:
        return EventSearch(self._services, self._reader, self._query)

    async def _told(self, messages: AsyncIterator[bytes], follower: Follower) -> AsyncIterator[bytes]:
        """Pass messages on. A failure is the last one, as the status of the answer is sent already."""
        try:
            async for message in messages:
                follower.sent_s = monotonic()
                yield message
        except Exception as error:  # noqa: BLE001 - the follower is told, and the log where nobody foresaw it
            answer = await answer_to(self._request, error)
            yield b"event: problem\ndata: %b\n\n" % bytes(answer.body)

    async def _messages(self, follower: Follower, page: StreamPage) -> AsyncIterator[bytes]:
        """Yield the messages of all pages, beginning with this one."""
        follower.key, follower.standing = self._key, self._standing
        yield FIRST
        behind = True
        while not follower.stops:
            if page.found.items:
                await self._search().record(page.found.items)
                yield page.text
            self._after = page.through
            if behind and not page.found.more:
                yield self._named("caught-up")
            behind = page.found.more
            if not behind and follower.end <= page.found.upto:
                yield self._named("end")
                return
            if behind:
                await self._feed.pace.turn()
            else:
                async for message in self._quiet(follower):
                    yield message
            await self._look_at_rights(follower)
            page = await self._read(max(page.found.upto, self._feed.position))

    async def _quiet(self, follower: Follower) -> AsyncIterator[bytes]:
        """Wait for events that match, or for the end; yield a heartbeat whenever nothing was sent for some time.

        The id of a heartbeat moves the follower over events that do not match.
        """
        visible = await self._visible()
        key = self._reader.actor.role, visible, self._filters

        async def look(after: int, upto: int) -> tuple[bool, int]:
            if await self._visible() != visible:  # each follower finds out what it may know of now
                return True, after
            page = await self._shared_page(visible, after, upto)
            return bool(page.found.items), page.through

        with self._feed.tail(key, self._after, follower, look) as tail:
            while not (follower.stops or follower.end <= self._feed.position):
                await follower.wait(tail)
                self._after = tail.after
                if tail.has_news:
                    return
                if follower.is_silent:
                    yield b": heartbeat\nid: %d\n\n" % self._after
                await self._look_at_rights(follower)
                if await self._visible() != visible:
                    return

    def _message(self, item: Mapping[str, Any]) -> bytes:
        content = encoded(shaped(item, self._query.format, self._origin))
        return b"id: %d\ndata: %b\n\n" % (item["position"], content)

    def _named(self, name: str) -> bytes:
        content = orjson.dumps({"position": self._after})
        return b"id: %d\nevent: %b\ndata: %b\n\n" % (self._after, name.encode(), content)

    async def _look_at_rights(self, follower: Follower) -> None:
        """Ask who is calling, what it may do now, and where the stream ends. Raises ApiError, LedgerError."""
        standing = self._feed.recent(self._key, self._standing, SAME_RIGHTS_S)
        caller, self._reader, end = await standing
        self._request.scope[SCOPE_KEY] = caller
        follower.end = min(follower.end, inf if end is None else end)
        check_text(self._request, self._reader, self._query)

    async def _standing(self) -> tuple[Caller, Reader, int | None]:
        """Return the caller, what it may do now, and after which position no event can match, once that is known."""
        self._request.scope.pop(SCOPE_KEY, None)
        reader = await ReadPermission("read events")(self._request)
        moment, end = self._query.created_to, None
        if moment is not None:
            end = await self._feed.read(lambda conn: last_before_async(conn, moment))
        return self._request.scope[SCOPE_KEY], reader, end

    async def _visible(self) -> frozenset[str] | None:
        """Return the identifiers of the clients that the reader may know of now; None: all. Raises Unavailable."""
        search = self._search()
        if not search.scopes:
            return frozenset() if search.scopes == [] else None
        return await self._feed.read(search.visible)

    async def _read(self, upto: int) -> StreamPage:
        """Read the next page up to a position. Followers that would read the same share it. Raises NotFound."""
        return await self._shared_page(await self._visible(), self._after, upto)

    async def _shared_page(self, visible: frozenset[str] | None, after: int, upto: int) -> StreamPage:
        search = self._search().fixed(visible)
        key: Hashable = (self._reader.actor.role, visible, self._filters, after, upto)

        async def work(conn: AsyncConnection) -> StreamPage:
            found = await search.between(conn, after, upto, PAGE_ROWS)
            messages: list[bytes] = []
            for start in range(0, len(found.items), WRITTEN_AT_ONCE):
                messages += map(self._message, found.items[start : start + WRITTEN_AT_ONCE])
                await asyncio.sleep(0)  # requests of others are answered in between
            return StreamPage(found, b"".join(messages))

        return await self._feed.shared(key, work, self._may_keep)

    def _may_keep(self, page: StreamPage) -> bool:
        """Return True for a short page of the newest events: after an erasure nobody asks for it, as that is an event.

        A page as of a position would be asked for after an erasure as before, and still have the values.
        """
        return not page.found.more and self._query.as_of is None

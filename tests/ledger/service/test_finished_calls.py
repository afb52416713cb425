"""Calls that are over are recorded in a time that does not depend on how long their stream is, each on its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from ledger.database import AsyncConnection, conninfo
from ledger.domain.history import RecordedEvent
from ledger.errors import IdConflict, InvalidEvent, LedgerError, NotFound, Refused, Unavailable
from ledger.service.command import CallContent, CallEvents
from ledger.service.content import held_stream
from ledger.service.finished_calls import MOST_BYTES, MOST_CALLS
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor, Line, NewEvent, encode, uuid7
from ledger.store.events import Receipt
from ledger.store.readers import LONGEST_S, Readers
from ledger.store.writer import Writer
from schema.events import ModelCallCompleted, ModelCallContentRecorded, ModelCallStarted, RequestFailed
from tests.support import connect, requested

T = TypeVar("T")
AGENT = Actor("agent", "agent", "agent")
TRACE = "trace-1"
MODEL = {"provider_name": "p", "request_model": "m"}


class CountingWriter(Writer):
    """A writer that keeps the lines of each append. `rival` is recorded before the next one."""

    def __init__(self, url: str) -> None:
        super().__init__(conninfo(url, "writer"), patience_s=20)
        self.appends: list[list[Line]] = []
        self.rival: NewEvent | None = None

    async def append_lines(self, lines: list[Line]) -> list[Receipt]:
        self.appends.append(lines)
        rival, self.rival = self.rival, None
        if rival is not None:
            await super().append_lines([encode(rival)])
        return await super().append_lines(lines)


class CountingReaders(Readers):
    """Readers that count their reads, and the events of streams that these return."""

    reads = 0
    events = 0

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]], *, within_s: float = LONGEST_S) -> T:
        self.reads += 1
        return await super().run(work, within_s=within_s)

    async def streams(self, *names: str) -> list[list[RecordedEvent]]:
        found = await super().streams(*names)
        self.events += sum(map(len, found))
        return found


class Counting(Ledger):
    """An open ledger that counts what a command needs."""

    writer: CountingWriter
    readers: CountingReaders

    async def record(self, calls: Sequence[CallEvents]) -> tuple[list[LedgerError | None], int, int, int]:
        """Record calls; return the results, and the numbers of appends, of reads, and of events read from streams."""
        self.writer.appends, self.readers.reads, self.readers.events = [], 0, 0
        results = await self.requests.record_calls(calls)
        return results, len(self.writer.appends), self.readers.reads, self.readers.events


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Counting]:
    """Open a ledger that counts."""
    readers = CountingReaders(conninfo(url, "reader"), most=4, patience_s=20)
    writer = CountingWriter(url)
    await readers.open()
    await writer.start()
    try:
        yield Counting(writer, readers)
    finally:
        await writer.close()
        await readers.close()


def call(stream: str = TRACE, **members: Any) -> CallEvents:
    """A call that is over."""
    started = NewEvent(uuid7(), stream, ModelCallStarted.model_validate({**MODEL, **members}), AGENT)
    return CallEvents(stream, started, NewEvent(uuid7(), stream, ModelCallCompleted(), AGENT, causation=started.id))


def content(of: CallEvents) -> CallContent:
    """A message of a call."""
    ids = {"trace_id": "1" * 32, "span_id": "1" * 16}
    event = ModelCallContentRecorded(event_name="e", mapper_version="m", **ids, input_messages=["hello"])
    return CallContent(AGENT, of.started.id, uuid7(), event)


def types(url: str, stream: str = TRACE) -> list[str]:
    """The types of the events of a stream, without their prefix."""
    with connect(url) as conn:
        rows = conn.execute("SELECT type FROM events WHERE stream = %s ORDER BY version", [stream]).fetchall()
    return [row[0].removeprefix("model-call.") for row in rows]


def test_an_export_costs_the_same_in_a_long_stream(database_url: str) -> None:
    """The appends and reads for 100 calls are few, and the same however many calls of the trace are on record."""

    async def main() -> None:
        async with opened(database_url) as ledger:
            for _ in range(3):
                results, *cost = await ledger.record([call() for _ in range(2 * MOST_CALLS)])
                assert results == [None] * 2 * MOST_CALLS
                assert cost == [2, 4, 0]

    asyncio.run(main())
    assert types(database_url) == ["started", "completed"] * 6 * MOST_CALLS


def test_a_repeated_export_costs_a_few_reads_for_each_call(database_url: str) -> None:
    """Calls that are on record are replays, and their stream is not read for them."""
    calls = [call() for _ in range(MOST_CALLS)]

    async def main() -> None:
        async with opened(database_url) as ledger:
            await ledger.record(calls)
            results, appends, reads, events = await ledger.record(calls)
            assert (results, appends, events) == ([None] * MOST_CALLS, 0, 0)
            assert reads <= 3 + 2 * MOST_CALLS
            results, appends, *_ = await ledger.record([*calls[:3], call(), *calls[3:6]])
            assert (results, appends) == ([None] * 7, 1)

    asyncio.run(main())
    assert types(database_url) == ["started", "completed"] * (MOST_CALLS + 1)


def test_each_call_of_a_group_has_its_own_result(database_url: str) -> None:
    """One call that cannot be recorded, and one whose id has other content, take nothing from those beside them."""
    calls = [call() for _ in range(6)]
    calls[2] = call(input_messages=["\0"])
    other = call("trace-2")
    calls[4] = CallEvents(TRACE, call().started, NewEvent(other.ended.id, TRACE, ModelCallCompleted(), AGENT))

    async def main() -> None:
        async with opened(database_url) as ledger:
            await ledger.record([other])
            results, appends, _, events = await ledger.record(calls)
            assert [type(result) for result in results] == [
                *[type(None)] * 2,
                InvalidEvent,
                type(None),
                IdConflict,
                type(None),
            ]
            assert (appends, events) == (4, 0)

    asyncio.run(main())
    assert types(database_url) == ["started", "completed"] * 4


def test_a_closed_case_takes_no_call(database_url: str) -> None:
    """What came before the case was closed stays and is a replay; what comes after it is refused, call and content."""

    async def main() -> None:
        async with opened(database_url) as ledger:
            stream = (await ledger.requests.request_recommendation(AGENT, requested())).stream
            before = [call(stream) for _ in range(MOST_CALLS)]
            results, appends, *_ = await ledger.record(before)
            assert (results, appends) == ([None] * MOST_CALLS, 1)
            first = content(before[0])
            assert await ledger.content.record([first]) == [None]
            failed = NewEvent(uuid7(), stream, RequestFailed(reason="agent-error"), AGENT)
            await ledger.writer.append([failed])
            results, appends, *_ = await ledger.record([before[0], call(stream), call(), *before[1:3]])
            assert [getattr(result, "code", None) for result in results] == [None, "request-failed", None, None, None]
            assert appends == 1  # of the trace alone
            [alone], *_ = await ledger.record([call(stream)])
            assert getattr(alone, "code", None) == "request-failed"
            refused = await ledger.content.record([first, content(before[1])])
            assert refused[0] is None
            [late] = await ledger.content.record([content(before[1])])
            assert isinstance(late, Refused)
            assert late.code == "request-failed"

    asyncio.run(main())


def test_a_call_is_judged_anew_if_its_case_changes_meanwhile(database_url: str) -> None:
    """Whatever comes between the look at the case and the append, no call is recorded after the end of its case."""

    async def main() -> None:
        async with opened(database_url) as ledger:
            for together in (1, 3):
                stream = (await ledger.requests.request_recommendation(AGENT, requested())).stream
                failed = NewEvent(uuid7(), stream, RequestFailed(reason="agent-error"), AGENT)
                calls = [call(stream) for _ in range(together)]
                append_lines = ledger.writer.append_lines

                async def failing(lines: Any, failed: NewEvent = failed, append: Any = append_lines) -> Any:
                    ledger.writer.append_lines = append  # type: ignore[method-assign]
                    await ledger.writer.append([failed])
                    return await append(lines)

                ledger.writer.append_lines = failing  # type: ignore[method-assign]
                results = await ledger.requests.record_calls(calls)
                assert [getattr(result, "code", None) for result in results] == ["request-failed"] * together

    asyncio.run(main())


def test_calls_of_a_request_need_the_request(database_url: str) -> None:
    """Calls of an unknown request are refused, those of a known one recorded, whatever else is in the export."""

    async def main() -> None:
        async with opened(database_url) as ledger:
            known = (await ledger.requests.request_recommendation(AGENT, requested())).stream
            mixed = [call(stream) for _ in range(3) for stream in (known, "request-99", TRACE)]
            results, appends, *_ = await ledger.record(mixed)
            assert [isinstance(result, NotFound) for result in results] == [False, True, False] * 3
            assert (results[0], appends) == (None, 2)

    asyncio.run(main())
    assert types(database_url, "request-99") == []
    assert types(database_url) == ["started", "completed"] * 3


def test_held_content_is_joined_to_each_call_of_a_group(database_url: str) -> None:
    """Content that waits for some calls of an export is in their stream, and only what was held is read."""
    calls = [call() for _ in range(20)]

    async def main() -> None:
        async with opened(database_url) as ledger:
            assert await ledger.content.record([content(one) for one in calls[::2]]) == [None] * 10
            results, appends, _, events = await ledger.record(calls)
            assert (results, appends) == ([None] * 20, 20)
            assert events == 20  # once for the group, once for the call alone

    asyncio.run(main())
    assert types(database_url) == ["started", "content-recorded", "completed", "started", "completed"] * 10
    assert types(database_url, held_stream(calls[0].started.id)) == ["content-recorded", "content-joined"]


def test_content_that_comes_meanwhile_is_joined(database_url: str) -> None:
    """Content that is held between the look and the append of a group is seen by its precondition, and joined."""
    calls = [call() for _ in range(3)]

    async def main() -> None:
        async with opened(database_url) as ledger:
            late = content(calls[1])
            ledger.writer.rival = NewEvent(late.event_id, held_stream(late.started_id), late.event, AGENT)
            results, appends, *_ = await ledger.record(calls)
            assert (results, appends) == ([None] * 3, 4)

    asyncio.run(main())
    assert types(database_url) == [
        "started",
        "completed",
        "started",
        "content-recorded",
        "completed",
        "started",
        "completed",
    ]


def test_large_calls_are_appended_apart(database_url: str) -> None:
    """An append of a group has at most MOST_BYTES, unless one call alone has more."""
    calls = [call(input_messages=["x" * (MOST_BYTES // 3)]) for _ in range(5)]

    async def main() -> None:
        async with opened(database_url) as ledger:
            results, *_ = await ledger.record([*calls, call(input_messages=["x" * 2 * MOST_BYTES]), call()])
            assert results == [None] * 7
            assert [len(lines) for lines in ledger.writer.appends] == [4, 4, 2, 2, 2]

    asyncio.run(main())
    assert types(database_url) == ["started", "completed"] * 7


@pytest.mark.parametrize("count", [1, 3 * MOST_CALLS])
def test_without_a_database_no_call_is_recorded(database_url: str, count: int) -> None:
    """If nothing can be appended, each call has Unavailable as its result, after one try."""

    async def main() -> None:
        async with opened(database_url) as ledger:
            await ledger.writer.close()
            results, appends, *_ = await ledger.record([call() for _ in range(count)])
            assert [isinstance(result, Unavailable) for result in results] == [True] * count
            assert appends == 1

    asyncio.run(main())
    assert types(database_url) == []


def test_content_costs_the_same_in_a_long_stream(database_url: str) -> None:
    """Content of calls in a long stream is recorded without reading that stream."""
    calls = [call() for _ in range(MOST_CALLS)]

    async def main() -> None:
        async with opened(database_url) as ledger:
            await ledger.record(calls)
            ledger.readers.events = 0
            assert await ledger.content.record([content(one) for one in calls]) == [None] * MOST_CALLS
            assert ledger.readers.events == 0

    asyncio.run(main())


def test_much_content_of_one_call_is_read_a_few_times(database_url: str) -> None:
    """Held content is read three times for a call, however much it is, and once for all that comes later."""
    one = call()

    async def main() -> None:
        async with opened(database_url) as ledger:
            assert await ledger.content.record([content(one) for _ in range(45)]) == [None] * 45
            assert ledger.readers.events == 0
            results, appends, _, events = await ledger.record([one])
            assert (results, appends) == ([None], 5)
            assert events <= 3 * 46
            ledger.readers.events = 0
            assert await ledger.content.record([content(one) for _ in range(45)]) == [None] * 45
            assert ledger.readers.events <= 46

    asyncio.run(main())
    assert types(database_url).count("content-recorded") == 90

"""Record model calls that have ended, as exports of OpenTelemetry bring them: many at once, often of one trace.

The time of an export is in proportion to its calls, however long their stream is, because the stream of a call is
never read. The following decide: the few events that say whether a request's case is closed, the ids that are
recorded, and the content that is held. Calls that nothing prevents are appended together. If that is refused, each
call is recorded alone, so that each has its own result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from ledger.errors import LedgerError, Unavailable
from ledger.service.closed_cases import takes_calls
from ledger.service.command import CallEvents, Command
from ledger.service.content import held_stream, join, joining
from ledger.service.execute import Executor
from ledger.service.grouped import grouped
from ledger.store.envelope import Expected, Line, NewEvent, encode
from ledger.store.events import Receipt

# The limits of one append, because other callers wait for it.
MOST_CALLS = 50
MOST_BYTES = 1024 * 1024


@dataclass(frozen=True)
class FinishedCalls:
    """The command that records calls that have ended."""

    executor: Executor

    async def record(self, calls: Sequence[CallEvents]) -> list[LedgerError | None]:
        """Record calls; return for each None, or the reason for which it is not recorded. Calls of one stream keep
        their order.

        Once the database does not answer, the remaining calls of a stream are Unavailable as well.
        """
        return await grouped(calls, lambda call: call.stream, self._of_stream)

    async def _of_stream(self, calls: list[CallEvents]) -> list[LedgerError | None]:
        results: list[LedgerError | None] = []
        try:
            for start in range(0, len(calls), MOST_CALLS):
                results += await self._some(calls[start : start + MOST_CALLS])
        except Unavailable as error:  # as each further try would, after its patience
            results += [error] * (len(calls) - len(results))
        return results

    async def _some(self, calls: list[CallEvents]) -> list[LedgerError | None]:
        """Record calls of a stream together if possible, else each alone; return the results. Raises Unavailable."""
        try:
            if len(calls) > 1 and await self._together(calls):
                return [None] * len(calls)
        except _Closed as closed:
            return [await self._alone(call) if call.ended.id in closed.known else closed.why for call in calls]
        except Unavailable:
            raise
        except LedgerError:
            pass  # one of the calls has a fault, which is found below
        return [await self._alone(call) for call in calls]

    async def _together(self, calls: list[CallEvents]) -> bool:
        """Append calls without looking up each one. Return False if they have to be recorded alone. Raises
        LedgerError.

        If some of them are recorded and then one is refused, recording each alone is a retry for the others.
        """
        stream = calls[0].stream
        contents = [held_stream(call.started.id) for call in calls]
        known, version, held = await asyncio.gather(
            self.executor.recorded([call.ended.id for call in calls]),
            takes_calls(self.executor, stream),
            self.executor.readers.streams(*contents),
        )
        if isinstance(version, LedgerError):
            raise _Closed(version, known)
        if known or any(held):
            return False
        receipts: list[Receipt] = []
        for lines in _appends(await asyncio.to_thread(_encoded, calls, version)):
            receipts += await self.executor.writer.append_lines(lines)
        return not any(receipt.replayed for receipt in receipts)

    async def _alone(self, call: CallEvents) -> LedgerError | None:
        try:
            await self._record(call)
        except Unavailable:
            raise
        except LedgerError as error:
            return error
        return None

    async def _record(self, call: CallEvents) -> None:
        """Record a call together with its held content. If more content arrives in between, the precondition fails."""
        actor, started_id = call.started.actor, call.started.id
        content_stream = held_stream(started_id)
        unfinished = False

        async def look() -> tuple[int | LedgerError | None, list[NewEvent], int]:
            nonlocal unfinished
            [held] = await self.executor.readers.streams(content_stream)
            joined: list[NewEvent] = await anext(joining(self.executor, actor, started_id, call.stream, held), [])
            unfinished = bool(joined) and joined[-1].stream != content_stream
            return await takes_calls(self.executor, call.stream), joined, len(held)

        def decide(state: tuple[int | LedgerError | None, list[NewEvent], int], _new_id: UUID) -> list[NewEvent]:
            version, joined, of_content = state
            if isinstance(version, LedgerError):
                raise version
            return [_start(call, of_content, version), *joined, call.ended]

        command = Command.of_event(actor, call.stream, call.ended.event, call.ended.id)
        receipt = await self.executor.execute(command, look, decide)
        # Further content follows in transactions of its own. After a crash in between, the retry of the call joins it.
        if unfinished or receipt.replayed:
            await join(self.executor, actor, started_id, call.stream)


class _Closed(LedgerError):
    """The request accepts no further call. `known` are the ids that are recorded: those calls are retries."""

    def __init__(self, why: LedgerError, known: set[UUID]) -> None:
        super().__init__(str(why))
        self.why, self.known = why, known


def _start(call: CallEvents, held: int, version: int | None) -> NewEvent:
    """Return the start of a call, with the preconditions that its stream and its held content have these versions."""
    expected: Expected = "any" if version is None else version
    return replace(call.started, expected=expected, preconditions={held_stream(call.started.id): held})


def _encoded(calls: Sequence[CallEvents], version: int | None) -> list[list[Line]]:
    """Return the lines of each call without held content, in a stream of this version. Raises InvalidEvent."""
    versions = [None if version is None else version + 2 * number for number in range(len(calls))]
    return [[encode(_start(call, 0, at)), encode(call.ended)] for call, at in zip(calls, versions, strict=True)]


def _appends(calls: Sequence[list[Line]]) -> Iterator[list[Line]]:
    """Group the lines of calls, in order, into appends of at most MOST_BYTES."""
    together: list[Line] = []
    for lines in calls:
        if together and sum(line.size for line in together + lines) > MOST_BYTES:
            yield together
            together = []
        together = together + lines
    if together:
        yield together

"""Assign many clients at once: all of them, or none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ledger.domain import client as clients
from ledger.domain.client import Assignee, Client, assignee_of, stream_of
from ledger.errors import InvalidLines, Refused
from ledger.service.clients import ClientCommands
from ledger.service.execute import Executor, unknown
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import Receipt
from schema.events import ClientAssigned

# The most lines of one append, because other callers wait for it.
MOST_LINES = 1000


@dataclass(frozen=True)
class AssignmentLine:
    """An assignment in a batch: its line, from 1; the client, by number or identifier; and the event."""

    line: int
    client: int | str
    event: ClientAssigned

    @property
    def field(self) -> str:
        """Return the place of the client, for errors."""
        return f"line {self.line}: {'client_id' if isinstance(self.client, str) else 'client'}"


@dataclass(frozen=True)
class BulkAssignments:
    """The command that assigns clients in batches. A line that would change nothing records nothing.

    So a batch that is repeated because its answer was lost records nothing twice.
    """

    executor: Executor
    clients: ClientCommands

    async def assign(self, actor: Actor, lines: Sequence[AssignmentLine]) -> list[Receipt]:
        """Record at most MOST_LINES assignments; return the receipts of those that change something.

        Raises InvalidLines for clients that are unknown, out of the actor's scope, or merged; then nothing is
        recorded.
        """
        assert len(lines) <= MOST_LINES
        numbers = await self.clients.numbers({line.client for line in lines if isinstance(line.client, str)})
        # No client has the number 0.
        known = [numbers.get(line.client, 0) if isinstance(line.client, str) else line.client for line in lines]

        async def look() -> dict[int, Client]:
            return await self._states(known, with_lineage=actor.scope is not None)

        def decide(states: dict[int, Client]) -> list[NewEvent]:
            events: list[NewEvent] = []
            errors = _repeated(lines, known)
            for line, number in zip(lines, known, strict=True):
                try:
                    events += _event(actor, line.event, number, states)
                except Refused as refusal:
                    errors.append((line.field, str(refusal)))
            if errors:
                raise InvalidLines(errors)
            return events

        return await self.executor.execute_all(actor, look, decide)

    async def _states(self, numbers: Iterable[int], *, with_lineage: bool) -> dict[int, Client]:
        """Return the state of each client. With `with_lineage`, also return the clients that they were merged into."""
        states: dict[int, Client] = {}
        wanted = set(numbers) - {0}
        while wanted:
            ordered = sorted(wanted)
            histories = await self.executor.readers.streams(*map(stream_of, ordered))
            states |= {
                number: clients.fold(number, history) for number, history in zip(ordered, histories, strict=True)
            }
            merged = {one.merged_into for one in states.values() if one.merged_into is not None}
            wanted = merged - states.keys() if with_lineage else set()
        return states


def _repeated(lines: Sequence[AssignmentLine], numbers: Sequence[int]) -> list[tuple[str, str]]:
    """Return an error for each line about the same client and assignee as an earlier line."""
    errors: list[tuple[str, str]] = []
    seen: dict[tuple[int, Assignee], int] = {}
    for line, number in zip(lines, numbers, strict=True):
        first = seen.setdefault((number, assignee_of(line.event)), line.line)
        if number and first != line.line:
            errors.append((line.field, f"line {first} assigns the same client to the same subject or group"))
    return errors


def _event(actor: Actor, event: ClientAssigned, number: int, states: dict[int, Client]) -> list[NewEvent]:
    """Return the event of a line, if it changes anything, and update `states`. Raises Refused."""
    client = states.get(number, Client(number))
    limits: dict[str, int] = {}
    if actor.scope is not None:
        lineage = list(_lineage(client, states))
        if not client.known or not actor.scope.includes(lineage):
            raise unknown("client-unknown")
        limits = {stream_of(one.number): one.version for one in lineage[1:]}
    if not clients.is_change(client, event):
        return []
    states[number] = clients.assigned(client, event)
    return [NewEvent(uuid7(), stream_of(number), event, actor, client.version, preconditions=limits)]


def _lineage(client: Client, states: dict[int, Client]) -> Iterable[Client]:
    yield client
    while client.merged_into is not None:
        client = states[client.merged_into]
        yield client

"""Any sequence of appends, replays and conflicts does what a small model says, and leaves a chain that verifies."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ledger.store.envelope import Expected, NewEvent, uuid7
from schema.events import Event
from tests.support import CLERK, append, check_chain, connect, failed, fresh_ledger, refused, requested


class Row(NamedTuple):
    """Where an event stands."""

    position: int
    stream: str
    version: int


class RefusedBatch(Exception):
    """The model refuses the batch, as the database should, with this SQLSTATE."""


@dataclass
class Model:
    """A ledger without hashes: rows by id, the length of streams, their clients, and the assigned numbers."""

    position: int
    rows: dict[UUID, Row] = field(default_factory=dict)
    events: dict[UUID, NewEvent] = field(default_factory=dict)
    lengths: Counter[str] = field(default_factory=Counter)
    clients: dict[str, str] = field(default_factory=dict)
    numbers: Counter[str] = field(default_factory=Counter)

    def append(self, batch: list[NewEvent]) -> list[tuple[Row, bool]]:
        """Row of each event, and whether it was there before. Raises RefusedBatch, having changed nothing."""
        after = Model(
            self.position, dict(self.rows), dict(self.events), +self.lengths, dict(self.clients), +self.numbers
        )
        found = [self._replay(event) or after._add(event) for event in batch]
        fresh = [event.id for event in batch if event.id not in self.rows]
        if len(set(fresh)) < len(fresh):
            raise RefusedBatch("23505")
        for event, (row, _) in zip(batch, found, strict=True):
            client = getattr(event.event, "client_id", None)
            if client is not None and after.clients.setdefault(row.stream, client) != client:
                raise RefusedBatch("AL005")
        self.__dict__.update(after.__dict__)
        return found

    def _replay(self, event: NewEvent) -> tuple[Row, bool] | None:
        if event.id not in self.rows:
            return None
        row, first = self.rows[event.id], self.events[event.id]
        same_stream = event.stream in {row.stream, row.stream.rstrip("0123456789") if is_numbered(row.stream) else None}
        if not same_stream or event.event != first.event:
            raise RefusedBatch("AL002")
        return row, True

    def _add(self, event: NewEvent) -> tuple[Row, bool]:
        stream = event.stream
        if stream.endswith("-"):
            self.numbers[stream] += 1
            stream += str(self.numbers[stream])
        length = self.lengths[stream]
        if not {"any": True, "no_stream": length == 0, "stream_exists": length > 0}.get(
            str(event.expected), event.expected == length
        ):
            raise RefusedBatch("AL003")
        self.position += 1
        self.lengths[stream] += 1
        self.rows[event.id] = Row(self.position, stream, length + 1)
        self.events[event.id] = event
        return self.rows[event.id], False


def is_numbered(stream: str) -> bool:
    """Return True if the name ends in a hyphen and a number."""
    return stream.rpartition("-")[2].isdigit()


CONTENTS: list[Event] = [failed("one"), failed("two", detail="why"), requested("ann"), requested("bob", notes="n")]
EXPECTED: st.SearchStrategy[Expected] = st.sampled_from(["any", "any", "any", "no_stream", "stream_exists", 0, 1, 2, 3])
_examples = itertools.count()


class Ledger(RuleBasedStateMachine):
    """Drives the database and the model side by side, each example in streams of its own."""

    url: str

    def __init__(self) -> None:
        super().__init__()
        self.conn = connect(self.url)
        (self.base,) = self.conn.execute("SELECT position FROM head").fetchall()[0]
        self.model = Model(self.base)
        self.prefix = f"example-{next(_examples)}x"

    def names(self) -> list[str]:
        """Streams to choose from: two plain ones, one whose name extends another's, a category, and its first two."""
        plain = [f"{self.prefix}/{name}" for name in ("a", "a1", "b")]
        category = f"{self.prefix}/n-"
        given = [f"{category}{number}" for number in range(1, min(self.model.numbers[category], 2) + 1)]
        return [*plain, category, category, *given]

    def known(self, data: st.DataObject) -> NewEvent:
        """An event that is recorded."""
        return self.model.events[data.draw(st.sampled_from(list(self.model.events)))]

    def fresh(self, data: st.DataObject) -> NewEvent:
        """An event that is not."""
        stream, content = data.draw(st.sampled_from(self.names())), data.draw(st.sampled_from(CONTENTS))
        return NewEvent(uuid7(), stream, content, CLERK, data.draw(EXPECTED))

    def altered(self, data: st.DataObject, event: NewEvent) -> NewEvent:
        """The same id, with stream, content and expectation drawn anew: a replay, or a conflict."""
        other = self.fresh(data)
        stream = data.draw(
            st.sampled_from([event.stream, event.stream, self.model.rows[event.id].stream, other.stream])
        )
        content = data.draw(st.sampled_from([event.event, event.event, other.event]))
        return NewEvent(event.id, stream, content, CLERK, other.expected)

    def event(self, data: st.DataObject) -> NewEvent:
        """Mostly a new event, at times a recorded one again."""
        if self.model.events and data.draw(st.integers(0, 3)) == 0:
            return self.altered(data, self.known(data))
        return self.fresh(data)

    @rule(data=st.data(), size=st.integers(1, 4))
    def append(self, data: st.DataObject, size: int) -> None:
        """A batch of anything."""
        self.compare([self.event(data) for _ in range(size)])

    @rule(data=st.data())
    def append_twice_in_a_batch(self, data: st.DataObject) -> None:
        """One id on two lines."""
        event = self.event(data)
        self.compare([event, self.fresh(data), event])

    @rule(data=st.data())
    def replay_all(self, data: st.DataObject) -> None:
        """Everything that is recorded, once more, with something new in the middle."""
        old = list(self.model.events.values())
        at = data.draw(st.integers(0, len(old)))
        self.compare([*old[:at], self.fresh(data), *old[at:]])

    def outcome(self, batch: list[NewEvent]) -> list[tuple[Row, bool]] | str:
        """The model's rows, or the SQLSTATE of its refusal."""
        try:
            return self.model.append(batch)
        except RefusedBatch as refusal:
            return str(refusal)

    def compare(self, batch: list[NewEvent]) -> None:
        """Both get the batch, and give the same rows or the same refusal."""
        expected = self.outcome(batch)
        if isinstance(expected, str):
            with refused(expected):
                append(self.conn, *batch)
        else:
            rows = append(self.conn, *batch)
            assert [(Row(row.position, row.stream, row.version), row.replayed) for row in rows] == expected
            assert [row.id for row in rows] == [event.id for event in batch]

    @invariant()
    def head_is_where_the_model_is(self) -> None:
        """No batch that was refused moved it."""
        assert self.conn.execute("SELECT position FROM head").fetchone() == (self.model.position,)

    def teardown(self) -> None:
        """The chain, recomputed in Python, has exactly the model's events, each where the model has it."""
        with self.conn:
            rows = check_chain(self.conn, self.base)
            assert {row.id: Row(row.position, row.stream, row.version) for row in rows} == self.model.rows
            clients = self.conn.execute(
                "SELECT stream, client_id FROM stream_clients WHERE starts_with(stream, %s)", [self.prefix + "/"]
            )
            assert dict(clients.fetchall()) == self.model.clients


@pytest.fixture(scope="module")
def ledger(server_url: str) -> Iterator[str]:
    """A ledger that all examples share."""
    with fresh_ledger(server_url) as url:
        yield url


def test_the_database_does_what_the_model_says(ledger: str) -> None:
    """Rows, replays and refusals are the model's for any sequence of batches."""
    run_state_machine_as_test(type("LedgerAt", (Ledger,), {"url": ledger}), settings=settings(stateful_step_count=20))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_database_does_what_the_model_says_for_longer(ledger: str) -> None:
    """The same, with many more and longer examples."""
    run_state_machine_as_test(
        type("LedgerAt", (Ledger,), {"url": ledger}), settings=settings(stateful_step_count=60, max_examples=250)
    )

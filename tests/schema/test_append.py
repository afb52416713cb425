"""append(): what it gives out, what it expects, and what it takes for a replay."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.database import Connection
from ledger.proof.format import hashes
from ledger.store.envelope import Actor, Expected, NewEvent, encode, uuid7
from tests.support import (
    append,
    append_lines,
    append_text,
    check_chain,
    connect,
    edited,
    failed,
    line,
    microseconds,
    new,
    refused,
    requested,
    text,
)

# Positions and numbers


def test_rows_come_back_in_the_order_of_the_lines(writer: Connection) -> None:
    """Each line gets a row, in order, with the next position and the next version of its stream."""
    streams = ["order-a", "order-b", "order-a", "order-a", "order-b"]
    rows = append(writer, *map(new, streams))
    assert [(row.stream, row.version) for row in rows] == [
        ("order-a", 1),
        ("order-b", 1),
        ("order-a", 2),
        ("order-a", 3),
        ("order-b", 2),
    ]
    assert [row.position - rows[0].position for row in rows] == [0, 1, 2, 3, 4]
    assert len({row.recorded_at for row in rows}) == 1
    assert not any(row.replayed for row in rows)


def test_positions_have_no_gaps(writer: Connection, superuser: Connection) -> None:
    """Positions continue over batches, also after a refused batch, and the chain verifies."""
    first = append(writer, new("gap"))[0].position
    with refused("AL003"):
        append(writer, new("gap"), new("gap", expected="no_stream"))
    assert append(writer, new("gap"), new("gap"))[-1].position == first + 2
    assert [row.version for row in check_chain(superuser, first - 1) if row.stream == "gap"] == [1, 2, 3]


def test_first_event_follows_the_genesis_hash(database_url: str) -> None:
    """Position 1 of a new ledger has the genesis hash of its origin before it, and head has its hash after it."""
    with connect(database_url) as conn:
        origin, position, before = conn.execute("SELECT origin, position, hash FROM head").fetchall()[0]
        assert (position, before) == (0, hashes.genesis_hash(origin))
        append(conn, new("first"))
        (row,) = check_chain(conn)
    assert (row.position, row.prev_hash) == (1, hashes.genesis_hash(origin))


def test_an_empty_batch_is_nothing(writer: Connection, nothing_recorded: None) -> None:
    """No lines, no rows."""
    assert append_text(writer, "") == []


def test_hash_is_the_one_that_python_computes(writer: Connection, superuser: Connection) -> None:
    """The hash that is recorded and returned is ledger.proof.format.hashes.event_hash of the recorded row."""
    (row,) = append(writer, new("hash", requested(notes="x")))
    body, prev = superuser.execute("SELECT body, prev_hash FROM events WHERE position = %s", [row.position]).fetchall()[
        0
    ]
    at = microseconds(row.recorded_at)
    assert row.hash == hashes.event_hash(prev, row.position, row.version, at, body.encode())


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200))
def test_any_text_is_hashed_as_it_was_sent(writer: Connection, superuser: Connection, text: str) -> None:
    """Bodies and sealed values of any Unicode text are recorded byte for byte, and hash and open in Python too."""
    event = NewEvent(uuid7(), "text", failed(detail=text), actor=actor_named(text))
    (row,) = append(writer, event)
    (found,) = check_chain(superuser, row.position - 1)
    assert (found.fields["detail"], json.loads(found.body)["actor"]["id"]) == (text, text)


def actor_named(name: str) -> Actor:
    """An actor whose id is any text: the part of a body that takes it in clear."""
    return Actor(id=name, kind="human", role="advisor")


def test_body_is_recorded_byte_for_byte(writer: Connection, superuser: Connection) -> None:
    """The text of a body, spaces and escapes and all, is what is stored: nothing writes it anew."""
    head = '{"actor":{}, "data":{"n":1.0,\t"e":"\\u00e9\\/"}'
    line = replace(encode(new("bytes")), head=head)
    body = line.body().decode()
    for attempt in (lambda: append_lines(writer, [line])[0], lambda: append_text(writer, text(line))[0]):
        position = attempt().position
        assert superuser.execute("SELECT body FROM events WHERE position = %s", [position]).fetchone() == (body,)
    assert body.startswith(head)


def test_time_does_not_go_back(database_url: str) -> None:
    """With a clock behind the newest event, the next one gets that event's time, never an earlier one."""
    with connect(database_url, session_replication_role="replica") as conn:
        append(conn, new("late"))
        conn.execute("ALTER TABLE head DISABLE TRIGGER check_head")
        conn.execute("UPDATE head SET recorded_at = recorded_at + interval '1 hour'")
        conn.execute("ALTER TABLE head ENABLE ALWAYS TRIGGER check_head")
        ahead = conn.execute("SELECT recorded_at FROM head").fetchall()[0][0]
        assert [row.recorded_at for row in append(conn, new("late"), new("late"))] == [ahead, ahead]
        assert append(conn, new("late"))[0].recorded_at == ahead


def test_time_is_the_clock_at_the_append(writer: Connection) -> None:
    """Events of one transaction get the time of their append, not that of the transaction's beginning."""
    with writer.transaction():
        first = append(writer, new("clock"))[0].recorded_at
        writer.execute("SELECT pg_sleep(0.002)")
        assert append(writer, new("clock"))[0].recorded_at > first


# Expected versions


@pytest.mark.parametrize(
    ("length", "expected"),
    [(0, "any"), (2, "any"), (0, "no_stream"), (2, "stream_exists"), (0, 0), (2, 2)],
)
def test_an_expectation_that_holds_lets_the_event_in(writer: Connection, length: int, expected: Expected) -> None:
    """any, no_stream, stream_exists and a number let an event in where they are true of the stream."""
    stream = f"holds-{length}{expected}"
    append(writer, *[new(stream) for _ in range(length)])
    assert append(writer, new(stream, expected=expected))[0].version == length + 1


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (2, "no_stream"),
        (0, "stream_exists"),
        (0, 1),
        (2, 0),
        (2, 1),
        (2, 3),
        (2, "02"),
        (2, "2.0"),
        (2, "all"),
        (2, -1),
    ],
)
def test_an_expectation_that_fails_records_nothing(
    writer: Connection, superuser: Connection, length: int, expected: Any
) -> None:
    """An expectation that is not true raises AL003, says what was expected and what is, and records nothing."""
    stream = f"fails-{length}{expected}"
    append(writer, *[new(stream) for _ in range(length)])
    event = new(stream, expected=expected)
    with refused("AL003") as refusal:
        append(writer, new("innocent"), event)
    assert refusal.detail == {
        "line": 2,
        "id": str(event.id),
        "stream": stream,
        "expected": str(expected),
        "actual": length,
    }
    assert superuser.execute("SELECT count(*) FROM events WHERE stream = %s", [stream]).fetchone() == (length,)


def test_expectations_see_the_lines_before_them(writer: Connection) -> None:
    """Within a batch each line's expectation is of the stream as the lines before it leave it."""
    rows = append(
        writer,
        new("grow", expected="no_stream"),
        new("grow", expected="stream_exists"),
        new("grow", expected=2),
        new("other-grow", expected=0),
        new("grow", expected=3),
    )
    assert [row.version for row in rows] == [1, 2, 3, 1, 4]
    with refused("AL003"):
        append(writer, new("twice", expected="no_stream"), new("twice", expected="no_stream"))


# Replays and conflicts of ids


@pytest.mark.parametrize(
    "event",
    [
        new("replay-plain", failed()),
        new("replay-sealed", requested(notes="n", objectives=["a", "b"]), expected="no_stream"),
        new("replay-", requested("client-r"), expected=0),
    ],
    ids=["plain", "sealed", "numbered"],
)
def test_a_replay_returns_the_original(writer: Connection, superuser: Connection, event: NewEvent) -> None:
    """The same id and content again, fresh salts and any expectation, returns the first row and records nothing."""
    (first,) = append(writer, event)
    append(writer, new(first.stream), new("replay-"))
    before = superuser.execute("SELECT position FROM head").fetchone()
    for attempt in (line(event), line(event), edited(event, expected="17")):
        (again,) = append_text(writer, attempt)
        assert again.replayed
        assert (again.position, again.stream, again.version, again.recorded_at, again.hash) == (
            first.position,
            first.stream,
            first.version,
            first.recorded_at,
            first.hash,
        )
    assert append(writer, event) == [replace(first, replayed=True)]
    assert superuser.execute("SELECT position FROM head").fetchone() == before


def test_replays_stand_among_new_lines(writer: Connection) -> None:
    """A batch may mix replays and new events: replays take no version, and the rows stay in the order of the lines."""
    old = [new("mixed", requested("client-m")), new("mixed")]
    first = append(writer, *old)
    rows = append(writer, new("mixed", expected=2), old[1], new("mixed", expected=3), old[0])
    assert [(row.version, row.replayed) for row in rows] == [(3, False), (2, True), (4, False), (1, True)]
    assert (rows[3].position, rows[1].position) == (first[0].position, first[1].position)


OTHER_CONTENT: dict[str, Callable[[NewEvent], NewEvent]] = {
    "data": lambda event: new(event.stream, requested(amount_usd=2), id=event.id),
    "sealed value": lambda event: new(event.stream, requested("client-2"), id=event.id),
    "sealed value more": lambda event: new(event.stream, requested(notes="n"), id=event.id),
    "stream": lambda event: new("elsewhere", event.event, id=event.id),
    "stream without its digit": lambda event: new(event.stream.rstrip("7"), event.event, id=event.id),
    "numbered stream": lambda event: new("elsewhere-", event.event, id=event.id),
    "type": lambda event: new(event.stream, failed(), id=event.id),
    "actor": lambda event: NewEvent(event.id, event.stream, event.event, actor_named("else")),
    "causation": lambda event: NewEvent(event.id, event.stream, event.event, event.actor, causation=uuid7()),
}


@pytest.mark.parametrize("other", OTHER_CONTENT)
def test_an_id_with_other_content_is_refused(writer: Connection, superuser: Connection, other: str) -> None:
    """An id that is recorded with other data, sealed values, stream, type, actor or cause raises AL002."""
    event = new(f"conflict {other}7", requested())
    append(writer, event)
    before = superuser.execute("SELECT position FROM head").fetchone()
    with refused("AL002") as refusal:
        append(writer, new("innocent"), OTHER_CONTENT[other](event))
    assert (refusal.detail["line"], refusal.detail["id"]) == (2, str(event.id))
    assert superuser.execute("SELECT position FROM head").fetchone() == before


def test_an_id_twice_in_a_batch_is_refused(writer: Connection, nothing_recorded: None) -> None:
    """One id on two lines of a batch raises unique_violation, same content or not: there is no order to prefer."""
    event = new("doubled")
    for second in (event, new("doubled", id=event.id), new("doubled-else", failed("other"), id=event.id)):
        with refused("23505"):
            append(writer, new("innocent"), event, second)


# Numbered streams


def test_numbers_count_without_gaps(writer: Connection, superuser: Connection) -> None:
    """A stream "count-" becomes count-1, count-2 …; a batch that fails, or is rolled back, uses up no number."""
    assert [row.stream for row in append(writer, new("count-"), new("other-count-"), new("count-"))] == [
        "count-1",
        "other-count-1",
        "count-2",
    ]
    with refused("AL003"):
        append(writer, new("count-"), new("count-", expected="stream_exists"))
    with writer.transaction(force_rollback=True):
        assert append(writer, new("count-"))[0].stream == "count-3"
    (row,) = append(writer, new("count-", requested(), expected="no_stream"))
    assert (row.stream, row.version) == ("count-3", 1)
    assert append(writer, new("count-3", expected=1))[0].version == 2
    last = superuser.execute("SELECT last FROM stream_numbers WHERE category = 'count-'").fetchone()
    assert last == (3,)
    assert [e.stream for e in check_chain(superuser, row.position - 1)][:2] == ["count-3", "count-3"]


def test_replayed_numbers_use_up_none(writer: Connection) -> None:
    """A replay of a numbered stream's first event gets its old number, and the new one beside it the next."""
    event = new("again-")
    append(writer, event)
    assert [row.stream for row in append(writer, event, new("again-"), event)] == ["again-1", "again-2", "again-1"]


def test_a_number_goes_into_the_body_by_its_place_only(writer: Connection, nothing_recorded: None) -> None:
    """A body for a numbered stream that is not canonical is refused with AL001, not guessed at."""
    event = new("place-")
    body = {"stream": "place-", "type": "request.failed", "schema": 1, "id": str(event.id)}
    with refused("AL001") as refusal:
        append_text(writer, json.dumps({"body": body, "expected": "any"}))
    assert refusal.message == "the body is not canonical"


def test_a_stream_with_a_number_of_its_own_blocks_nobody(writer: Connection) -> None:
    """A number that a caller chose is not given out again, whether it came before the first one given or after."""
    append(writer, new("own-3"))
    assert append(writer, new("own-"))[0].stream == "own-4"
    append(writer, new("own-5"), new("own-7"), new("own-6"), new("own-07"))
    append(writer, new("own-2"))
    assert [row.stream for row in append(writer, new("own-"), new("own-"))] == ["own-8", "own-9"]


def test_what_is_acknowledged_is_flushed(writer: Connection) -> None:
    """Where the server would acknowledge before it has flushed, append() asks it not to, for its transaction alone."""
    writer.execute("SET synchronous_commit = off")
    with writer.transaction():
        append(writer, new("request-1"))
        assert writer.execute("SHOW synchronous_commit").fetchone() == ("on",)
    assert writer.execute("SHOW synchronous_commit").fetchone() == ("off",)
    writer.execute("SET synchronous_commit = local")
    with writer.transaction():
        append(writer, new("request-1"))
        assert writer.execute("SHOW synchronous_commit").fetchone() == ("local",)

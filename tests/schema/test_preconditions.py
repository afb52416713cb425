"""Stream preconditions: the versions that other streams must have when a line is recorded, under append()'s lock."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from ledger.database import Connection
from ledger.errors import BY_SQLSTATE, InvalidEvent, VersionConflict
from ledger.store.envelope import NewEvent, encode, uuid7
from schema.migrate import migrate
from tests.schema.render import render
from tests.support import CLERK, append, append_text, connect, failed, line, new, refused


def conditional(stream: str, preconditions: dict[str, int], **how: Any) -> NewEvent:
    """The smallest event, under these preconditions."""
    return NewEvent(uuid7(), stream, failed(), CLERK, preconditions=preconditions, **how)


def with_preconditions(stream: str, preconditions: str) -> str:
    """A line with this text for preconditions."""
    return f'{line(new(stream))[:-1]},"preconditions":{preconditions}}}'


def test_a_precondition_that_holds_lets_the_line_pass(writer: Connection) -> None:
    """Each named stream has its version, 0 for a stream without events; an empty object is no precondition."""
    append(writer, new("holds/a"), new("holds/a"), new("holds/b"))
    found: list[dict[str, int]] = [{}, {"holds/a": 2}, {"holds/none": 0}, {"holds/a": 2, "holds/b": 1, "holds/none": 0}]
    for version, preconditions in enumerate(found, 1):
        [row] = append(writer, conditional("holds/x", preconditions))
        assert (row.version, row.replayed) == (version, False)


@pytest.mark.parametrize("version", [0, 1, 3, 2**53 - 1])
def test_a_precondition_that_does_not_hold_refuses_the_batch(
    writer: Connection, superuser: Connection, version: int
) -> None:
    """AL003, with the stream's line, what was expected and what is; nothing of the batch is recorded."""
    name = f"breaks{version}"
    append(writer, new(f"{name}/a"), new(f"{name}/a"))
    event = conditional(f"{name}/x", {f"{name}/a": version})
    before = superuser.execute("SELECT * FROM head").fetchall()
    with refused("AL003") as refusal:
        append(writer, new(f"{name}/innocent"), event)
    detail = {"line": 2, "id": str(event.id), "stream": f"{name}/x", "expected": str(version), "actual": 2}
    assert refusal.detail == detail
    assert "stream precondition" in refusal.message
    assert superuser.execute("SELECT * FROM head").fetchall() == before
    assert BY_SQLSTATE["AL003"] is VersionConflict


def test_one_precondition_of_several_is_enough_to_refuse(writer: Connection, nothing_recorded: None) -> None:
    """All have to hold, whatever their order."""
    for preconditions in ({"several/a": 0, "several/b": 1}, {"several/b": 1, "several/a": 0}):
        with refused("AL003"):
            append(writer, conditional("several/x", preconditions))


def test_earlier_lines_of_the_batch_count(writer: Connection) -> None:
    """A precondition counts the events of earlier lines, and not those of later lines or of its own."""
    append(writer, new("batch/a"))
    with refused("AL003"):
        append(writer, new("batch/a"), conditional("batch/x", {"batch/a": 1}))
    with refused("AL003"):
        append(writer, conditional("batch/x", {"batch/a": 2}), new("batch/a"))
    append(writer, new("batch/a"), new("batch/b"), conditional("batch/x", {"batch/a": 2, "batch/b": 1, "batch/x": 0}))
    append(
        writer,
        conditional("batch/x", {"batch/a": 2, "batch/x": 1}),
        new("batch/a"),
        conditional("batch/x", {"batch/x": 2}),
    )


def test_new_streams_of_a_category_count_by_their_full_name(writer: Connection) -> None:
    """A number assigned in the batch counts for the preconditions of later lines; the category itself is empty."""
    first, second = append(writer, new("numbered-"), conditional("numbered-", {"numbered-1": 1, "numbered-": 0}))
    assert (first.stream, second.stream) == ("numbered-1", "numbered-2")
    with refused("AL003"):
        append(writer, new("numbered-"), conditional("numbered/x", {"numbered-3": 0}))


def test_a_replay_checks_no_precondition(writer: Connection) -> None:
    """A replay returns the recorded event, wherever the named stream is by now; also in a batch with new lines."""
    event = conditional("replay/x", {"replay/a": 0})
    [first] = append(writer, event)
    append(writer, new("replay/a"))
    [again] = append(writer, event)
    assert (again.position, again.replayed) == (first.position, True)
    again, other = append(writer, event, conditional("replay/y", {"replay/a": 1, "replay/x": 1}))
    assert (again.replayed, other.replayed) == (True, False)


MALFORMED = {
    "a list": ("22023", '["malformed/a"]'),
    "a number": ("22023", "1"),
    "text": ("22023", '"malformed/a"'),
    "true": ("22023", "true"),
    "a version in words": ("AL003", '{"malformed/a":"one"}'),
    "a version that is no integer": ("AL003", '{"malformed/a":1.5}'),
    "an integer written otherwise": ("AL003", '{"malformed/a":1.0}'),
    "a negative version": ("AL003", '{"malformed/none":-1}'),
    "a version that is null": ("AL003", '{"malformed/a":null}'),
    "a version that is a list": ("AL003", '{"malformed/a":[1]}'),
    "one of a stream's two versions": ("AL003", '{"malformed/a":1,"malformed/a":2}'),
    "U+0000": ("22P05", '{"\\u0000":1}'),
    "not JSON": ("22P02", "{malformed/a:1}"),
}


@pytest.mark.parametrize("malformed", MALFORMED)
def test_malformed_preconditions_are_refused(
    writer: Connection, superuser: Connection, request: pytest.FixtureRequest, malformed: str
) -> None:
    """Each kind by an SQLSTATE that ledger.errors knows; a precondition is never passed over. Nothing is recorded."""
    if superuser.execute("SELECT 1 FROM events WHERE stream = 'malformed/a'").fetchone() is None:
        append(writer, new("malformed/a"))
    request.getfixturevalue("nothing_recorded")
    sqlstate, text = MALFORMED[malformed]
    with refused(sqlstate):
        append_text(writer, line(new("malformed/innocent")) + "\n" + with_preconditions("malformed/x", text))
    assert BY_SQLSTATE[sqlstate] in {InvalidEvent, VersionConflict}


@pytest.mark.parametrize("preconditions", ["{}", "null"])
def test_no_preconditions_are_no_preconditions(writer: Connection, preconditions: str) -> None:
    """An empty object, and null, which JSON has for nothing."""
    [row] = append_text(writer, with_preconditions("unconditional", preconditions))
    assert not row.replayed


def test_preconditions_hold_at_the_same_moment(ledger: str) -> None:
    """While one caller appends to a stream, no line with a precondition on its old version is recorded afterwards."""
    start = threading.Barrier(8)

    def race(number: int) -> list[int]:
        recorded: list[int] = []
        with connect(ledger, "writer") as conn:
            start.wait(30)
            for _ in range(15):
                if number == 0:
                    append(conn, *[new(f"race/{at}") for at in range(15)])
                    break
                try:
                    [row] = append(conn, conditional(f"race/by-{number}", {"race/7": 0}))
                except psycopg.Error as error:
                    assert error.sqlstate == "AL003"  # noqa: PT017 - it ends the loop
                    break
                recorded.append(row.position)
        return recorded

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(race, range(8)))
    with connect(ledger) as conn:
        (moved,) = conn.execute("SELECT position FROM events WHERE stream = 'race/7'").fetchall()[0]
    assert all(position < moved for positions in found for position in positions)


OLD_PARSE_BATCH = """
CREATE OR REPLACE FUNCTION parse_batch(batch text)
RETURNS TABLE (line bigint, body text, expected text, salts json, fields json, {guards} id uuid, stream text, type text,
               fault text, opens boolean)
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT NULL::bigint, NULL, NULL, NULL::json, NULL::json, {null} NULL::uuid, NULL, NULL, NULL, NULL::boolean
    WHERE false
$$;
ALTER FUNCTION parse_batch(text) OWNER TO ledger_owner;
"""
OLD_CHECK_GUARDS = """
CREATE FUNCTION check_guards(guards json, streams text[], line bigint, id uuid, stream text) RETURNS void
LANGUAGE sql AS 'SELECT';
ALTER FUNCTION check_guards(json, text[], bigint, uuid, text) OWNER TO ledger_owner;
"""
# Migrations that were missing, and the functions as they were, before each of the two that changed them.
BEFORE_GUARDS = (
    ("0004_guards", "0007_names"),
    OLD_PARSE_BATCH.format(guards="", null=""),
)
BEFORE_PRECONDITIONS = (
    ("0007_names",),
    OLD_PARSE_BATCH.format(guards="guards json,", null="NULL::json,") + OLD_CHECK_GUARDS,
)


@pytest.mark.parametrize(("missing", "functions"), [BEFORE_GUARDS, BEFORE_PRECONDITIONS])
def test_a_ledger_from_before_preconditions_is_upgraded(
    conn: Connection, missing: tuple[str, ...], functions: str
) -> None:
    """A ledger with older functions becomes as a fresh one, keeps its events, and checks preconditions."""
    migrate(conn)
    conn.execute("SET search_path = ledger")
    fresh = render(conn)
    append(conn, new("kept"))
    conn.execute("DELETE FROM schema_migrations WHERE name = ANY (%s)", [list(missing)])
    conn.execute("DROP FUNCTION parse_batch(text)")
    conn.execute("DROP FUNCTION check_preconditions(json, text[], bigint, uuid, text)")
    conn.execute(functions.encode())
    assert render(conn) != fresh
    assert migrate(conn).applied == missing
    assert render(conn) == fresh
    with refused("AL003"):
        append(conn, conditional("x", {"kept": 0}))
    append(conn, conditional("x", {"kept": 1}))
    rows = conn.execute("SELECT body FROM events ORDER BY position").fetchall()
    assert [json.loads(body)["stream"] for (body,) in rows] == ["kept", "x"]


def test_preconditions_are_not_part_of_what_is_recorded(writer: Connection, superuser: Connection) -> None:
    """A precondition is about the moment of recording: the body, and so the hash, is the same without."""
    event = conditional("bare", {"bare/none": 0})
    append(writer, event)
    plain = NewEvent(event.id, event.stream, event.event, event.actor)
    [(body,)] = superuser.execute("SELECT body FROM events WHERE id = %s", [event.id]).fetchall()
    assert json.loads(body) == json.loads(encode(plain).body())
    [again] = append(writer, plain)
    assert again.replayed

"""append() by its arrays: columns, body and commitments agree by construction, and what does not fit is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.numeric import Int4

from ledger.database import Connection
from ledger.errors import BY_SQLSTATE, CommitmentMismatch, InvalidEvent
from ledger.store.envelope import Line, SealedValue, encode
from tests.support import append_lines, check_columns, new, refused, requested

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
STORED = (
    "SELECT e.*, s.salts::text, s.fields FROM events e LEFT JOIN sealed_fields s USING (position) WHERE position = %s"
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stream=TEXT, notes=TEXT, category=st.from_regex(r"[a-z]{1,9}-", fullmatch=True))
def test_the_body_is_that_of_the_line(
    writer: Connection, superuser: Connection, stream: str, notes: str, category: str
) -> None:
    """For any names and values: the database makes the body of Line.body(), with the number of a new stream in it."""
    lines = [encode(new(name, requested(notes=notes))) for name in (stream.rstrip("-") + "!", category)]
    for line, receipt in zip(lines, append_lines(writer, lines), strict=True):
        row: Any = superuser.execute(STORED, [receipt.position]).fetchone()
        assert row is not None
        named = superuser.execute(STORED, [receipt.position])
        columns = [column.name for column in named.description or ()]
        found = dict(zip(columns, row, strict=True))
        assert found["body"].encode() == replace(line, stream=receipt.stream).body()
        check_columns(type("Row", (), found))


HEADS = {
    "nothing": ("22P02", ""),
    "a brace": ("AL001", "{"),
    "an array": ("22P02", "[]"),
    "no data": ("AL001", '{"actor":{}'),
    "no actor": ("AL001", '{"data":{}'),
    "a whole object": ("22P02", '{"actor":{},"data":{}}'),
    "more than one object": ("22P02", '{"actor":{},"data":{}},{"a":1'),
    "an id": ("AL001", '{"actor":{},"data":{},"id":"x"'),
    "an escaped id": ("AL001", '{"actor":{},"data":{},"\\u0069d":"x"'),
    "sealed": ("AL001", '{"actor":{},"data":{},"sealed":{}'),
    "a stream": ("AL001", '{"actor":{},"data":{},"stream":"t"'),
    "U+0000": ("22P05", '{"actor":{},"data":"\\u0000"'),
    "a number without end": ("22003", '{"actor":{},"data":1e200000'),
    "a lone surrogate": ("22P02", '{"actor":{},"data":"\\ud800"'),
}


@pytest.mark.parametrize("case", HEADS)
def test_a_head_is_an_object_up_to_data(writer: Connection, nothing_recorded: None, case: str) -> None:
    """A head that is no such object, or has a member that append() makes, is refused by line."""
    sqlstate, head = HEADS[case]
    lines = [encode(new("innocent")), replace(encode(new("x")), head=head)]
    with refused(sqlstate) as refusal:
        append_lines(writer, lines)
    assert BY_SQLSTATE[sqlstate] is InvalidEvent
    if sqlstate == "AL001":
        assert refusal.detail == {"line": 2, "id": str(lines[1].id), "stream": "x"}


def sealed(*values: tuple[str, bytes, str]) -> Line:
    """A line with these sealed values: name, salt and JSON."""
    return replace(encode(new("x")), sealed=tuple(SealedValue(*value) for value in values))


SALT = bytes(32)
SEALED = {
    "a short salt": ("AL004", [("notes", bytes(31), "1")]),
    "an upper case name": ("AL004", [("Notes", SALT, "1")]),
    "a name with a quote": ("AL004", [('a":1,"b', SALT, "1")]),
    "an empty name": ("AL004", [("", SALT, "1")]),
    "a name twice": ("AL004", [("notes", SALT, "1"), ("notes", SALT, "1")]),
    "names out of order": ("AL004", [("notes", SALT, "1"), ("detail", SALT, "1")]),
    "two values": ("22P02", [("notes", SALT, '1,"detail":2')]),
    "no value": ("22P02", [("notes", SALT, "")]),
    "no JSON": ("22P02", [("notes", SALT, "x")]),
    "U+0000": ("22P05", [("notes", SALT, '"\\u0000"')]),
    "a number without end": ("22003", [("notes", SALT, "1e200000")]),
}


@pytest.mark.parametrize("case", SEALED)
def test_a_sealed_value_is_one_value_with_its_name(writer: Connection, nothing_recorded: None, case: str) -> None:
    """Names are plain, in order and there once; a salt has 32 bytes; a value is one that read models can read."""
    sqlstate, values = SEALED[case]
    with refused(sqlstate):
        append_lines(writer, [encode(new("innocent")), sealed(*values)])
    assert BY_SQLSTATE[sqlstate] in {InvalidEvent, CommitmentMismatch}


ODD: dict[str, dict[str, Any]] = {
    "a head less": {"heads": ["{"]},
    "an id less": {"ids": []},
    "no stream": {"streams": ["x", None]},
    "no type": {"types": [None, "request.failed"]},
    "no schema": {"schemas": None},
    "no expectation": {"expected": ["any"]},
    "a sealed value of no event": {"sealed_lines": [Int4(3)]},
    "a sealed value before its turn": {
        "sealed_lines": [Int4(2), Int4(1)],
        "sealed_names": ["detail", "notes"],
        "sealed_salts": [SALT, SALT],
        "sealed_values": ["1", "1"],
    },
    "a name more": {"sealed_names": ["detail", "notes"]},
    "a salt more": {"sealed_salts": [SALT, SALT]},
    "values only": {"sealed_lines": None},
}


@pytest.mark.parametrize("case", ODD)
def test_arrays_are_of_one_length(writer: Connection, nothing_recorded: None, case: str) -> None:
    """What is missing, or belongs to no event, is refused, and nothing is recorded."""
    lines = [encode(new("innocent")), sealed(("notes", SALT, "1"))]
    with refused("AL001"):
        append_lines(writer, lines, **ODD[case])

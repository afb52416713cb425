"""A single event is recorded as a batch records it: append_one() does what append_many() does, or leaves it to that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.database import Connection
from ledger.store.envelope import Line, SealedValue, encode
from tests.conftest import Template, ledger_copy
from tests.support import append_lines, connect, failed, new, requested

# Takes no event, so that append_many() gets each.
NOTHING_PLAIN = """
    CREATE OR REPLACE FUNCTION append_one{arguments} LANGUAGE plpgsql AS $$ BEGIN END $$
"""
ARGUMENTS = "SELECT pg_get_function_arguments('append_one'::regproc)"
RECORDED = """
    SELECT e.position, e.id, e.stream, e.version, e.type, e.body, s.salts::text, s.fields::text,
           c.client_id, c.position AS named_at
    FROM events e LEFT JOIN sealed_fields s USING (position) LEFT JOIN stream_clients c USING (stream)
    WHERE e.position > %s ORDER BY e.position
"""
NUMBERS = "SELECT category, last FROM stream_numbers ORDER BY 1"
STREAMS = ["request-", "request-1", "request-2", "request-900", "client-1", "client-7", "agent-x", "x-", "plain", "n0-"]
EXPECTED = st.sampled_from(["any", "no_stream", "stream_exists", "0", "1", "2", "x"])
SALT = st.sampled_from([bytes(32), bytes(range(32)), b"short"])
VALUE = st.sampled_from(['"client-a"', '"client-b"', '"\\u0041"', "1", "null", '{"a":[1]}', "nonsense"])
SEALED = st.lists(
    st.builds(SealedValue, st.sampled_from(["client_id", "notes", "Upper", "detail"]), SALT, VALUE), max_size=3
)
PRECONDITIONS = st.none() | st.dictionaries(
    st.sampled_from(["request-1", "agent-x", "none"]), st.sampled_from([0, 1, 2, None])
).map(json.dumps)
LINES = st.builds(
    lambda seed, stream, expected, sealed, preconditions, signature, change: replace(
        encode(new("x", failed())),
        id=UUID(int=seed),
        stream=stream,
        expected=expected,
        sealed=tuple(sealed),
        preconditions=preconditions,
        signature=signature,
        **change,
    ),
    st.integers(1, 12),
    st.sampled_from(STREAMS),
    EXPECTED,
    SEALED,
    PRECONDITIONS,
    st.sampled_from([None, None, None, '{"a":1}', "1", "nonsense"]),
    st.sampled_from(
        [{}, {}, {}, {}, {"head": '{"actor":{}'}, {"head": '{"actor":{},"data":{},"id":1'}, {"type": "no.such"}]
    ),
)
Outcome = tuple[Any, ...]


@pytest.fixture(scope="module")
def pair(server_url: str, template_database: Template) -> Iterator[tuple[Connection, Connection]]:
    """Two ledgers with the same first events; the second has no short way."""
    with (
        ledger_copy(server_url, template_database) as url,
        ledger_copy(server_url, template_database, verify=False) as other,
        connect(url) as conn,
        connect(other) as without,
    ):
        row = conn.execute(ARGUMENTS).fetchone()
        assert row is not None
        without.execute(NOTHING_PLAIN.format(arguments=f"({row[0]})").encode())
        first = [encode(new("request-", requested("client-a"))), encode(new("agent-x"))]
        for each in (conn, without):
            append_lines(each, first)
        yield conn, without


def outcome(conn: Connection, line: Line) -> Outcome:
    """What the caller of an append is told."""
    try:
        [receipt] = append_lines(conn, [line])
    except psycopg.Error as error:
        return error.sqlstate, error.diag.message_primary, error.diag.message_detail
    return receipt.position, receipt.id, receipt.stream, receipt.version, receipt.replayed


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES, min_size=1, max_size=8))
def test_a_single_event_has_the_outcome_of_a_batch(pair: tuple[Connection, Connection], lines: list[Line]) -> None:
    """Receipts and refusals are the same, and so are all rows: replays, versions, numbers, clients, preconditions."""
    tables = []
    for conn in pair:
        with conn.transaction(force_rollback=True):
            told = []
            for line in lines:
                conn.execute("SAVEPOINT line")
                told.append(outcome(conn, line))
                if isinstance(told[-1][0], str):
                    conn.execute("ROLLBACK TO line")
            tables.append((told, conn.execute(RECORDED, [2]).fetchall(), conn.execute(NUMBERS).fetchall()))
    assert tables[0] == tables[1]


def test_plain_events_take_the_short_way(pair: tuple[Connection, Connection]) -> None:
    """A request with a sealed client, an event in a known stream, one with a precondition: without append_many()."""
    conn, _ = pair
    with conn.transaction(force_rollback=True):
        conn.execute("ALTER FUNCTION append_many RENAME TO gone")
        for line in (
            encode(new("request-", requested("client-b", notes="n"))),
            encode(new("agent-x", expected=1)),
            encode(replace(new("plain"), preconditions={"agent-x": 2})),
            encode(new("request-1", failed(detail="sealed"), expected="stream_exists")),
        ):
            append_lines(conn, [line])
        with pytest.raises(psycopg.errors.UndefinedFunction):
            append_lines(conn, [encode(new("x-9"))])

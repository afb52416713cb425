"""Live = rebuild = as of, for random histories of which random events are poisoned, in any batching."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from ledger.database import Connection
from projections.compare import check
from projections.engine import step
from projections.read_model import ONE_CLIENT, ONE_STREAM, UP_TO, ReadModel
from projections.rebuild import rebuild_read_models
from projections.registry import READ_MODELS
from projections.set_aside import listed
from tests.projections.histories import CLIENTS, NAMED, Past, batches, lines
from tests.projections.poison import spoil
from tests.projections.scenes import catch_up, head
from tests.support import append_text, connect, text

IDS = ("recommendation_id", "model_call_id", "decision_id")
ODD_IDS: list[Any] = ["x", 0.5, 10**15]
ODD_TRUTH: list[Any] = ["maybe", [], 1]
ODD_AMOUNTS: list[Any] = ["-1", "1e9", "1" * 30, 7]
# What may be wrong with an event: members of data, the whole of it, or the actor.
POISON: list[dict[str, Any]] = [
    {"data": {}},
    {"data": None},
    {"data": ["x"]},
    {"actor": None},
    {"actor": {"id": None, "kind": "human"}},
    *({name: value} for name in IDS for value in ODD_IDS),
    *({"needs_second": value} for value in ODD_TRUTH),
    *({"amount_usd": value} for value in ODD_AMOUNTS),
    *({name: None} for name in ("model_name", "outcome", "digest", "provider_name", "four_eyes_version")),
    {"latency_ms": 1e300, "usage_input_tokens": "99999999999999999999", "horizon_years": 2**40},
]
# The streams of an example, each with its positions.
STREAMS = "SELECT stream, array_agg(position ORDER BY position) FROM events GROUP BY stream HAVING min(position) > %s"

Streams = dict[str, list[int]]


def fails_alone(conn: Connection, read_model: ReadModel, stream: str, upto: int) -> bool:
    """Return whether the table refuses what the fold makes of the stream alone, up to a position."""
    insert = sql.SQL("INSERT INTO pg_temp.{} {}").format(
        sql.Identifier(read_model.name + "_scratch"), read_model.folded(ONE_STREAM)
    )
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(insert, {"stream": stream, "upto": upto})
    except (psycopg.errors.DataError, psycopg.errors.IntegrityError):
        return True
    return False


def expected(conn: Connection, read_model: ReadModel, streams: Streams) -> Iterator[tuple[str, int]]:
    """Yield (stream, first position that cannot be folded), from one stream and one position at a time."""
    scratch = sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} (LIKE {} INCLUDING ALL)")
    conn.execute(scratch.format(sql.Identifier(read_model.name + "_scratch"), sql.Identifier(read_model.name)))
    for stream, positions in streams.items():
        failing = [position for position in positions if fails_alone(conn, read_model, stream, position)]
        assert failing == positions[len(positions) - len(failing) :], "a fold that fails goes on failing"
        if failing:
            yield stream, failing[0]


def rows(conn: Connection, source: sql.Composable, parameters: dict[str, Any], streams: Streams) -> list[Any]:
    """Return the rows that a source has of these streams, in the order of id."""
    found = conn.execute(sql.SQL("SELECT * FROM ({}) m ORDER BY id").format(source), parameters).fetchall()
    return [row for row in found if row[0] in streams]


def alone(conn: Connection, read_model: ReadModel, upto: int, streams: Streams, aside: dict[str, int]) -> list[Any]:
    """Return the rows as of a position, each stream folded alone, without those that are set aside there."""
    found: list[Any] = []
    for stream in streams:
        if aside.get(stream, upto + 1) > upto:
            found += rows(conn, read_model.folded(ONE_STREAM), {"stream": stream, "upto": upto}, streams)
    return sorted(found, key=lambda row: row[1])


def check_read_model(conn: Connection, read_model: ReadModel, start: int, upto: int) -> None:
    """Compare the list and every way to read with each stream folded alone, at the head and at `upto`."""
    streams = dict(conn.execute(STREAMS, [start]).fetchall())
    everything = [found for found in listed(conn) if found.read_model == read_model.name]
    aside = {found.stream: found.position for found in everything if found.stream in streams}
    assert aside == dict(expected(conn, read_model, streams))
    table = sql.SQL("SELECT * FROM {}").format(sql.Identifier(read_model.name))
    assert rows(conn, table, {}, streams) == alone(conn, read_model, head(conn), streams, aside)
    as_of = rows(conn, read_model.rows(UP_TO), {"upto": upto}, streams)
    assert as_of == alone(conn, read_model, upto, streams, aside)
    of_client = rows(conn, read_model.rows(ONE_CLIENT), {"client_id": [CLIENTS[0]], "upto": upto}, streams)
    clients = conn.execute(NAMED, [CLIENTS[0], upto]).fetchall()
    assert of_client == [row for row in as_of if (row[0],) in clients]
    found = check(conn, read_model)
    assert (found.error, found.findings, len(found.set_aside)) == (None, (), len(everything))


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def check_example(url: str, numbers: Iterator[int], data: st.DataObject) -> None:
    """Append batches with poison in them, step in any batching, and compare; then rebuild, and compare again."""
    with connect(url) as conn, connect(url, "projector") as live, connect(url, "writer") as writer:
        start = head(conn)
        past = Past(str(next(numbers)), start + 1)
        for _ in range(data.draw(st.integers(1, 5))):
            for line in lines(data.draw(batches(past))):
                poison = data.draw(st.sampled_from([*[None] * 6, *POISON[:5] * 3, *POISON]))
                append_text(writer, text(line) if poison is None else spoil(text(line), **poison))
            for _ in range(data.draw(st.integers(0, 2))):
                for read_model in READ_MODELS:
                    step(live, read_model, data.draw(st.integers(1, 10)))
        catch_up(live)
        # As of any position, and as of the first event that cannot be shown.
        firsts = [found.position - start for found in listed(conn) if found.position > start]
        upto = start + data.draw(st.integers(0, head(conn) - start) | st.sampled_from([*sorted(firsts), 0]))
        for read_model in READ_MODELS:
            check_read_model(conn, read_model, start, upto)
        if data.draw(st.booleans()):
            before = listed(conn)
            reports = rebuild_read_models(url, list(READ_MODELS))
            assert [report.differing for report in reports] == [0] * len(READ_MODELS)
            assert listed(conn) == before
            for read_model in READ_MODELS:
                check_read_model(conn, read_model, start, upto)


@pytest.mark.slow
@pytest.mark.tampers  # the poison is not always canonical JSON
def test_poison_keeps_live_and_rebuild_and_as_of_equal(database_url: str) -> None:
    """The streams that are set aside are those that cannot be folded alone; all other rows are right, however read."""
    check_example(database_url, itertools.count(100))

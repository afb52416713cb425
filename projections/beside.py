"""Compare the read models and the objects of the database, for continuous verification, beside the chain.

A read model is compared with its fold for some streams at a time. So each piece takes a bounded time and memory, and
all pieces together read each event once for each read model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from ledger.database import Connection
from ledger.proof.findings import CHAIN, Finding, Kind
from ledger.store.snapshot import SNAPSHOT, snapshot_with
from projections.compare import DIFFERENCES, aside, foldable
from projections.compare_computed import differences, streams_of
from projections.computed import ComputedModel
from projections.engine import FEW_STREAMS
from projections.objects import built_by_others, changed_objects, says_other_version
from projections.read_model import ReadModel
from projections.registry import COMPUTED_MODELS, READ_MODELS, all_models

NEXT_STREAMS = Path(__file__).with_name("next_streams.sql").read_bytes()
BUILT = (
    "SELECT p.position FROM projections p, head h"
    " WHERE p.name = %s AND p.digest = %s AND p.error IS NULL AND p.position <= h.position"
)
# The rows of some streams, and the events of these streams.
STREAMS_AFTER = sql.SQL("e.stream > %(after)s")
STREAMS_BETWEEN = sql.SQL("e.stream > %(after)s AND e.stream <= %(last)s")
SLICE_AFTER = sql.SQL("e.stream > %(after)s AND e.position <= %(upto)s")
SLICE_BETWEEN = sql.SQL("e.stream > %(after)s AND e.stream <= %(last)s AND e.position <= %(upto)s")
# Streams set aside that are folded again, for each read model.
MOST_ASIDE = 100
# Events whose streams are compared in one piece.
EVENTS = 2000


@dataclass(frozen=True)
class Streams:
    """The streams after one name, up to another; None means to the last."""

    after: str
    upto: str | None


def compare_read_models(conn: Connection) -> Iterator[Finding | None]:
    """Compare all read models with the chain, for the streams of some events at a time. Raises psycopg.Error."""
    after, more = "", True
    while more:
        row = conn.execute(NEXT_STREAMS, {"after": after, "events": EVENTS}).fetchone()
        last, more = row or (None, False)
        for read_model in READ_MODELS:
            yield check_streams(conn, read_model, Streams(after, last if more else None))
        after = last or after
    for computed in COMPUTED_MODELS:
        yield from _compare_computed(conn, computed)
    for each in all_models():
        yield _wrongly_set_aside(conn, each)


def _compare_computed(conn: Connection, read_model: ComputedModel) -> Iterator[Finding | None]:
    """Compute the rows again, one stream at a time."""
    row = conn.execute(BUILT, [read_model.name, read_model.digest]).fetchone()
    for stream in () if row is None else streams_of(conn, read_model, row[0]):
        yield _computed_stream(conn, read_model, stream)


def _computed_stream(conn: Connection, read_model: ComputedModel, stream: str) -> Finding | None:
    try:
        with conn.transaction():
            # The lock comes before the snapshot, as in `check()`.
            conn.execute(snapshot_with(read_model.name))
            row = conn.execute(BUILT, [read_model.name, read_model.digest]).fetchone()
            found = () if row is None else differences(conn, read_model, [stream], row[0])
            return next((_drift(read_model, *one) for one in found), None)
    except (psycopg.errors.UndefinedTable, psycopg.errors.DatatypeMismatch):
        return None


def _drift(read_model: ReadModel, row_id: int, kind: str) -> Finding:
    return CHAIN.finding(Kind.PROJECTION_DRIFT, 0, f"{read_model.name} id {row_id} {kind}")


def _wrongly_set_aside(conn: Connection, read_model: ReadModel) -> Finding | None:
    """Find a stream that is set aside, so that its rows are missing, although the fold takes it."""
    with conn.transaction():
        conn.execute(SNAPSHOT)
        row = conn.execute(BUILT, [read_model.name, read_model.digest]).fetchone()
        found = [] if row is None else foldable(conn, read_model, aside(conn, read_model, MOST_ASIDE), row[0])
    if not found:
        return None
    message = f"{read_model.name}: the stream {found[0].stream!r} is set aside, and can be folded"
    return CHAIN.finding(Kind.PROJECTION_DRIFT, 0, message)


def check_streams(conn: Connection, read_model: ReadModel, streams: Streams) -> Finding | None:
    """Compare the rows of some streams with their fold, in one snapshot; return the first difference.

    A read model that was not built by this version, or is stopped, is not compared: its state says so elsewhere.
    """
    try:
        with conn.transaction():
            # The lock comes before the snapshot, as in `check()`.
            conn.execute(snapshot_with(read_model.name))
            conn.execute(FEW_STREAMS, prepare=False)
            return _first_difference(conn, read_model, streams)
    except (psycopg.errors.UndefinedTable, psycopg.errors.DatatypeMismatch):
        return None


def _first_difference(conn: Connection, read_model: ReadModel, streams: Streams) -> Finding | None:
    row = conn.execute(BUILT, [read_model.name, read_model.digest]).fetchone()
    if row is None:
        return None
    table = sql.SQL("SELECT * FROM {} e WHERE {}").format(
        sql.Identifier(read_model.name), STREAMS_AFTER if streams.upto is None else STREAMS_BETWEEN
    )
    scope = SLICE_AFTER if streams.upto is None else SLICE_BETWEEN
    query = DIFFERENCES.format(expected=read_model.rows(scope), actual=table) + sql.SQL("LIMIT 1")
    parameters = {"upto": row[0], "after": streams.after, "last": streams.upto}
    differing = conn.execute(query, parameters).fetchone()
    if differing is None:
        return None
    row_id, kind, _ = differing
    return _drift(read_model, row_id, kind)


def compare_objects(conn: Connection) -> Iterator[Finding | None]:
    """Compare the objects of the database with those of this version. Raises psycopg.Error."""
    changed = _changed(conn)
    if changed and not says_other_version(conn):
        yield CHAIN.finding(Kind.SCHEMA_MISMATCH, 0, ", ".join(changed)[:1000])
    yield None


def compare_versions(conn: Connection) -> Iterator[Finding | None]:
    """Report objects that differ, or are not compared, because the database says that they are of another version.

    This happens in an upgrade, while processes of two versions run. It comes last, so that it hides no other finding.
    Raises psycopg.Error.
    """
    changed = _changed(conn)
    if built_by_others(conn) or (changed and says_other_version(conn)):
        yield CHAIN.finding(Kind.OTHER_VERSION, 0, ", ".join(changed)[:1000] or "read models are not compared")
    yield None


def _changed(conn: Connection) -> list[str]:
    """Leave settings out: a login may change its own, and must not be able to make this process unready."""
    return [line for line in changed_objects(conn) if not line.startswith("setting ")]


CHECKS = (compare_objects, compare_read_models, compare_versions)

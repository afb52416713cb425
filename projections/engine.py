"""Keeping read models up to date: one live step after another, each in a transaction of its own.

A step folds the streams that its events touched anew and replaces their rows. `projections/read_model.py` says why that
gives what folding everything would.
"""

from __future__ import annotations

import logging

import psycopg

from ledger.database import Connection
from projections.read_model import ReadModel
from projections.set_aside import Cause, SetAside, cause_of, insert_or_set_aside
from schema.events import CATALOGUE

log = logging.getLogger(__name__)

# The most events of one step. Readers may wait for a step, so it must stay short.
STEP_EVENTS = 5000
# The same for a step that looks for streams to set aside, with a savepoint for each try.
CAREFUL_EVENTS = 100

# For a transaction that folds few streams: read them through indexes.
FEW_STREAMS = "SET LOCAL enable_seqscan = off; SET LOCAL enable_nestloop = off; SET LOCAL jit = off"
# The same for steps, which also keep the plan that was made first, perhaps on empty tables: no other plan is possible.
STEP_AFTER_STEP = FEW_STREAMS + "; SET LOCAL plan_cache_mode = force_generic_plan"
# For a transaction that folds everything.
ALL_STREAMS = "SET LOCAL enable_nestloop = off; SET LOCAL jit = off; SET LOCAL work_mem = '128MB'"

TOUCHED_STREAMS = "SELECT DISTINCT stream FROM events WHERE position > %s AND position <= %s"
# Touched by events of these types; or by an event that names the client of a stream that may have rows already.
TOUCHED_BY = TOUCHED_STREAMS + " AND (type = ANY (%s) OR type = ANY (%s) AND version > 1)"
# A stream that was set aside stays so.
TO_FOLD = TOUCHED_BY + " AND stream <> ALL (ARRAY(SELECT stream FROM streams_set_aside WHERE read_model = %s))"  # noqa: S608
NAMES_A_CLIENT = [event.type for event in CATALOGUE.values() if "client_id" in event.sealed]
LOCK_POSITION = (
    "SELECT p.position, h.position FROM projections p, head h"
    " WHERE p.name = %s AND p.digest = %s AND p.error IS NULL FOR UPDATE OF p SKIP LOCKED"
)
ADVANCE = "UPDATE projections SET position = %s, updated_at = clock_timestamp() WHERE name = %s AND position = %s"


class StepFailed(Exception):
    """The SQL of the read model does not run. The message has position and SQLSTATE, and no values of events."""

    def __init__(self, read_model: ReadModel, after: int, upto: int, cause: psycopg.Error) -> None:
        super().__init__(f"{read_model.name} at position {after + 1}: {describe_error(cause)}")
        self.after = after
        self.upto = upto
        self.cause = cause


def report(aside: list[SetAside]) -> None:
    """Log the streams that were set aside: once, as they are not folded again."""
    for found in aside:
        log.error("%s", found)


def describe_error(error: psycopg.Error) -> str:
    """Return class and SQLSTATE, without PostgreSQL's own message: it may quote a value that could not be converted."""
    return f"{type(error).__name__} (SQLSTATE {error.sqlstate})"


def apply(conn: Connection, read_model: ReadModel, after: int, upto: int, *, careful: bool) -> list[SetAside]:
    """Bring the table from `after` to `upto` in the caller's transaction, by folding the touched streams anew.

    If `careful`, set aside the streams that cannot be folded, and return them. Otherwise fail.
    """
    conn.execute(STEP_AFTER_STEP, prepare=False)
    parameters = [after, upto, read_model.event_types, NAMES_A_CLIENT, read_model.name]
    streams = [str(stream) for (stream,) in conn.execute(TO_FOLD, parameters, prepare=True)]
    if not streams:
        return []
    conn.execute(read_model.delete_touched, {"streams": streams}, prepare=True)
    if careful:
        return insert_or_set_aside(conn, read_model, streams, upto)
    conn.execute(read_model.insert_touched, {"streams": streams, "upto": upto}, prepare=True)
    return []


def touched_streams(conn: Connection, read_model: ReadModel, after: int, upto: int) -> list[str]:
    """Return the streams that have or may have rows because of the events in (after, upto]."""
    parameters = [after, upto, read_model.event_types, NAMES_A_CLIENT]
    return [str(stream) for (stream,) in conn.execute(TOUCHED_BY, parameters)]


def step(conn: Connection, read_model: ReadModel, max_events: int = STEP_EVENTS) -> int | None:
    """Apply the next `max_events` events at most, exactly once across all processes. Return the new position.

    If streams among them cannot be folded, the step is taken again with fewer events, and these streams are set aside.

    Returns None if there is nothing to do, if another process is applying a step, if the table was built from other SQL
    than this program's, or if the read model is stopped by an error. The row of `projections` is locked meanwhile; a
    crash leaves table and position as they were. `conn` is in autocommit mode. Raises StepFailed if the SQL of the read
    model does not run, so that a retry would fail again.
    """
    try:
        return _step(conn, read_model, max_events, careful=False)
    except psycopg.Error as error:
        if cause_of(error) is not Cause.DATA:
            raise
    return _step(conn, read_model, min(max_events, CAREFUL_EVENTS), careful=True)


def _step(conn: Connection, read_model: ReadModel, max_events: int, *, careful: bool) -> int | None:
    with conn.transaction():
        row = conn.execute(LOCK_POSITION, [read_model.name, read_model.digest], prepare=True).fetchone()
        if row is None or row[0] >= row[1]:
            return None
        after = int(row[0])
        upto = min(int(row[1]), after + max_events)
        try:
            aside = apply(conn, read_model, after, upto, careful=careful)
        except psycopg.Error as error:
            if cause_of(error) is Cause.PROGRAM:
                raise StepFailed(read_model, after, upto, error) from None
            raise
        moved = conn.execute(ADVANCE, [upto, read_model.name, after], prepare=True)
        assert moved.rowcount == 1, "the row is locked, so no other process can have moved it"
    report(aside)
    return upto

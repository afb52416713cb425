"""Keeping read models up to date: one live step after another, each in a transaction of its own.

A step folds the streams that its events touched anew and replaces their rows. `projections/read_model.py` says why that
gives what folding everything would.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psycopg

from ledger.database import Connection
from ledger.domain.client import ERASES
from projections.computed import ComputedModel
from projections.read_model import ReadModel
from projections.set_aside import Cause, SetAside, cause_of, insert_or_set_aside
from schema.events import CATALOGUE

log = logging.getLogger(__name__)

# The most events of one step. Readers may wait for a step, so it must stay short.
STEP_EVENTS = 5000
# Settings for a step that looks for streams to set aside, with a savepoint for each attempt.
CAREFUL_EVENTS = 100
# The most events of a step of a computed read model: each may be a run with thousands of rows.
COMPUTED_EVENTS = 10

# For a transaction that folds few streams: read them through indexes.
FEW_STREAMS = "SET LOCAL enable_seqscan = off; SET LOCAL enable_nestloop = off"
# The same for steps, which also keep the plan that was made first, perhaps on empty tables: no other plan is possible.
# One statement, as a pipeline needs it.
STEP_AFTER_STEP = (
    "SELECT set_config('enable_seqscan', 'off', true), set_config('enable_nestloop', 'off', true),"
    " set_config('plan_cache_mode', 'force_generic_plan', true)"
)
# For a transaction that folds everything.
ALL_STREAMS = "SET LOCAL enable_nestloop = off; SET LOCAL work_mem = '128MB'"

TOUCHED_STREAMS = "SELECT DISTINCT stream FROM events WHERE position > %s AND position <= %s"
# Touched by events of these types, null for all; or by an event that names or erases the client of a stream that may
# have rows.
TOUCHED_BY = TOUCHED_STREAMS + " AND (type = ANY (coalesce(%s, ARRAY[type])) OR type = ANY (%s) AND version > 1)"
# A stream that was set aside stays set aside.
TO_FOLD = TOUCHED_BY + " AND stream <> ALL (ARRAY(SELECT stream FROM streams_set_aside WHERE read_model = %s))"  # noqa: S608
# An erasure deletes the values of its stream.
NAMES_A_CLIENT = [*(event.type for event in CATALOGUE.values() if "client_id" in event.sealed), *ERASES]
NOT_ASIDE = "SELECT unnest(%s::text[]) AS stream EXCEPT SELECT stream FROM streams_set_aside WHERE read_model = %s"
LOCK_POSITION = (
    "SELECT p.position, h.position FROM projections p, head h"
    " WHERE p.name = %s AND p.digest = %s AND p.error IS NULL FOR UPDATE OF p SKIP LOCKED"
)
ADVANCE = "UPDATE projections SET position = %s, updated_at = clock_timestamp() WHERE name = %s AND position = %s"
# For sessions that call look(), for the same reason as STEP_AFTER_STEP.
LOOK_AFTER_LOOK = {"enable_seqscan": "off", "plan_cache_mode": "force_generic_plan"}
LOOK = Path(__file__).with_name("look.sql").read_text("utf-8")


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
    """Return class and SQLSTATE, without PostgreSQL's own message, which may quote a value that could not be
    converted."""
    return f"{type(error).__name__} (SQLSTATE {error.sqlstate})"


def apply(conn: Connection, read_model: ReadModel, after: int, upto: int) -> list[SetAside]:
    """Bring the table from `after` to `upto` in the caller's transaction, by folding the touched streams anew.

    Streams that cannot be folded are set aside, and returned.
    """
    conn.execute(STEP_AFTER_STEP, prepare=False)
    streams = _to_fold(conn, read_model, after, upto)
    if not streams:
        return []
    conn.execute(read_model.delete_touched, {"streams": streams}, prepare=True)
    return insert_or_set_aside(conn, read_model, streams, upto)


def fold_again(conn: Connection, read_model: ReadModel, streams: Sequence[str], upto: int) -> list[SetAside]:
    """Replace the rows of these streams by their fold up to a position, in the caller's transaction.

    Streams that were set aside stay so; those that cannot be folded are set aside, and returned. A computed read model
    loses its rows about these streams: they are erased.
    """
    if isinstance(read_model, ComputedModel):
        conn.execute(read_model.delete_owned, {"streams": list(streams)})
        return []
    left = [str(stream) for (stream,) in conn.execute(NOT_ASIDE, [list(streams), read_model.name])]
    conn.execute(read_model.delete_touched, {"streams": list(streams)})
    return insert_or_set_aside(conn, read_model, left, upto) if left else []


class Look(NamedTuple):
    """The result of one look at the next events: the read models that have a step to take, and those it moved on.

    `more`: events are left beyond these. `events`: the most that one of the read models has not applied, of these.
    """

    touched: list[ReadModel]
    moved: list[ReadModel]
    more: bool
    events: int


def look(conn: Connection, read_models: Sequence[ReadModel], max_events: int = STEP_EVENTS) -> Look:
    """Look once, for all read models, at the next events; move on those whose rows these events do not touch.

    A move is exactly once across all processes. `conn` is in autocommit mode and has the settings LOOK_AFTER_LOOK.
    """
    known = [{"name": each.name, "digest": each.digest, "types": each.event_types} for each in read_models]
    parameters = {"most": max_events, "naming": NAMES_A_CLIENT, "known": json.dumps(known)}
    rows = conn.execute(LOOK, parameters, prepare=True)
    found = {name: (touched, more, events) for name, touched, more, events in rows}
    due = [read_model for read_model in read_models if read_model.name in found]
    return Look(
        touched=[read_model for read_model in due if found[read_model.name][0]],
        moved=[read_model for read_model in due if not found[read_model.name][0]],
        more=any(more for _, more, _ in found.values()),
        events=max((events for _, _, events in found.values()), default=0),
    )


def touched_streams(conn: Connection, read_model: ReadModel, after: int, upto: int) -> list[str]:
    """Return the streams that have or may have rows because of the events in (after, upto]."""
    parameters = [after, upto, read_model.event_types, _naming(read_model)]
    return [str(stream) for (stream,) in conn.execute(TOUCHED_BY, parameters)]


def step(conn: Connection, read_model: ReadModel, max_events: int = STEP_EVENTS) -> int | None:
    """Apply the next `max_events` events at most, exactly once across all processes. Return the new position.

    If streams among them cannot be folded, the step is taken again with fewer events, and these streams are set aside.

    Returns None if there is nothing to do, if another process is applying a step, if the table was built from other SQL
    than this program's, or if the read model is stopped by an error. The row of `projections` is locked meanwhile; a
    crash leaves table and position as they were. `conn` is in autocommit mode. Raises StepFailed if the SQL of the read
    model does not run, so that a retry would fail again.
    """
    if isinstance(read_model, ComputedModel):
        return _step_carefully(conn, read_model, min(max_events, COMPUTED_EVENTS))
    try:
        return _step(conn, read_model, max_events)
    except psycopg.Error as error:
        if cause_of(error) is not Cause.DATA:
            raise
    return _step_carefully(conn, read_model, min(max_events, CAREFUL_EVENTS))


def _step(conn: Connection, read_model: ReadModel, max_events: int) -> int | None:
    """Apply the next events in a pipeline: a statement whose result is not needed yet costs no round trip of its own.

    An error of such a statement is raised at the next one whose result is needed, or at the end.
    """
    after = upto = -1
    try:
        with conn.pipeline(), conn.transaction():
            conn.execute(STEP_AFTER_STEP, prepare=True)
            due = _lock(conn, read_model, max_events)
            if due is None:
                return None
            after, upto = due
            if read_model.per_event:
                conn.execute(read_model.insert_new, {"after": after, "upto": upto}, prepare=True)
            elif streams := _to_fold(conn, read_model, after, upto):
                _replace(conn, read_model, streams, upto)
            moved = conn.execute(ADVANCE, [upto, read_model.name, after], prepare=True)
    except psycopg.Error as error:
        raise _judged(read_model, after, upto, error) from None
    assert moved.rowcount == 1, "the row was locked, so no other process can have moved it"
    return upto


def _step_carefully(conn: Connection, read_model: ReadModel, max_events: int) -> int | None:
    """Apply the next events, and set aside the streams that cannot be folded."""
    after = upto = -1
    try:
        with conn.transaction():
            due = _lock(conn, read_model, max_events)
            if due is None:
                return None
            after, upto = due
            aside = apply(conn, read_model, after, upto)
            moved = conn.execute(ADVANCE, [upto, read_model.name, after], prepare=True)
            assert moved.rowcount == 1, "the row is locked, so no other process can have moved it"
    except psycopg.Error as error:
        raise _judged(read_model, after, upto, error) from None
    report(aside)
    return upto


def _judged(read_model: ReadModel, after: int, upto: int, error: psycopg.Error) -> Exception:
    """Return StepFailed if the SQL of the read model, which runs once its position is known, does not run."""
    if after >= 0 and cause_of(error) is Cause.PROGRAM:
        return StepFailed(read_model, after, upto, error)
    return error


def _lock(conn: Connection, read_model: ReadModel, max_events: int) -> tuple[int, int] | None:
    """Lock the row of `projections`, and return the range (after, upto] of the step; None if there is none to take."""
    row = conn.execute(LOCK_POSITION, [read_model.name, read_model.digest], prepare=True).fetchone()
    if row is None or row[0] >= row[1]:
        return None
    return int(row[0]), min(int(row[1]), int(row[0]) + max_events)


def _to_fold(conn: Connection, read_model: ReadModel, after: int, upto: int) -> list[str]:
    """Return the streams that the events in (after, upto] touched, but for those that are set aside."""
    parameters = [after, upto, read_model.event_types, _naming(read_model), read_model.name]
    return [str(stream) for (stream,) in conn.execute(TO_FOLD, parameters, prepare=True)]


def _naming(read_model: ReadModel) -> list[str]:
    """Return the types of events that name or erase a client, for a read model that folds them."""
    return [] if isinstance(read_model, ComputedModel) else NAMES_A_CLIENT


def _replace(conn: Connection, read_model: ReadModel, streams: list[str], upto: int) -> None:
    """Replace the rows of the streams by their fold up to a position. Fails if one of them cannot be folded."""
    conn.execute(read_model.delete_touched, {"streams": streams}, prepare=True)
    read_model.insert(conn, streams, upto)

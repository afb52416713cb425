"""Set aside the streams that a fold cannot process, so that no event stops a read model.

An event may have any members: append() does not check them. If a fold fails on it, or the table refuses the row, the
events of that stream cannot be shown. The stream is left out of the read model from that position on, and is listed in
the table `streams_set_aside`; all other streams continue. The list belongs to the table of the read model: both change
in one transaction, and a rebuild makes both anew. So the same rows are missing live, after a rebuild and as of a
position.

This holds because a fold that fails on the events of a stream up to a position also fails on them with later events. A
stream that is set aside is therefore never folded again until the read model is rebuilt, by a fold that can process
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import psycopg

from ledger.database import Connection
from ledger.errors import is_operational
from projections.read_model import ReadModel

# Classes of SQLSTATEs: cardinality violation, data exception, integrity constraint violation, program limit exceeded.
DATA_CLASSES = ("21", "22", "23", "54")
POSITIONS = "SELECT position FROM events WHERE stream = %s AND position <= %s ORDER BY position"
ADD = "INSERT INTO streams_set_aside (read_model, stream, position, sqlstate) VALUES (%s, %s, %s, %s)"
LISTED = "SELECT read_model, stream, position, sqlstate FROM streams_set_aside ORDER BY read_model, position, stream"


class Cause(Enum):
    """The cause of an error while a fold runs: the session or server, the data, or the SQL of this program."""

    SESSION = auto()
    DATA = auto()
    PROGRAM = auto()


def cause_of(error: psycopg.Error) -> Cause:
    """Return the cause. SESSION: a retry may succeed. DATA: a retry with the same streams fails again."""
    if (error.sqlstate or "")[:2] in DATA_CLASSES:
        return Cause.DATA
    return Cause.SESSION if is_operational(error) else Cause.PROGRAM


@dataclass(frozen=True)
class SetAside:
    """A stream that a fold cannot process, the first position at which it fails, and the SQLSTATE."""

    read_model: str
    stream: str
    position: int
    sqlstate: str

    def __str__(self) -> str:
        """Describe it in one line. The name of the stream is quoted, because append() accepts any text."""
        return (
            f"the read model {self.read_model} has set aside the stream {self.stream!r}"
            f" from position {self.position} on (SQLSTATE {self.sqlstate})"
        )


def insert_or_set_aside(conn: Connection, read_model: ReadModel, streams: Sequence[str], upto: int) -> list[SetAside]:
    """Fold the streams up to `upto` and insert their rows; set aside those that cannot be folded, and return them.

    Runs in the caller's transaction, in which the table has no rows of these streams. If all can be folded, it costs a
    savepoint. Otherwise the streams are halved until the faulty ones are found.
    """
    found = []
    for stream, sqlstate in _insert(conn, read_model, streams, upto):
        found.append(_first(conn, read_model, stream, upto, sqlstate))
        conn.execute(ADD, [read_model.name, stream, found[-1].position, found[-1].sqlstate], prepare=True)
    return found


def listed(conn: Connection) -> list[SetAside]:
    """Return all streams that are set aside, by read model and position."""
    return [SetAside(*row) for row in conn.execute(LISTED)]


def _insert(conn: Connection, read_model: ReadModel, streams: Sequence[str], upto: int) -> list[tuple[str, str]]:
    """Insert the rows of the streams that can be folded; return the others, each with the SQLSTATE."""
    failed = _attempt(conn, read_model, streams, upto)
    if failed is None:
        return []
    if len(streams) == 1:
        return [(streams[0], failed)]
    middle = len(streams) // 2
    halves = (streams[:middle], streams[middle:])
    return [found for half in halves for found in _insert(conn, read_model, half, upto)]


def _first(conn: Connection, read_model: ReadModel, stream: str, upto: int, sqlstate: str) -> SetAside:
    """Find the first position up to which the stream cannot be folded, by bisection. It cannot be up to `upto`."""
    positions = [int(position) for (position,) in conn.execute(POSITIONS, [stream, upto], prepare=True)]
    low, high = 0, len(positions) - 1
    while low < high:
        middle = (low + high) // 2
        failed = _attempt(conn, read_model, [stream], positions[middle], keep=False)
        if failed is None:
            low = middle + 1
        else:
            high, sqlstate = middle, failed
    return SetAside(read_model.name, stream, positions[high], sqlstate)


def _attempt(
    conn: Connection, read_model: ReadModel, streams: Sequence[str], upto: int, *, keep: bool = True
) -> str | None:
    """Insert the rows of the streams. Return None, or the SQLSTATE if that fails. Without `keep`, no row stays."""
    try:
        with conn.transaction(force_rollback=not keep):
            read_model.insert(conn, streams, upto)
    except psycopg.Error as error:
        if cause_of(error) is not Cause.DATA:
            raise
        return str(error.sqlstate)
    return None

"""Record the results of continuous verification: once a day, and when they change."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import monotonic

import orjson
import psycopg

from ledger.database import Connection, connect, one_line
from ledger.proof.findings import Finding, Kind
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import append_now
from ledger.store.recorder import Recorder
from schema.events import VerificationRecorded

log = logging.getLogger(__name__)

ACTOR = Actor(id="advice-ledger", kind="service", role="verifier")
LAST_OF_TODAY = "SELECT version, body FROM events WHERE stream = %s ORDER BY version DESC LIMIT 1"
HASH = "SELECT hash FROM events WHERE position = %s"
# Results wait here while they cannot be recorded. If results keep changing, only the newest are kept.
MAX_UNRECORDED = 100
# The finding about a history that was cut or replaced changes as events follow. It is rolled-back, at a position that
# moves on, until the history is as long as before. Then it is forked, in a range that begins after the last
# checkpoint. All of these count as one tampering.
SET_BACK = frozenset((Kind.ROLLED_BACK, Kind.TRUNCATED))
OTHER_HISTORY = SET_BACK | {Kind.FORKED, Kind.HEAD_MISMATCH}

# "good" or "bad", the kind of the finding, and its position.
Result = tuple[object, object, object]


def verification_event(last: int, signed: int, took_s: float, finding: Finding | None = None) -> VerificationRecorded:
    """Return the event about positions 1 to `last`, of which a checkpoint covers `signed`.

    Without `finding`, the result is good.
    """
    return VerificationRecorded(
        first_position=1,
        last_position=last,
        checkpoint_size=signed,
        result="good" if finding is None else "bad",
        finding=None if finding is None else finding.kind,
        first_bad_position=None if finding is None else finding.position,
        duration_s=round(took_s),
        events_per_s=round(last / max(took_s, 0.001)),
    )


def result_of(event: VerificationRecorded) -> Result:
    """Return the members that two equal results share."""
    return event.result, event.finding, event.first_bad_position


def recorded_result(body: str) -> Result | None:
    """Return what result_of() returns, from a recorded body; None if somebody made the body unreadable."""
    try:
        data = orjson.loads(body)["data"]
    except (ValueError, LookupError, TypeError):
        return None
    if not isinstance(data, Mapping):
        return None
    return data.get("result"), data.get("finding"), data.get("first_bad_position")


def repeats(known: Result | None, new: Result) -> bool:
    """Return True if `new` is the known result, or the same other history at a later position."""
    if known is None or known == new:
        return known == new
    _, kind, position = known
    _, new_kind, new_position = new
    if not {kind, new_kind} <= OTHER_HISTORY:
        return False
    if kind in SET_BACK and new_kind == Kind.FORKED:
        return True
    return isinstance(position, int) and isinstance(new_position, int) and position <= new_position


class Results:
    """Keep the results that are not recorded yet, in order. `writing` is a connection string of the writer's role.

    `clock` determines the stream, which has the date in its name.
    """

    def __init__(
        self, writing: str, clock: Callable[[], float], retry_s: float, recorder: Recorder | None = None
    ) -> None:
        self._writing = writing
        self._clock = clock
        self._recorder = recorder and recorder.another()
        self._retry_s = retry_s
        # Each event has the hash of the last event that was verified, if all events up to that one held.
        self._owed: deque[tuple[VerificationRecorded, bytes | None]] = deque(maxlen=MAX_UNRECORDED)
        self._due_s = 0.0

    def owe(self, event: VerificationRecorded, link: bytes | None = None) -> None:
        """Add a result, unless it equals the last one that waits. `link` is the hash of the last verified event.

        With `link`, the result is recorded only in a history that has this event.
        """
        if not self._owed or not repeats(result_of(self._owed[-1][0]), result_of(event)):
            self._owed.append((event, link))

    def record_next(self, conn: Connection) -> None:
        """Record a result, unless the last result recorded today is the same. The chain tells, so this also works
        after a restart.

        If the result cannot be recorded, perhaps because of the very finding, try again later.
        """
        if not self._owed or monotonic() < self._due_s:
            return
        event, link = self._owed[0]
        stream = f"verification-{datetime.fromtimestamp(self._clock(), UTC):%Y-%m-%d}"
        version, body = conn.execute(LAST_OF_TODAY, [stream]).fetchone() or (0, "")
        # If the event no longer has this hash, the history was replaced after the scan. The next scan reports it.
        if not repeats(recorded_result(body), result_of(event)) and _has(conn, event.last_position, link):
            new = NewEvent(uuid7(), stream, event, ACTOR, version or "no_stream")
            try:
                with connect(self._writing) as writer:
                    append_now(writer, new, self._recorder)
            except psycopg.Error as error:
                self._due_s = monotonic() + self._retry_s
                log.warning(
                    "the result of the verification cannot be recorded: %s; trying again until it can", one_line(error)
                )
                return
        self._owed.popleft()


def _has(conn: Connection, position: int, link: bytes | None) -> bool:
    """Return True if the event at this position has this hash, or if no hash is given."""
    row = None if link is None else conn.execute(HASH, [position]).fetchone()
    return link is None or (row is not None and bytes(row[0]) == link)

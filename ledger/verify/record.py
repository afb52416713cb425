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
# Results wait while the ledger does not record them. If results keep changing, only the newest are kept.
MAX_UNRECORDED = 100
# A history that was cut or replaced changes its name as events follow: rolled-back until it is as long as before, at a
# position that moves on; then forked, in a range that begins after the last checkpoint. It is one tampering.
SET_BACK = frozenset((Kind.ROLLED_BACK, Kind.TRUNCATED))
OTHER_HISTORY = SET_BACK | {Kind.FORKED, Kind.HEAD_MISMATCH}

# "good" or "bad", the kind of the finding, and its position.
Result = tuple[object, object, object]


def verification_event(last: int, signed: int, took_s: float, finding: Finding | None = None) -> VerificationRecorded:
    """Return the event for positions 1 to `last`, of which a checkpoint covers `signed`; without `finding` all held."""
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
    """Return the members that make two verifications the same."""
    return event.result, event.finding, event.first_bad_position


def recorded_result(body: str) -> Result | None:
    """Return what result_of() returns, for a recorded body; None if somebody made it unreadable."""
    try:
        data = orjson.loads(body)["data"]
    except (ValueError, LookupError, TypeError):
        return None
    if not isinstance(data, Mapping):
        return None
    return data.get("result"), data.get("finding"), data.get("first_bad_position")


def repeats(known: Result | None, new: Result) -> bool:
    """Return whether a result says nothing that is not known: the same, or the same other history further on."""
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
    """Results that are not recorded yet, in order. `writing` is a connection string of the writer's role.

    `clock` picks the stream of the day.
    """

    def __init__(
        self, writing: str, clock: Callable[[], float], retry_s: float, recorder: Recorder | None = None
    ) -> None:
        self._writing = writing
        self._clock = clock
        self._recorder = recorder and recorder.another()
        self._retry_s = retry_s
        # Each with the hash of its last event, if all events up to that one held.
        self._owed: deque[tuple[VerificationRecorded, bytes | None]] = deque(maxlen=MAX_UNRECORDED)
        self._due_s = 0.0

    def owe(self, event: VerificationRecorded, link: bytes | None = None) -> None:
        """Add a result, unless the last one that waits is the same. `link` is the hash of its last event.

        With `link`, the result is recorded only in the history that has this event.
        """
        if not self._owed or not repeats(result_of(self._owed[-1][0]), result_of(event)):
            self._owed.append((event, link))

    def record_next(self, conn: Connection) -> None:
        """Record a result, unless the last one recorded today says the same: by the chain, so also after a restart.

        If the ledger does not record it, perhaps because of the very finding, try again later.
        """
        if not self._owed or monotonic() < self._due_s:
            return
        event, link = self._owed[0]
        stream = f"verification-{datetime.fromtimestamp(self._clock(), UTC):%Y-%m-%d}"
        version, body = conn.execute(LAST_OF_TODAY, [stream]).fetchone() or (0, "")
        # Read after the last result: what was set back meanwhile is another history, which the next scan names.
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
    """True if the event at this position has this hash, or no hash is given."""
    row = None if link is None else conn.execute(HASH, [position]).fetchone()
    return link is None or (row is not None and bytes(row[0]) == link)

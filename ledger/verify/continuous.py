"""Checks the chain again and again while a server runs: a thread, at a bounded rate, one leader among all processes.

Scan after scan from position 1 on (ledger/verify/scan.py); between two chunks of a scan whatever was appended. Once a
day, and when the result is another one, what was covered and found is recorded as an event. Nothing waits for this,
and it repairs nothing: what it finds is for a person to look at (docs/operate/continuous-verification.md).
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from time import monotonic

import psycopg

from ledger.background import DatabaseWorker, Failure, WorkerStatus, place_of
from ledger.database import VERIFIER_LOCK, Connection, conninfo, one_line
from ledger.proof.findings import Finding, Kind
from ledger.proof.tlog.note import VerifierKey
from ledger.proof.tlog.trust import Trust
from ledger.store.envelope import Actor, NewEvent, encode, uuid7
from ledger.verify.database import verify_chain
from ledger.verify.record import found, recorded, result
from ledger.verify.scan import ChainBroken, Root, Scan
from ledger.verify.trusted_checkpoints import TrustedCheckpoints
from schema.events import VerificationRecorded

log = logging.getLogger(__name__)

RATE = 5_000
# The rest between two scans: a small ledger need not be gone through all the time.
REST_S = 60.0
# A process that has run for less does not record that all is well: one that is started now and then would each time.
SETTLE_S = 300.0
# A chunk is what is checked in so much time; and how often a scan that is through looks for new events.
CHUNK_S = 0.1
LOOK_S = 0.5
FOLLOW_S = 1.0
RETRY_S = 1.0
# So many results at most wait to be recorded, the newest: they pile up where a ledger takes none and results change.
MOST_OWED = 100

ACTOR = Actor(id="advice-ledger", kind="service", role="verifier")
TRY_LOCK = "SELECT pg_try_advisory_lock(%s, hashtext(current_schema()))"
LAST_OF_TODAY = "SELECT version, body FROM events WHERE stream = %s ORDER BY version DESC LIMIT 1"
APPEND = "SELECT position FROM append(%s)"


@dataclass(frozen=True)
class VerificationConfig:
    """How to check: so many events a second, and with which keys of the log, none where they are not known."""

    rate: int = RATE
    keys: tuple[VerifierKey, ...] = ()
    rest_s: float = REST_S
    settle_s: float = SETTLE_S


@dataclass(frozen=True)
class VerificationStatus(WorkerStatus):
    """Where the thread stands. Another process leads where it `follows`, and knows what is not said here.

    `position`: all events up to here were checked by this process, the newest of them `looked_s`, by the monotonic
    clock; `passed_s`: when the last scan was through. `finding`: what does not hold, as long as it does not.
    """

    position: int = 0
    looked_s: float | None = None
    passed_s: float | None = None
    checkpoint_size: int = 0
    finding: str | None = None
    first_bad_position: int | None = None

    @property
    def age_s(self) -> float | None:
        """Since when nothing is known of events up to `position` or beyond; None before the first look."""
        return None if self.looked_s is None else monotonic() - self.looked_s

    @property
    def passed_age_s(self) -> float | None:
        """How long ago the whole chain was through; None before that."""
        return None if self.passed_s is None else monotonic() - self.passed_s


class ContinuousVerification(DatabaseWorker):
    """Checks until stop(). `url` is for a login that may act as the ledger's verifier and writer."""

    def __init__(self, url: str, config: VerificationConfig | None = None, *, schema: str = "ledger") -> None:
        application = "advice-ledger verifier"
        super().__init__("verifier", conninfo(url, "verifier", schema=schema, application=application))
        self.status: VerificationStatus = VerificationStatus("starting")
        self._writing = conninfo(url, "writer", schema=schema, application=application, lock_timeout="10s")
        self._config = config or VerificationConfig()
        self._most = max(1, int(self._config.rate * CHUNK_S))
        self._scan: Scan | None = None
        # The last scan that was through: it goes on with what is appended.
        self._tail: Scan | None = None
        # What was found to hold before: the history is still that one, or somebody changed it since.
        self._known: Root | None = None
        # What the last scan came upon, and what the whole check made of it.
        self._failed: tuple[str, int] | None = None
        self._finding: VerificationRecorded | None = None
        self._due_s = 0.0
        # What is to be recorded and could not be yet.
        self._owed: deque[VerificationRecorded] = deque(maxlen=MOST_OWED)
        self._owed_s = 0.0
        self._started_s = monotonic()

    def on_failure(self, error: Exception) -> Failure | None:
        """Begin the scan anew: a chunk that broke off may be half in it."""
        self._drop()
        failure = super().on_failure(error)
        return failure and failure._replace(retry_s=RETRY_S)

    def on_unforeseen(self, error: Exception) -> Failure:
        """Try again after the rest between two scans."""
        return super().on_unforeseen(error)._replace(retry_s=self._config.rest_s)

    def follow(self, conn: Connection) -> None:
        """Wait until this process may lead, then lead."""
        while not self._stopping.is_set():
            row = conn.execute(TRY_LOCK, [VERIFIER_LOCK]).fetchone()
            if row == (True,):
                self._lead(conn)
            else:
                # The other one finds for itself what does not hold, and so would this one if it led again.
                self._drop()
                self._failed = None
                self.status = VerificationStatus("follows")
                self._stopping.wait(FOLLOW_S)

    def _lead(self, conn: Connection) -> None:
        while not self._stopping.is_set():
            started_s = monotonic()
            try:
                done = self._chunk(conn)
            except ChainBroken as broken:
                self._investigate(conn, broken.finding)
                done = 0
            if self._owed and monotonic() >= self._owed_s:
                self._record(conn, self._owed[0])
            took_s = monotonic() - started_s
            self._stopping.wait(max(done / self._config.rate - took_s, 0) if done else LOOK_S)

    def _chunk(self, conn: Connection) -> int:
        """What is new, then the next chunk of the scan; how many events that were. Raises ChainBroken."""
        done = 0
        if self._tail is not None:
            done = self._tail.take(conn, self._most)
            self._note(self._tail)
        if self._scan is None and monotonic() >= self._due_s:
            self._scan = Scan(self._config.keys, self._known)
        room = self._most - done
        if self._scan is not None and room > 0:
            taken = self._scan.take(conn, room)
            done += taken
            if self._tail is None:
                self._note(self._scan)
            if taken < room:
                self._through(conn, self._scan)
        return done

    def _note(self, at: Scan) -> None:
        self.status = replace(
            self.status,
            state="leads",
            position=at.size,
            looked_s=monotonic(),
            checkpoint_size=at.checkpoint_size,
            error=None,
        )

    def _through(self, conn: Connection, done: Scan) -> None:
        """The scan has reached the head."""
        took_s, size = monotonic() - done.started_s, done.size
        done.end(conn)
        self._tail, self._scan = done, None
        self._known = _root(done)
        self._due_s = monotonic() + self._config.rest_s
        self._note(done)
        self.status = replace(self.status, passed_s=monotonic(), finding=None, first_bad_position=None)
        settled = monotonic() - self._started_s >= self._config.settle_s
        if size and (settled or self._failed is not None):
            self._owe(found(size, done.checkpoint_size, took_s))
        self._failed = None

    def _investigate(self, conn: Connection, finding: Finding) -> None:
        """Has the whole chain checked at once, for the right name of what is wrong, unless this is known already.

        What was found stays found whatever becomes of that check: it is known only once it is in the status and owed.
        """
        failed = (finding.kind, finding.position)
        checked = max((one.size for one in (self._scan, self._tail) if one is not None), default=0)
        self._drop()
        self._due_s = monotonic() + self._config.rest_s
        self.status = replace(self.status, state="leads", error=None)
        if failed == self._failed and self._finding is not None:
            self._owe(self._finding)
            return
        started_s = monotonic()
        last, signed = max(checked, 1), 0
        try:
            report = verify_chain(conn, trusted=TrustedCheckpoints(Trust(self._config.keys)))
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not hide what was found already
            log.warning("the whole chain could not be checked: %s", place_of(error))
        else:
            finding = report.findings[0] if report.findings else finding
            last = max(report.last_position, last)
            signed = 0 if report.covered is None else report.covered.signed
        more = (
            "docs/operate/continuous-verification.md says what to do"
            if finding.kind is Kind.PROOF_MISMATCH
            else "advice-ledger verify says more"
        )
        log.error("the chain does not hold: %s; %s", finding, more)
        self.status = replace(
            self.status,
            position=min(self.status.position, max(finding.position - 1, 0)),
            finding=finding.kind,
            first_bad_position=finding.position,
        )
        self._finding = found(last, signed, monotonic() - started_s, finding)
        self._owe(self._finding)
        self._failed = failed

    def _drop(self) -> None:
        """Scans begin anew. Not what they found: a chunk that broke off may be half in a scan, which is no use."""
        self._known = _root(self._tail) or self._known
        self._scan = self._tail = None
        self._due_s = 0.0

    def _owe(self, event: VerificationRecorded) -> None:
        if not self._owed or result(self._owed[-1]) != result(event):
            self._owed.append(event)

    def _record(self, conn: Connection, event: VerificationRecorded) -> None:
        """Unless it is what was recorded last today: the chain itself says what that is, also after a restart.

        A ledger that does not take the event, perhaps for the very reason that is to be recorded, is asked again.
        """
        stream = f"verification-{datetime.now(UTC):%Y-%m-%d}"
        version, body = conn.execute(LAST_OF_TODAY, [stream]).fetchone() or (0, "")
        if recorded(body) != result(event):
            new = NewEvent(uuid7(), stream, event, ACTOR, version or "no_stream")
            try:
                with psycopg.connect(self._writing, autocommit=True) as writer:
                    writer.execute(APPEND, [encode(new).decode()])
            except psycopg.Error as error:
                self._owed_s = monotonic() + self._config.rest_s
                log.warning("what was found cannot be recorded: %s; trying again until it can", one_line(error))
                return
        self._owed.popleft()


def _root(tail: Scan | None) -> Root | None:
    return None if tail is None or not tail.size else Root(tail.size, tail.root, "what was checked before")

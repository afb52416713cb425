"""Continuous verification: scan the whole chain again and again while a server runs, at a bounded rate.

One process of a ledger leads. Each scan begins at position 1 (ledger/verify/scan.py); between two chunks of a scan, new
events are verified. The result is recorded as an event once a day, and when it changes. Nothing waits for the
verification, and it repairs nothing: a person has to look at a finding (docs/operate/continuous-verification.md).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic

from ledger.background import DatabaseWorker, Failure, WorkerStatus, place_of
from ledger.database import Connection, Url, conninfo
from ledger.proof.findings import Finding, Kind
from ledger.proof.tlog.note import VerifierKey
from ledger.proof.tlog.trust import Trust
from ledger.store.head import read_clocks
from ledger.store.recorder import Recorder
from ledger.verify.beside import Check, ChecksBeside
from ledger.verify.database import verify_chain
from ledger.verify.record import Results, verification_event
from ledger.verify.scan import ChainBroken, Root, Scan
from ledger.verify.trusted_checkpoints import TrustedCheckpoints
from schema.events import VerificationRecorded

log = logging.getLogger(__name__)

RATE = 5_000
# The pause between two scans: RESTS times as long as the scan took, within these bounds. New events do not wait for it.
REST_S = 60.0
RESTS = 19.0
MOST_REST_S = 24 * 3600.0
# A process records a good result only after it has run for this long. Otherwise a process that restarts often would
# record a good result at each start.
SETTLE_S = 300.0
# A chunk has as many events as the rate allows in this time.
CHUNK_S = 0.1
LOOK_S = 0.5  # the pause between two looks for new events while no scan runs
FOLLOW_S = 1.0
RETRY_S = 1.0
# The leader writes to the database this often that it works. Followers report a leader that is silent for STALLED_S.
BEAT_S = 5.0
STALLED_S = 120.0

# The process leads until its connection ends. The leader calls this again to show that it works.
LEAD = "SELECT lead_verifying()"
IDLE = "SELECT verifier_idle_s()"


@dataclass(frozen=True)
class VerificationConfig:
    """Set the speed of verification, in events a second, and the verifier keys. Without keys, check no signature.

    `beside` has the checks of tables other than the chain, such as read models.
    """

    rate: int = RATE
    keys: tuple[VerifierKey, ...] = ()
    rest_s: float = REST_S
    rests: float = RESTS
    settle_s: float = SETTLE_S
    beside: tuple[Check, ...] = ()

    def rest_after(self, took_s: float) -> float:
        """Return the seconds to rest after a scan of `took_s` seconds that found nothing."""
        return max(self.rest_s, min(self.rests * took_s, MOST_REST_S))


@dataclass(frozen=True)
class VerificationStatus(WorkerStatus):
    """The progress of this process. While it `follows`, another process verifies and knows the progress.

    This process verified all events up to `position`, the newest at `looked_s`, and finished its last scan at
    `passed_s`; both times are by the monotonic clock. `finding` is the kind of the finding, until a scan has none.
    """

    position: int = 0
    looked_s: float | None = None
    passed_s: float | None = None
    checkpoint_size: int = 0
    finding: str | None = None
    first_bad_position: int | None = None

    @property
    def age_s(self) -> float | None:
        """Return the seconds since this process last looked for new events; None before the first look."""
        return None if self.looked_s is None else monotonic() - self.looked_s

    @property
    def passed_age_s(self) -> float | None:
        """Return the seconds since a scan reached the end of the chain without a finding; None before that."""
        return None if self.passed_s is None else monotonic() - self.passed_s


class ContinuousVerification(DatabaseWorker):
    """Verify until stop(). `url` is for a login that may act as the ledger's verifier and writer."""

    def __init__(
        self,
        url: Url,
        config: VerificationConfig | None = None,
        *,
        recorder: Recorder | None = None,
        schema: str = "ledger",
        clock: Callable[[], float] = time.time,
    ) -> None:
        application = "advice-ledger verifier"
        super().__init__("verifier", conninfo(url, "verifier", schema=schema, application=application))
        self.status: VerificationStatus = VerificationStatus("starting")
        self._config = config or VerificationConfig()
        writing = conninfo(url, "writer", schema=schema, application=application, lock_timeout="10s")
        self._results = Results(writing, clock, self._config.rest_s, recorder)
        self._beside = ChecksBeside(self._config.beside, self._config.rest_s)
        self._most = max(1, int(self._config.rate * CHUNK_S))
        self._scan: Scan | None = None
        self._tail: Scan | None = None  # the last finished scan, which goes on with new events
        # The root that an earlier scan computed. If a later scan computes another root, somebody changed the history.
        self._known: Root | None = None
        # The kind and position of the last finding, and the event about it, made by verifying the whole chain.
        self._failed: tuple[str, int] | None = None
        self._finding: VerificationRecorded | None = None
        self._due_s = 0.0
        self._started_s = monotonic()
        self._stands_still = False

    def on_failure(self, error: Exception) -> Failure | None:
        """Start the scan again, because it may have processed half of a chunk."""
        self._drop()
        failure = super().on_failure(error)
        return failure and failure._replace(retry_s=RETRY_S)

    def on_unforeseen(self, error: Exception) -> Failure:
        """Try again after the pause between two scans."""
        return super().on_unforeseen(error)._replace(retry_s=self._config.rest_s)

    def follow(self, conn: Connection) -> None:
        """Wait until this process may lead, then lead."""
        while not self._stopping.is_set():
            if conn.execute(LEAD).fetchone() == (True,):
                self._lead(conn)
            else:
                # Forget all results: the leader makes its own scan, and so will this process if it leads again.
                self._drop()
                self._failed = None
                self.status = VerificationStatus("follows", _stalled(conn))
                self._stopping.wait(FOLLOW_S)

    def _lead(self, conn: Connection) -> None:
        beat_s = monotonic()
        while not self._stopping.is_set():
            started_s = monotonic()
            if started_s - beat_s > BEAT_S:
                conn.execute(LEAD)
                beat_s = started_s
            try:
                count = self._verify_chunk(conn)
                self._check_beside(conn)
            except ChainBroken as broken:
                self._investigate(conn, broken.finding)
                count = 0
            self._results.record_next(conn)
            took_s = monotonic() - started_s
            self._stopping.wait(max(count / self._config.rate - took_s, 0) if count else LOOK_S)

    def _verify_chunk(self, conn: Connection) -> int:
        """Verify new events, then the next chunk of the scan; return their number. Raises ChainBroken."""
        count = 0
        if self._tail is not None:
            count = self._tail.take(conn, self._most)
            self._report_progress(self._tail)
        if self._scan is None and monotonic() >= self._due_s:
            self._scan = Scan(self._config.keys, self._known)
        room = self._most - count
        if self._scan is not None and room > 0:
            taken = self._scan.take(conn, room)
            count += taken
            if self._tail is None:
                self._report_progress(self._scan)
            if taken < room:
                self._finish_scan(conn, self._scan)
        return count

    def _report_progress(self, scan: Scan) -> None:
        self.status = replace(
            self.status,
            state="leads",
            position=scan.size,
            looked_s=monotonic(),
            checkpoint_size=scan.checkpoint_size,
            error=None,
        )

    def _finish_scan(self, conn: Connection, scan: Scan) -> None:
        """Verify what only a whole scan shows, and report that the chain holds."""
        took_s = monotonic() - scan.started_s
        scan.end(conn)
        self._compare_clocks(conn)
        self._tail, self._scan = scan, None
        self._known = _root(scan)
        self._due_s = monotonic() + self._config.rest_after(took_s)
        self._report_progress(scan)
        self.status = replace(self.status, passed_s=monotonic())
        self._report_beside()
        settled = monotonic() - self._started_s >= self._config.settle_s
        if scan.size and (settled or self._failed is not None) and self._beside.finding is None:
            self._results.owe(verification_event(scan.size, scan.checkpoint_size, took_s), scan.link)
        self._failed = None

    def _check_beside(self, conn: Connection) -> None:
        """Check the next piece of the tables other than the chain, once a scan found no fault in the chain."""
        if self._tail is None or not self._beside.step(conn):
            return
        finding = self._beside.finding
        if finding is not None:
            log.error("the chain holds, but not what is beside it: %s; advice-ledger verify says more", finding)
        self._report_beside()
        event = verification_event(self._tail.size, self._tail.checkpoint_size, 0, finding)
        self._results.owe(event, self._tail.link if finding is None else None)

    def _report_beside(self) -> None:
        """Set the finding of `beside` in the status, for a chain that holds."""
        finding = self._beside.finding
        self.status = replace(
            self.status,
            finding=None if finding is None else finding.kind,
            first_bad_position=None if finding is None else finding.position,
        )

    def _compare_clocks(self, conn: Connection) -> None:
        """Log once that times stand still. It is no finding: the chain holds, and nothing can mend the times."""
        clocks = read_clocks(conn)
        stands_still = clocks is not None and clocks.since is not None
        if clocks is not None and stands_still and not self._stands_still:
            log.warning("%s", clocks)
        self._stands_still = stands_still

    def _investigate(self, conn: Connection, finding: Finding) -> None:
        """Verify the whole chain at once, which gives the most precise finding, unless the finding is known already.

        The finding is reported even if that verification fails. It counts as known only once it is in the status and
        among the results to record.
        """
        failed = (finding.kind, finding.position)
        checked = max((scan.size for scan in (self._scan, self._tail) if scan is not None), default=0)
        self._drop()
        self._due_s = monotonic() + self._config.rest_s
        self.status = replace(self.status, state="leads", error=None)
        if failed == self._failed and self._finding is not None:
            self._results.owe(self._finding)
            return
        started_s = monotonic()
        last, signed = max(checked, 1), 0
        try:
            # As in a scan, check only the newest checkpoint's signature: an older one's must not hide the finding.
            trusted = TrustedCheckpoints(Trust(self._config.keys), must_exist=False, each_signed=False)
            report = verify_chain(conn, trusted=trusted)
        except Exception as error:  # noqa: BLE001 - no error may hide the finding
            log.warning("the whole chain could not be verified: %s", place_of(error))
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
        self._finding = verification_event(last, signed, monotonic() - started_s, finding)
        self._results.owe(self._finding)
        self._failed = failed

    def _drop(self) -> None:
        """Forget unfinished scans, which may have processed half of a chunk. Keep the root that they computed."""
        self._known = _root(self._tail) or self._known
        self._scan = self._tail = None
        self._beside.drop()
        self._due_s = 0.0


def _stalled(conn: Connection) -> str | None:
    """Return a message if the leading process does not work; None if it works, or is too old a version to tell."""
    [(idle_s,)] = conn.execute(IDLE).fetchall()
    if idle_s is None or idle_s < STALLED_S:
        return None
    return f"this process follows, and the one that leads has not worked for {idle_s:.0f} s: look there, or end it"


def _root(tail: Scan | None) -> Root | None:
    return None if tail is None or not tail.size else Root(tail.size, tail.root, "an earlier scan")

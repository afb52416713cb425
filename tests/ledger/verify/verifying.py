"""Helpers of the tests of continuous verification: a ledger, ways to tamper with it, and a running thread."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from ledger.database import Connection
from ledger.proof.findings import Finding
from ledger.tlog.sign.last_signed import LastSigned
from ledger.tlog.sign.signer import Signer
from ledger.tlog.signing_keys import SigningKey
from ledger.verify import continuous
from ledger.verify.continuous import ContinuousVerification, VerificationConfig, VerificationStatus
from ledger.verify.scan import Scan
from tests.support import append, connect, eventually, new, requested

EDIT = "UPDATE events SET body = replace(body, '1000.00', '9000.00') WHERE position = 9"
REPAIR = "UPDATE events SET body = replace(body, '9000.00', '1000.00') WHERE position = 9"
FAST = VerificationConfig(rate=1_000_000, rest_s=0.05, rests=0, settle_s=0)


def fill(url: str, count: int) -> None:
    """Append `count` requests with sealed values."""
    with connect(url) as conn:
        append(conn, *(new("request-", requested(f"client-{number}")) for number in range(count)))


def sign(url: str, key: SigningKey, path: Path) -> None:
    """Signs all there is."""
    file = LastSigned(path, None, key.verifier)
    with connect(url, "signer") as conn, file.held():
        while Signer(conn, key, file).step() is not None:
            pass


class CountingVerification(ContinuousVerification):
    """A thread that counts the scans that ended, whatever they found."""

    scans = 0

    def _finish_scan(self, conn: Connection, done: Scan) -> None:
        super()._finish_scan(conn, done)
        self.scans += 1

    def _investigate(self, conn: Connection, finding: Finding) -> None:
        super()._investigate(conn, finding)
        self.scans += 1

    def scans_more(self, count: int = 3) -> None:
        """Wait until `count` more scans have begun and ended."""
        before = self.scans
        eventually("the chain is scanned again", lambda: self.scans > before + count)


@contextlib.contextmanager
def verifying(url: str, settings: VerificationConfig = FAST) -> Iterator[CountingVerification]:
    """Run the thread while the block runs."""
    verifier = CountingVerification(url, settings)
    with mock.patch.object(continuous, "LOOK_S", 0.02):
        verifier.start()
        try:
            yield verifier
        finally:
            verifier.stop()
    assert not verifier.is_alive()


def until(
    verifier: ContinuousVerification, wanted: Callable[[VerificationStatus], Any], within_s: float = 20
) -> VerificationStatus:
    """Wait until the status of the thread is as `wanted`; return it."""

    def status() -> VerificationStatus | None:
        assert verifier.is_alive()
        current = verifier.status
        return current if wanted(current) else None

    return eventually("the thread has the wanted status", status, within_s=within_s)


def head_of(url: str) -> int:
    """The position of the newest event."""
    with connect(url) as conn:
        return int(conn.execute("SELECT position FROM head").fetchall()[0][0])


def recorded(url: str) -> list[dict[str, Any]]:
    """Read the recorded verifications."""
    with connect(url) as conn:
        found = conn.execute(
            "SELECT body FROM events WHERE type = 'verification.recorded' ORDER BY position"
        ).fetchall()
    return [json.loads(body) for (body,) in found]


def on_record(url: str, count: int, within_s: float = 20) -> list[dict[str, Any]]:
    """Wait until `count` verifications are recorded; return them."""
    eventually(f"{count} verifications on record", lambda: len(recorded(url)) >= count, within_s=within_s)
    return recorded(url)


def results(url: str) -> list[str]:
    """Return the result of each recorded verification."""
    return [body["data"]["result"] for body in recorded(url)]

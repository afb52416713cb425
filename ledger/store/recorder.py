"""Attest the events that this process records: docs/formats/recording.md.

The signature goes to the database with the events.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from psycopg.types.numeric import Int8

from ledger.proof.recording.attestation import SESSION_BYTES, line_digest, statement
from ledger.store.envelope import Line

NOTHING: dict[str, Any] = dict.fromkeys(("recorder", "session", "serial", "signature", "digests"))


class Recorder:
    """Hold a session of a recording key, which outlives connections. Each attestation has the next serial.

    `public` is the key, `sign` makes a signature of 64 bytes over a statement; `origin` names the ledger.
    """

    def __init__(self, origin: str, public: bytes, sign: Callable[[bytes], bytes]) -> None:
        self._origin = origin
        self.public = public
        self._sign = sign
        self._session = os.urandom(SESSION_BYTES)
        self._serial = 0

    def another(self) -> Recorder:
        """Return another session of the same key. Each part of a program that appends needs its own session."""
        return Recorder(self._origin, self.public, self._sign)

    def attest(self, lines: Sequence[Line]) -> dict[str, Any]:
        """Return the parameters of append() that attest these lines.

        A repeated append gets another serial. If its lines were recorded, all of them are replays, and nothing is
        stored.
        """
        self._serial += 1
        digests = [line_digest(line.body()) for line in lines]
        return {
            "recorder": self.public,
            "session": self._session,
            "serial": Int8(self._serial),
            "signature": self._sign(statement(self._origin, self._session, self._serial, digests)),
            "digests": b"".join(digests),
        }

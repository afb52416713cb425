"""The signer of a server: a background worker with a database connection of its own. One process of a ledger leads.

A refusal ends the worker, and so does an unforeseen error: a person has to look, and nothing is signed until the
program is started again. A refusal also stops appends (Signer.step). Otherwise appends never wait for the signer,
except for its first look when the program starts.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic

from ledger.background import DatabaseWorker, Failure, running
from ledger.database import Connection, Url, conninfo
from ledger.errors import Unavailable
from ledger.proof.errors import EvidenceError
from ledger.store.recorder import Recorder
from ledger.tlog.endorse.endorsers import EndorserConfig, Endorsers
from ledger.tlog.heads.recorder import HeadsRecorder
from ledger.tlog.sign import rotate
from ledger.tlog.sign.errors import SigningRefused
from ledger.tlog.sign.last_signed import LastSigned
from ledger.tlog.sign.look import head_of
from ledger.tlog.sign.signer import Signer
from ledger.tlog.sign.state_file import Signed
from ledger.tlog.signing_keys import SigningKey

EVERY_S = 1.0
EVENTS = 10_000
# The longest pause in which the leader does not look for new events.
LOOK_S = 0.1
# The pause between two tries of a follower to lead.
FOLLOW_S = 1.0
# The time that stop() waits for a record of stream heads in progress. A record is written as a whole or not at all.
RECORDER_STOP_S = 1.0


@dataclass(frozen=True)
class SigningConfig:
    """The key, the state file, and when to sign: after `every_s` seconds or after `events` new events.

    `copies` is the folder for a copy of the state file; None for no copy. With `stops_appends`, nothing is recorded in
    a database that the signer refuses.
    """

    key: SigningKey = field(repr=False)
    state: Path
    every_s: float = EVERY_S
    events: int = EVENTS
    copies: Path | None = None
    stops_appends: bool = True

    def known_events(self) -> list[tuple[int, bytes]]:
        """Return the positions and hashes of events that the database must have before anything is recorded."""
        if not self.stops_appends:
            return []
        return LastSigned(self.state, self.copies, self.key.verifier).known_events()


class SignerThread(DatabaseWorker):
    """Sign until stop(). `url` is for a login that may act as the ledger's signer."""

    def __init__(
        self,
        url: Url,
        signing: SigningConfig,
        endorsers: EndorserConfig | None = None,
        *,
        recorder: Recorder | None = None,
        schema: str = "ledger",
    ) -> None:
        super().__init__("signer", conninfo(url, "signer", schema=schema, application="advice-ledger signer"))
        self._make_recorder = partial(HeadsRecorder, url, recorder=recorder, schema=schema)
        # Records where streams end, while this process leads.
        self.heads_recorder: HeadsRecorder | None = None
        self._signing = signing
        # The key also signs receipts, of roots that it signed in checkpoints.
        self.key = signing.key
        # Set once this process has compared the database with what was signed last, follows another leader, or cannot
        # tell.
        self.looked = threading.Event()
        self.endorsers = Endorsers(self._conninfo, endorsers or EndorserConfig())

    def on_failure(self, error: Exception) -> Failure | None:
        """Describe a refusal, which ends the signer, and errors of the database and of the state file."""
        self.looked.set()
        if isinstance(error, SigningRefused | EvidenceError):
            return Failure(str(error), retry_s=None)
        if isinstance(error, Unavailable):
            return Failure(str(error))
        if isinstance(error, OSError):
            return Failure(f"{error.filename or self._signing.state} cannot be used: {error.strerror}")
        return super().on_failure(error)

    def on_unforeseen(self, error: Exception) -> Failure:
        """End the signer. After an error of the program, a person has to look before anything is signed."""
        return super().on_unforeseen(error)._replace(retry_s=None)

    def follow(self, conn: Connection) -> None:
        """Wait until this process may lead, then lead."""
        signing = self._signing
        while not self._stopping.is_set():
            with rotate.leading(
                conn, signing.key, signing.state, signing.copies, stops_appends=signing.stops_appends
            ) as signer:
                if signer is not None:
                    self.heads_recorder = self._make_recorder()
                    with self.endorsers.running(), running(self.heads_recorder, RECORDER_STOP_S):
                        self._lead(conn, signer)
                    continue
            self.report("follows")
            self.looked.set()
            self._stopping.wait(FOLLOW_S)

    def _lead(self, conn: Connection, signer: Signer) -> None:
        signing = self._signing
        size, due_s = -1, monotonic()  # the first step checks what was signed, even if no event is new
        while not self._stopping.is_set():
            position = head(conn)
            if position >= size + signing.events or (position != size and monotonic() >= due_s):
                signed = self._sign(signer, position)
                size = position if signed is None else signed.size
                due_s = due_s if signed is None else monotonic() + signing.every_s
            self.report("leads")
            self._stopping.wait(min(LOOK_S, signing.every_s))

    def _sign(self, signer: Signer, position: int) -> Signed | None:
        """Sign up to `position`, in several steps if necessary. Return the last checkpoint, or None."""
        last = None
        while not self._stopping.is_set():
            signed = signer.step()
            self.looked.set()
            last = signed or last
            if signed is not None:
                self.endorsers.checkpoint_signed()
            if signed is None or signed.size >= position:
                break
        return last


def head(conn: Connection) -> int:
    """Return the position of the last event. Raises Rewritten if there is no head."""
    return head_of(conn)[1]

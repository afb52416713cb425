"""Signs while a server runs: a thread with a connection of its own, one leader among all processes of a ledger.

A SigningRefused ends it: a person has to look, and nothing is signed until the program is started again. So does an
error that nobody foresaw: the status says so, as nobody sees a thread die. Appends never wait for any of this.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Literal

import psycopg

from ledger.database import Connection, conninfo, one_line
from ledger.proof.tlog.merkle import LogError
from ledger.proof.tlog.note import SigningKey
from ledger.tlog.endorse.endorsers import EndorserConfig, Endorsers
from ledger.tlog.sign import rotate
from ledger.tlog.sign.errors import SigningRefused
from ledger.tlog.sign.signer import Signer, head_of
from ledger.tlog.sign.state_file import Signed

log = logging.getLogger(__name__)

EVERY_S = 1.0
EVENTS = 10_000
# How often the leader looks for new events; less where it is to sign more often.
LOOK_S = 0.1
# How often a follower tries to lead, and how long the thread waits after a failure.
FOLLOW_S = 1.0
RETRY_S = 0.25

# "none" is said of a process that has no signer.
State = Literal["none", "starting", "leads", "follows", "failing", "refused", "stopped"]


@dataclass(frozen=True)
class SigningConfig:
    """What a signer needs. `state` is the file beside the key; it signs after `every_s` or `events`."""

    key: SigningKey = field(repr=False)
    state: Path
    every_s: float = EVERY_S
    events: int = EVENTS


@dataclass(frozen=True)
class SignerStatus:
    """Where the thread stands; `error` says what is wrong, for as long as it is."""

    state: State
    error: str | None = None


class SignerThread(threading.Thread):
    """Signs until stop(). `url` is for a login that may act as the ledger's signer."""

    def __init__(
        self, url: str, signing: SigningConfig, endorsers: EndorserConfig | None = None, *, schema: str = "ledger"
    ) -> None:
        super().__init__(name="signer", daemon=True)
        self._conninfo = conninfo(url, "signer", schema=schema, application="advice-ledger signer")
        self._signing = signing
        self.endorsers = Endorsers(self._conninfo, endorsers or EndorserConfig())
        self._stopping = threading.Event()
        self.status = SignerStatus("starting")

    def stop(self) -> None:
        """Ends after the step in hand."""
        self._stopping.set()
        self.join(timeout=10)

    def run(self) -> None:
        """Connects, leads when it may, and connects again when the database went away."""
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._conninfo, autocommit=True) as conn:
                    self._follow(conn)
            except (SigningRefused, LogError) as error:
                self.status = SignerStatus("refused", str(error))
                log.error("nothing is signed any more: %s", error)  # noqa: TRY400 - the message says it all
                return
            except psycopg.Error as error:
                self._complain(f"the database does not serve the signer: {one_line(error)}")
            except OSError as error:
                self._complain(f"{self._signing.state} cannot be used: {error.strerror}")
            except Exception as error:  # a thread that died unseen would be taken for one that signs
                self.status = SignerStatus("refused", f"the signer failed, {type(error).__name__}: {error}")
                log.exception("nothing is signed any more: the signer failed")
                return
        self.status = SignerStatus("stopped")

    def _follow(self, conn: Connection) -> None:
        """Waits for its turn, then leads."""
        while not self._stopping.is_set():
            with rotate.leading(conn, self._signing.key, self._signing.state) as signer:
                if signer is not None:
                    with self.endorsers.running():
                        self._lead(conn, signer)
                    continue
            self.status = SignerStatus("follows")
            self._stopping.wait(FOLLOW_S)

    def _lead(self, conn: Connection, signer: Signer) -> None:
        signing = self._signing
        size, due_s = -1, monotonic()  # the first look checks what was signed, also where there is nothing new
        while not self._stopping.is_set():
            position = head(conn)
            if position >= size + signing.events or (position != size and monotonic() >= due_s):
                signed = self._sign(signer, position)
                size = position if signed is None else signed.size
                due_s = due_s if signed is None else monotonic() + signing.every_s
            self.status = SignerStatus("leads")
            self._stopping.wait(min(LOOK_S, signing.every_s))

    def _sign(self, signer: Signer, position: int) -> Signed | None:
        """Signs all there was, in as many steps as it takes; what was signed last, None where there was nothing new."""
        last = None
        while not self._stopping.is_set():
            signed = signer.step()
            last = signed or last
            if signed is not None:
                self.endorsers.checkpoint_signed()
            if signed is None or signed.size >= position:
                break
        return last

    def _complain(self, what: str) -> None:
        """Once, not four times a second for as long as the error lasts; and waits before the next try."""
        if self.status != SignerStatus("failing", what):
            log.warning("%s; trying again until it works", what)
        self.status = SignerStatus("failing", what)
        self._stopping.wait(RETRY_S)


def head(conn: Connection) -> int:
    """The position of the newest event. Raises Rewritten where there is no head."""
    return head_of(conn)[1]

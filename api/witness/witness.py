"""The rules of a witness: its answers to add-checkpoint and to the reader of a checkpoint (C2SP tlog-witness).

The table of statuses is in docs/operate/witnesses.md. The checks, in this order, with the status if one fails: the
request can be read, 400; its log is known, 404; the log signed it, 403; it is a checkpoint, 400; a tree of size 0 is
empty, 422; the old size is not above the new one, 400; the old size is the one cosigned last, 409; the tree is the
same or extends that one, 422. Then the state advances, durably, and after that the cosignature is made: a crash in
between costs the caller a second request.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from api.witness.store import Seen, WitnessStore
from ledger.proof.tlog.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointFlaw,
    SignedCheckpoint,
    open_checkpoint,
)
from ledger.proof.tlog.merkle import ProofError, check_consistency
from ledger.proof.tlog.note import Note, NoteError, NoteFlaw, VerifierKey, parse
from ledger.tlog.add_checkpoint import AddCheckpoint, RequestError, parse_request
from ledger.tlog.signing_keys import WitnessSigningKey

log = logging.getLogger(__name__)

TEXT = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"

# Reasons to keep a note that a log signed.
SPLIT = "another tree of the same size"
NO_EXTENSION = "not shown to extend what was seen"

# These flaws are answered with 403, the others with 400: the note cannot be read.
UNVERIFIED = {NoteFlaw.UNSIGNED, NoteFlaw.BAD_SIGNATURE}


class Reply(NamedTuple):
    """The status, body and media type of an answer."""

    status: int
    body: str
    kind: str = TEXT


class Refused(Exception):
    """The request is not cosigned. `evidence` is the reason to keep the note, if it is kept."""

    def __init__(self, status: int, body: str, kind: str = TEXT, evidence: str | None = None) -> None:
        super().__init__(body)
        self.reply = Reply(status, body + "\n", kind)
        self.evidence = evidence


# The keys of each log, by its origin.
LogKeys = Mapping[str, Sequence[VerifierKey]]


def parse_logs(texts: Sequence[str]) -> LogKeys:
    """Parse logs, each VERIFIER_KEY or ORIGIN=VERIFIER_KEY. A log may be there several times. Raises NoteError.

    Without ORIGIN, the name of the key is the origin.
    """
    logs: dict[str, list[VerifierKey]] = {}
    for origin, key in map(_parse_log, texts):
        logs.setdefault(origin, []).append(key)
    return logs


def _parse_log(text: str) -> tuple[str, VerifierKey]:
    """Both names may have equals signs: the key id, a hash of the key's name, tells where that name begins."""
    for at in range(1, len(text)):
        if text[at] == "=":
            with contextlib.suppress(NoteError):
                return text[:at], VerifierKey.parse(text[at + 1 :])
    key = VerifierKey.parse(text)
    return key.name, key


class Witness:
    """Cosign for these logs."""

    def __init__(
        self, key: WitnessSigningKey, logs: LogKeys, store: WitnessStore, clock: Callable[[], float] = time.time
    ) -> None:
        self.store = store
        self._key = key
        self._logs = logs
        self._clock = clock

    def add_checkpoint(self, body: bytes) -> Reply:
        """Answer a request with this body. Raises StoreUnavailable; nothing is cosigned then."""
        try:
            request = _request(body)
            signed = self._opened(request)
        except Refused as refused:
            return refused.reply
        checkpoint = signed.checkpoint
        note = Note(signed.text, signed.log).encode()
        at_s = 0

        def decide(seen: Seen | None) -> Seen:
            nonlocal at_s
            # The clock is read while the state is locked. The time is never before the last one, also if the clock was
            # set back: a larger tree never has an earlier time.
            at_s = max(int(self._clock()), 0 if seen is None else seen.at_s)
            _check(request, checkpoint, seen)
            return Seen(checkpoint.size, checkpoint.root, note, at_s)

        try:
            self.store.advance(checkpoint.origin, decide)
        except Refused as refused:
            self._keep(refused, signed, note)
            return refused.reply
        log.info("%s: cosigned %d", checkpoint.origin, checkpoint.size)
        return Reply(200, self._key.cosign(signed.text, at_s).line)

    def latest_checkpoint(self, origin_hash: str) -> bytes | None:
        """Return the last cosigned checkpoint of the log whose origin has this SHA-256, in hex; None without one.

        It has the signatures of the log, and the cosignature. That one is made anew, with the same bytes: Ed25519
        signatures are deterministic, and the time is in the state. Raises StoreError.
        """
        for origin, seen in self.store.seen().items():
            if sha256(origin.encode()).hexdigest() == origin_hash:
                note = parse(seen.note)
                return note.add([self._key.cosign(note.text, seen.at_s)]).encode()
        return None

    def _opened(self, request: AddCheckpoint) -> SignedCheckpoint:
        """Return the checkpoint, which its log must have signed. Raises Refused."""
        try:
            origin = parse(request.checkpoint).text.partition("\n")[0]
            if origin not in self._logs:
                raise Refused(404, "this log is not witnessed here")
            signed = open_checkpoint(request.checkpoint, origin, self._logs[origin])
        except CheckpointError as error:
            raise Refused(422 if error.flaw is CheckpointFlaw.EMPTY else 400, str(error.flaw)) from None
        except NoteError as error:
            raise Refused(403 if error.flaw in UNVERIFIED else 400, str(error.flaw)) from None
        if request.old_size > signed.checkpoint.size:
            raise Refused(400, "the old size is above that of the checkpoint")
        return signed

    def _keep(self, refused: Refused, signed: SignedCheckpoint, note: bytes) -> None:
        if refused.evidence is not None:
            origin, size = signed.checkpoint.origin, signed.checkpoint.size
            log.warning("%s: a checkpoint of %d is refused and kept: %s", origin, size, refused.evidence)
            self.store.keep_refused(origin, refused.evidence, note)


def _request(body: bytes) -> AddCheckpoint:
    try:
        return parse_request(body)
    except RequestError as error:
        raise Refused(400, str(error.flaw)) from None


def _check(request: AddCheckpoint, new: Checkpoint, seen: Seen | None) -> None:
    """Raises Refused unless the checkpoint fits what was seen."""
    known = 0 if seen is None else seen.size
    split = SPLIT if seen is not None and new.size == known and new.root != seen.root else None
    if request.old_size != known:
        raise Refused(409, str(known), SIZE, split)
    if split:
        raise Refused(422, split, evidence=split)
    if known == 0 or seen is None:
        if request.proof:
            raise Refused(422, "a request from size 0 needs no proof, and has proof lines")
    else:
        try:
            check_consistency(known, new.size, seen.root, new.root, request.proof)
        except ProofError as error:
            raise Refused(422, str(error.flaw), evidence=NO_EXTENSION) from None

"""The rules of a witness: its answer to add-checkpoint (C2SP tlog-witness; the table is in docs/operate/witnesses.md).

The checks, in this order, with the status if one fails: the request can be read, 400; its log is known, 404; the log
signed it, 403; the old size is not above the new one, 400; the old size is the one cosigned last, 409; the tree is the
same or extends that one, 409 or 422. Then the state advances, durably, and after that the cosignature is made: a crash
in between costs the caller a second request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from api.witness.store import Seen, WitnessStore
from ledger.proof.tlog.checkpoint import (
    Checkpoint,
    CheckpointError,
    SignedCheckpoint,
    open_checkpoint,
    parse_checkpoint,
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


class Witness:
    """Cosign for the logs with these keys. The name of a key is the log; a log may have several keys."""

    def __init__(
        self,
        key: WitnessSigningKey,
        logs: Sequence[VerifierKey],
        store: WitnessStore,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self._key = key
        self._logs = {log.name: [key for key in logs if key.name == log.name] for log in logs}
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

    def _opened(self, request: AddCheckpoint) -> SignedCheckpoint:
        """Return the checkpoint, which its log must have signed. Raises Refused."""
        try:
            origin = parse_checkpoint(parse(request.checkpoint).text).origin
            keys = self._logs.get(origin)
            if keys is None:
                raise Refused(404, "this log is not witnessed here")
            signed = open_checkpoint(request.checkpoint, origin, keys)
        except CheckpointError as error:
            raise Refused(400, str(error.flaw)) from None
        except NoteError as error:
            raise Refused(403 if error.flaw in UNVERIFIED else 400, str(error.flaw)) from None
        if request.old_size > signed.checkpoint.size:
            raise Refused(400, "the old size is above that of the checkpoint")
        return signed

    def _keep(self, refused: Refused, signed: SignedCheckpoint, note: bytes) -> None:
        if refused.evidence is not None:
            origin, size = signed.checkpoint.origin, signed.checkpoint.size
            log.warning("%s: a checkpoint of %d is refused and kept: %s", origin, size, refused.evidence)
            self.store.keep_refused(origin, refused.evidence, signed.text, note)


def _request(body: bytes) -> AddCheckpoint:
    try:
        return parse_request(body)
    except RequestError as error:
        raise Refused(400, str(error.flaw)) from None


def _check(request: AddCheckpoint, new: Checkpoint, seen: Seen | None) -> None:
    """Raises Refused unless the checkpoint fits what was seen."""
    known = 0 if seen is None else seen.size
    split = seen is not None and new.size == known and new.root != seen.root
    if request.old_size != known or split:
        raise Refused(409, str(known), SIZE, SPLIT if split else None)
    if known == 0 or seen is None:
        if request.proof:
            raise Refused(422, "a request from size 0 needs no proof, and has proof lines")
    else:
        try:
            check_consistency(known, new.size, seen.root, new.root, request.proof)
        except ProofError as error:
            raise Refused(422, str(error.flaw), evidence=NO_EXTENSION) from None

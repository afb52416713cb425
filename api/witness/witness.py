"""What a witness answers to add-checkpoint (C2SP tlog-witness; docs/operate/witnesses.md has the table of answers).

In this order: the request can be read, 400; its log is known, 404; the log signed it, 403; the old size is not above
the new one, 400; it is the one cosigned last, 409; the tree is the same or extends that one, 409 or 422. Then what was
seen moves on, durably, and the cosignature is made after that: a crash in between costs the caller a second request.
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
from ledger.proof.tlog.cosignature import AddCheckpoint, RequestError, WitnessSigningKey, parse_request
from ledger.proof.tlog.merkle import ProofError, check_consistency
from ledger.proof.tlog.note import Note, NoteError, NoteFlaw, VerifierKey, parse

log = logging.getLogger(__name__)

TEXT = "text/plain; charset=utf-8"
SIZE = "text/x.tlog.size"

# Why a note that a log signed is kept.
SPLIT = "another tree of the same size"
NO_EXTENSION = "not shown to extend what was seen"

# Signed or not as it may be, it cannot be read: that is 400 and not 403.
UNVERIFIED = {NoteFlaw.UNSIGNED, NoteFlaw.BAD_SIGNATURE}


class Reply(NamedTuple):
    """An answer, as HTTP has it."""

    status: int
    body: str
    kind: str = TEXT


class Refused(Exception):
    """The request is not cosigned. `evidence`: why the note is kept, if it is."""

    def __init__(self, status: int, body: str, kind: str = TEXT, evidence: str | None = None) -> None:
        super().__init__(body)
        self.reply = Reply(status, body + "\n", kind)
        self.evidence = evidence


class Witness:
    """Cosigns for the logs whose keys it has; a log is the name of its key, and may have several keys."""

    def __init__(
        self,
        key: WitnessSigningKey,
        logs: Sequence[VerifierKey],
        store: WitnessStore,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self._key = key
        self._logs = {one.name: [each for each in logs if each.name == one.name] for one in logs}
        self._clock = clock

    def add_checkpoint(self, body: bytes) -> Reply:
        """The answer to a request with this body. Raises StoreUnavailable; nothing is cosigned then."""
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
            # Read while nobody else can move the state, and never before the last, also where the clock has stepped
            # back: a later time never stands on a smaller tree.
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
        """The checkpoint, signed by its log. Raises Refused."""
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
    """Whether the checkpoint fits what was seen. Raises Refused."""
    known = 0 if seen is None else seen.size
    split = seen is not None and new.size == known and new.root != seen.root
    if request.old_size != known or split:
        raise Refused(409, str(known), SIZE, SPLIT if split else None)
    if known == 0 or seen is None:
        if request.proof:
            raise Refused(422, "nothing is proved from size 0, and there are proof lines")
    else:
        try:
            check_consistency(known, new.size, seen.root, new.root, request.proof)
        except ProofError as error:
            raise Refused(422, str(error.flaw), evidence=NO_EXTENSION) from None

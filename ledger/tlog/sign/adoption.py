"""Record a person's decision about the checkpoint from which the signer continues."""

from __future__ import annotations

from dataclasses import dataclass
from time import time_ns

from ledger.proof.tlog.checkpoint import Checkpoint
from ledger.store.envelope import Actor, NewEvent, encode, uuid7
from ledger.store.recorder import NOTHING, Recorder
from ledger.tlog.sign.state_file import Signed
from schema.events import LogCheckpointAdopted

STREAM = "policy-log-checkpoint"


@dataclass(frozen=True)
class Adoption:
    """The checkpoint to continue from, the person who decided it, and the reason.

    `give_up` is the size of the checkpoint in the state file, if the database cannot continue from that one.
    `replace_damaged` gives up a damaged state file, and with it all that was signed later.
    """

    checkpoint: Checkpoint
    actor: Actor
    reason: str
    give_up: int | None = None
    replace_damaged: bool = False

    def parameters(self, given_up: Signed | None, recorder: Recorder | None) -> list[object]:
        """Return the parameters of adopt_checkpoint(). Raises InvalidEvent."""
        event = LogCheckpointAdopted(
            size=self.checkpoint.size,
            root=self.checkpoint.root.hex(),
            given_up_size=None if given_up is None else given_up.size,
            given_up_root=None if given_up is None else given_up.root.hex(),
            reason=self.reason,
        )
        line = encode(NewEvent(uuid7(), STREAM, event, self.actor))
        [reason] = line.sealed
        attested = NOTHING if recorder is None else recorder.attest([line])
        return [line.head, line.id, line.schema, reason.salt, reason.value, time_ns() // 1000, *attested.values()]

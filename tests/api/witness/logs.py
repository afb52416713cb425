"""A log in memory that a witness is shown, and the requests that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from api.witness.witness import LogKeys, parse_logs
from ledger.proof.tlog.checkpoint import Checkpoint
from ledger.proof.tlog.merkle import Node, consistency_proof, leaf_hash, root_of
from ledger.proof.tlog.note import VerifierKey
from ledger.tlog.add_checkpoint import AddCheckpoint
from ledger.tlog.signing_keys import SigningKey, sign_checkpoint

ORIGIN = "ledger.example/test"


def logs_of(*keys: VerifierKey) -> LogKeys:
    """The logs that have these keys, with the names of the keys as origins."""
    return parse_logs([key.text for key in keys])


class Log:
    """A tree of `size` leaves that tells its history from leaf `fork` on otherwise than others with its key do."""

    def __init__(self, key: SigningKey, size: int = 64, *, fork: int | None = None) -> None:
        self.key = key
        self.leaves = [
            leaf_hash(sha256(b"%d %d" % (nth, fork is not None and nth >= fork)).digest()) for nth in range(size)
        ]

    def root(self, size: int) -> bytes:
        """The root at this size."""
        return root_of(self.leaves[:size])

    def proof(self, old: int, new: int) -> tuple[bytes, ...]:
        """Return the consistency proof; empty if none is needed."""
        if old in {0, new}:
            return ()

        def read(nodes: Sequence[Node]) -> list[bytes]:
            return [root_of(self.leaves[node.index << node.level : (node.index + 1) << node.level]) for node in nodes]

        return tuple(consistency_proof(old, new, read))

    def note(self, size: int) -> bytes:
        """The signed checkpoint."""
        return sign_checkpoint(Checkpoint(self.key.verifier.name, size, self.root(size)), self.key).encode()

    def request(self, old: int, new: int) -> bytes:
        """The body of add-checkpoint."""
        return AddCheckpoint(old, self.proof(old, new), self.note(new)).encode()

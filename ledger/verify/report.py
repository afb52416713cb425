"""Hold the result of verifying a ledger, and the claims that remain unproven."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.proof.acts.checker import ActsReport
from ledger.proof.findings import Finding, Verdict
from ledger.verify.stream_heads import HeadsChecked

NO_KEY = (
    "a rewrite of the events and of their checkpoints is not detectable without a trusted checkpoint and the key that"
    " signed it"
)
BY_TREE = (
    "that the database still has the content of the events up to position {}: they were not read, as --only-new was"
    " given; the tree over their hashes is that of the trusted checkpoint"
)
ANYBODY = (
    "that the actor of an event did what it says: who records can record in any name; without recording keys, that is"
    " any login with the database's right to append"
)


@dataclass(frozen=True)
class Covered:
    """Count the events from position 1 on that a checkpoint covers and matches; 0 without such a checkpoint.

    `trusted`: by a checkpoint that was given to the verifier, or that a trusted witness cosigned. `signed`: by any
    checkpoint that a trusted key signed.
    """

    trusted: int = 0
    signed: int = 0

    @property
    def size(self) -> int:
        """Return the number of events that a trusted key signed."""
        return max(self.trusted, self.signed)

    def not_proven(self, last: int) -> str:
        """Return the claim that checkpoints leave unproven, for a chain that ends at position `last`."""
        if self.size < last:
            return (
                f"no trusted checkpoint covers positions {self.size + 1} to {last}: a rewrite of these"
                " with recomputed hashes is not detectable"
            )
        if self.trusted < last:
            return (
                f"that no events and checkpoints after position {self.trusted} were deleted, or signed twice by the"
                " holder of the key: a checkpoint that was kept elsewhere proves that"
            )
        return "that others are shown the same history: witnesses prove that"


@dataclass(frozen=True)
class ChainReport:
    """The result of a verification. Positions are 0 and `head_hash` is None if there is no event.

    `opened` counts sealed values that open their commitment, `erased` those that are gone and that an event says were
    erased. `more` counts findings beyond the first MOST_FINDINGS, which are not classified. `checkpoints` counts the
    database's own that were compared with the events, `tiles` its full tiles. `covered` is None if no key is trusted.
    `heads` counts the records of where streams end that were computed again. Events up to `by_tree` were not read: a
    trusted checkpoint covers them, and the stored tree is the checkpoint's.
    """

    origin: str | None
    events: int
    first_position: int
    last_position: int
    head_hash: bytes | None
    opened: int
    erased: int
    findings: tuple[Finding, ...]
    more: int
    checkpoints: int = 0
    tiles: int = 0
    covered: Covered | None = None
    acts: ActsReport = field(default_factory=ActsReport)
    heads: HeadsChecked = field(default_factory=HeadsChecked)
    by_tree: int = 0
    # The number of erased values, by the id of the erasure.
    erasures: tuple[tuple[int, int], ...] = ()

    @property
    def not_proven(self) -> tuple[str, ...]:
        """Return the claims that this verification leaves unproven."""
        history = NO_KEY if self.covered is None else self.covered.not_proven(self.last_position)
        by_tree = [BY_TREE.format(self.by_tree)] if self.by_tree else []
        return (history, *by_tree, ANYBODY, *self.acts.not_proven, *self.heads.not_proven)

    @property
    def ok(self) -> bool:
        """Return True if everything that was checked holds."""
        return not self.findings and not self.more

    @property
    def verdict(self) -> Verdict:
        """Return the verdict. Events count as verified only with a signature by a trusted key."""
        if not self.ok:
            return Verdict.FAILED
        if self.covered is None and self.checkpoints:
            return Verdict.SIGNER_UNKNOWN
        if self.covered is None or not self.covered.size:
            return Verdict.NOT_SIGNED
        whole = self.covered.size >= self.last_position and not self.by_tree
        return Verdict.VERIFIED if whole else Verdict.VERIFIED_IN_PART

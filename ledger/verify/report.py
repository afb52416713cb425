"""The result of verifying a ledger, and what remains unproven."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.proof.findings import Finding, Verdict

NO_KEY = (
    "a rewrite of the events and of their checkpoints is not detectable without a trusted checkpoint and the key that"
    " signed it"
)
ANYBODY = (
    "that the actor of an event did what it says: a login with the database's right to append can append in any name"
)


@dataclass(frozen=True)
class Covered:
    """The number of events, from the first on, that a checkpoint covers and matches; 0 without such a checkpoint.

    `trusted`: a checkpoint that was given to the verifier, or that a trusted witness cosigned. `signed`: any that a
    trusted key signed.
    """

    trusted: int = 0
    signed: int = 0

    @property
    def size(self) -> int:
        """The number of events that a trusted key signed."""
        return max(self.trusted, self.signed)

    def not_proven(self, last: int) -> str:
        """The claim that checkpoints leave unproven, for a chain that ends at position `last`."""
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
    database's own that were compared with the events. `covered` is None if no key is trusted.
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
    covered: Covered | None = None

    @property
    def not_proven(self) -> tuple[str, ...]:
        """The claims that this verification leaves unproven."""
        return (NO_KEY if self.covered is None else self.covered.not_proven(self.last_position), ANYBODY)

    @property
    def ok(self) -> bool:
        """True if everything that was checked holds."""
        return not self.findings and not self.more

    @property
    def verdict(self) -> Verdict:
        """The result in words. Only a signature by a trusted key makes events verified."""
        if not self.ok:
            return Verdict.FAILED
        if self.covered is None and self.checkpoints:
            return Verdict.SIGNER_UNKNOWN
        if self.covered is None or not self.covered.size:
            return Verdict.NOT_SIGNED
        return Verdict.VERIFIED if self.covered.size >= self.last_position else Verdict.VERIFIED_IN_PART

"""The result of verifying a ledger, and what remains unproven."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.proof.findings import Finding

NOT_PROVEN = (
    "a rewrite of the whole suffix with recomputed hashes is not detectable without a trusted checkpoint; none was "
    "given"
)


@dataclass(frozen=True)
class Covered:
    """The number of events, from the first on, that a checkpoint covers and matches; 0 without such a checkpoint.

    `trusted`: a checkpoint that was given to the verifier, or that a trusted witness cosigned. `signed`: any that a
    trusted key signed.
    """

    trusted: int = 0
    signed: int = 0

    def not_proven(self, last: int) -> str:
        """The claim that checkpoints leave unproven, for a chain that ends at position `last`."""
        if not self.trusted:
            return NOT_PROVEN
        if self.trusted < last:
            return (
                f"no trusted checkpoint covers positions {self.trusted + 1} to {last}: a rewrite of these"
                " with recomputed hashes is not detectable"
            )
        return "that others are shown the same history: witnesses prove that"


@dataclass(frozen=True)
class ChainReport:
    """The result of a verification. Positions are 0 and `head_hash` is None if there is no event.

    `opened` counts sealed values that open their commitment, `erased` those that are gone. `more` counts findings
    beyond the first MOST_FINDINGS, which are not classified. `covered` is None if no checkpoint was compared.
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
    covered: Covered | None = None

    @property
    def not_proven(self) -> str:
        """The claim that this verification leaves unproven."""
        return NOT_PROVEN if self.covered is None else self.covered.not_proven(self.last_position)

    @property
    def ok(self) -> bool:
        """True if everything that was checked holds."""
        return not self.findings and not self.more

"""Base class of all errors about evidence: notes, proofs, tiles, bundles."""

from __future__ import annotations

from enum import StrEnum


class EvidenceError(Exception):
    """Malformed or false evidence. `flaw` names the reason; the message adds the detail."""

    def __init__(self, flaw: StrEnum, detail: str) -> None:
        super().__init__(f"{flaw}: {detail}")
        self.flaw = flaw

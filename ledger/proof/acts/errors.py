"""Errors for signed acts and registrations of keys that do not hold: docs/formats/signed-acts.md, section 6."""

from __future__ import annotations

from enum import StrEnum

from ledger.proof.errors import EvidenceError


class ActFlaw(StrEnum):
    """The names of the flaws. Findings and refusals of the server have the same names."""

    KEY = "signature-key"
    COVERS = "signature-covers"
    ENCODING = "signature-encoding"
    CHALLENGE = "signature-challenge"
    ORIGIN = "signature-origin"
    DEVICE = "signature-device"
    INVALID = "signature-invalid"
    REPEATED = "signature-repeated"


class ActError(EvidenceError):
    """The signature does not show that its subject did this. `flaw` names the reason."""

    flaw: ActFlaw

    def __init__(self, flaw: ActFlaw, detail: str) -> None:
        super().__init__(flaw, detail)
        self.detail = detail

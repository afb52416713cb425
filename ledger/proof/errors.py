"""Base class of all errors about evidence: notes, proofs, tiles, bundles."""

from __future__ import annotations

from enum import StrEnum

import orjson


class EvidenceError(Exception):
    """Malformed or false evidence. `flaw` names the reason; the message adds the detail."""

    def __init__(self, flaw: StrEnum, detail: str) -> None:
        super().__init__(f"{flaw}: {detail}")
        self.flaw = flaw


def malformation(error: Exception) -> str:
    """Describe why JSON lacks the expected members, from the exception that reading them raised."""
    match error:
        case KeyError(args=[str(name)]):
            return f"the member {name[:60]!a} is missing"
        case TypeError() | LookupError() | AttributeError():
            return "a member of another type than it must have"
        case orjson.JSONDecodeError():
            return "not JSON"
    return ascii(str(error))[1:-1][:200]

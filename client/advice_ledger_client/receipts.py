"""Places in the chain, and the part of a model call that exceptions refer to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Receipt:
    """The place of a write in the chain: its position, its hash, and the path to read it at."""

    position: int
    hash: str
    location: str


@dataclass(frozen=True)
class CallReceipt:
    """The place of a model call in the chain. `ended` is None until the end is recorded."""

    model_call_id: int
    started: Receipt
    ended: Receipt | None = None


class UnrecordedCall(Protocol):
    """A model call that NotRecorded is about. `result` has the arguments of complete(), if it was called."""

    request_id: int
    result: dict[str, Any] | None
    receipt: CallReceipt | None

    @property
    def model_call_id(self) -> int:
        """The call's id in the ledger. Raises NotRecorded if the start is not recorded."""

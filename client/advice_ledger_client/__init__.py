from typing import TYPE_CHECKING, Any

from advice_ledger_client.async_client import AsyncLedgerClient, AsyncModelCall
from advice_ledger_client.client import LedgerClient, SyncModelCall
from advice_ledger_client.errors import (
    AlreadyEntered,
    ClientError,
    ContentMismatch,
    LedgerProblem,
    NotCanonical,
    NotCompleted,
    NotRecorded,
    NotYet,
    RequestFailed,
    SigningError,
    Unreachable,
)
from advice_ledger_client.model_call import CallStart, ModelCall
from advice_ledger_client.receipts import CallReceipt, Receipt
from advice_ledger_client.results import (
    Confirmed,
    Context,
    Decided,
    Ended,
    Outcome,
    Queued,
    RecommendationAfter,
    Recommended,
    Row,
    Written,
)

if TYPE_CHECKING:
    from advice_ledger_client.signing import SigningKey

__all__ = [
    "AlreadyEntered",
    "AsyncLedgerClient",
    "AsyncModelCall",
    "CallReceipt",
    "CallStart",
    "ClientError",
    "Confirmed",
    "ContentMismatch",
    "Context",
    "Decided",
    "Ended",
    "LedgerClient",
    "LedgerProblem",
    "ModelCall",
    "NotCanonical",
    "NotCompleted",
    "NotRecorded",
    "NotYet",
    "Outcome",
    "Queued",
    "Receipt",
    "RecommendationAfter",
    "Recommended",
    "RequestFailed",
    "Row",
    "SigningError",
    "SigningKey",
    "SyncModelCall",
    "Unreachable",
    "Written",
]


def __getattr__(name: str) -> Any:
    """Load the module that signs on first use, because most callers do not sign."""
    if name == "SigningKey":
        from advice_ledger_client.signing import SigningKey  # noqa: PLC0415

        return SigningKey
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

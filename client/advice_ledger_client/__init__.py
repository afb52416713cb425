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
    "SyncModelCall",
    "Unreachable",
    "Written",
]

from advice_ledger_client.calls import CallReceipt, ModelCall
from advice_ledger_client.clients import AsyncLedgerClient, AsyncModelCall, LedgerClient, SyncModelCall
from advice_ledger_client.errors import (
    AlreadyEntered,
    ClientError,
    LedgerProblem,
    NotCompleted,
    NotRecorded,
    NotYet,
    RequestFailed,
    Unreachable,
)
from advice_ledger_client.operations import Confirmed, Context, Decided, Queued, Receipt, Recommended, Standing, Written

__all__ = [
    "AlreadyEntered",
    "AsyncLedgerClient",
    "AsyncModelCall",
    "CallReceipt",
    "ClientError",
    "Confirmed",
    "Context",
    "Decided",
    "LedgerClient",
    "LedgerProblem",
    "ModelCall",
    "NotCompleted",
    "NotRecorded",
    "NotYet",
    "Queued",
    "Receipt",
    "Recommended",
    "RequestFailed",
    "Standing",
    "SyncModelCall",
    "Unreachable",
    "Written",
]

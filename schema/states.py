"""The states of requests, recommendations, decisions and model calls.

Recorded events do not carry states. `ledger/domain/` computes them from the events for commands, and
`projections/*/fold.sql` for reads.
"""

from __future__ import annotations

from enum import StrEnum


class RequestState(StrEnum):
    """The state of a request. HTTP and the read model call it `status`."""

    QUEUED = "queued"
    RECOMMENDED = "recommended"
    FAILED = "failed"


class RecommendationState(StrEnum):
    """The state of a recommendation. `returned`: the advisor responded to the agent with a remark."""

    PROPOSED = "proposed"
    WAITING = "waiting"
    APPROVED = "approved"
    EDITED = "edited"
    REJECTED = "rejected"
    RETURNED = "returned"
    COMMUNICATED = "communicated"
    SUPERSEDED = "superseded"


class DecisionState(StrEnum):
    """The state of a decision: in force, waiting for a confirmation, or declined by the confirmer."""

    EFFECTIVE = "effective"
    WAITING = "waiting"
    DECLINED = "declined"


class ModelCallState(StrEnum):
    """The state of a model call. An open call without a recorded end is an orphan."""

    OPEN = "open"
    COMPLETED = "completed"
    FAILED = "failed"

"""The states of requests, recommendations, decisions, model calls, alerts, deliveries, changes, holds and jobs.

Recorded events do not carry states. `ledger/domain/` computes them from the events for commands, and
`projections/*/fold.sql` for reads. Jobs are no part of the chain: the database's functions keep their state.
"""

from __future__ import annotations

from enum import StrEnum


class RequestState(StrEnum):
    """The state of a request. HTTP and the read model call it `status`."""

    QUEUED = "queued"
    RECOMMENDED = "recommended"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"


class RecommendationState(StrEnum):
    """The state of a recommendation. `returned`: the advisor responded to the agent; `withdrawn`: its request is."""

    PROPOSED = "proposed"
    WAITING = "waiting"
    APPROVED = "approved"
    EDITED = "edited"
    REJECTED = "rejected"
    RETURNED = "returned"
    COMMUNICATED = "communicated"
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"


class DecisionState(StrEnum):
    """The state of a decision: in force, waiting for a confirmation, or ended in one of four ways."""

    EFFECTIVE = "effective"
    WAITING = "waiting"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"
    EXPIRED = "expired"


class ModelCallState(StrEnum):
    """The state of a model call. An open call without a recorded end is an orphan."""

    OPEN = "open"
    COMPLETED = "completed"
    FAILED = "failed"


class AlertState(StrEnum):
    """How an alert is handled. Its condition and what people were told are other matters."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    ACTION_PROPOSED = "action-proposed"
    CLOSED = "closed"


class ChangeState(StrEnum):
    """The state of a proposed change of a subject. `outdated`: the subject changed before an answer."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    DECLINED = "declined"
    OUTDATED = "outdated"
    EXPIRED = "expired"


class ExportState(StrEnum):
    """The state of an export: what its stream says. How far its job is, the job says."""

    REQUESTED = "requested"
    COMPLETED = "completed"
    FAILED = "failed"


class JobState(StrEnum):
    """The state of a job. The last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class DeliveryState(StrEnum):
    """The state of a message to an endpoint. `failed`: it was given up; a person may have it sent again."""

    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    WITHHELD = "withheld"
    FAILED = "failed"


class LegalHoldState(StrEnum):
    """The state of a legal hold."""

    ACTIVE = "active"
    RELEASED = "released"


class ErasureState(StrEnum):
    """The state of an erasure of a client. `refused`: a hold or the retention policy forbids it."""

    WAITING = "waiting"
    REFUSED = "refused"
    DECLINED = "declined"
    EXPIRED = "expired"
    ERASED = "erased"


class ReviewItemState(StrEnum):
    """The state of an item of a sample. `finding`: it was reviewed, and there is a finding since it was chosen."""

    OPEN = "open"
    REVIEWED = "reviewed"
    FINDING = "finding"


class FindingState(StrEnum):
    """The state of a finding of a reviewer."""

    OPEN = "open"
    CLOSED = "closed"

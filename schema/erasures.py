"""Events about the erasure of a client's sealed values, in the stream `client-N` of the client.

An erasure is requested by one subject and confirmed by another one. The confirmation is the erasure: `client.erased` is
recorded in the transaction that deletes the values, with `values.erased` in each other stream of the client. A value of
a stream may be missing if an event of these two types stands behind it in the same stream, and not otherwise.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from schema.clients import ClientNumber
from schema.event_base import Event
from schema.fields import Code, Count, Digest, Position, Rationale, Sealed
from schema.subjects import Moment

ErasureReason = Literal["client-request", "retention-over", "recorded-in-error", "authority-order"]
# A number of a ticket or letter: it stays in clear for good, so it has no room for words about anybody.
Reference = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9][A-Z0-9./-]{0,39}$")]
# The name of a table of the ledger.
TableName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$")]


class Forbidden(BaseModel):
    """Why an erasure is not possible now: legal holds that stand, and retention.

    The records must be kept until the day `kept_until`, and may be erased from `possible_from` on, if no hold stands
    then. `retention_class` is the class of the policy that says so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    holds: Annotated[list[Position], Field(min_length=1, max_length=1000)] | None = None
    kept_until: Day | None = None
    possible_from: Moment | None = None
    retention_class: Code | None = None


class RequestErasure(BaseModel):
    """The request to erase the sealed values of a client."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: ErasureReason
    reference: Reference | None = None
    note: Annotated[Rationale | None, Sealed()] = None


class Reapplied(BaseModel):
    """An erasure that a restore from an older backup undid, and that is done again.

    `event` and `hash` are position and hash of its `client.erased`, in the history that the restore lost. Two subjects
    did it: its certificate shows that, and one subject may do it again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: Position
    hash: Digest
    requested_by: str
    erased_by: str


class ErasureRequested(RequestErasure, Event):
    """Somebody requests the erasure of a client. It waits for another subject until `expires_at`.

    With `forbidden` it is refused, and never done. With `reapplies` it is done again after a restore. `clients` are the
    numbers of all identifiers of the client, and `streams`, `events` and `values` count what there was to erase.
    The position of the event is the erasure's id.
    """

    type = "erasure.requested"
    schema_version = 1

    clients: Annotated[list[ClientNumber], Field(min_length=1, max_length=1000)]
    streams: Count
    events: Count
    values: Count
    forbidden: Forbidden | None = None
    expires_at: Moment | None = None
    reapplies: Reapplied | None = None


class DeclineErasure(BaseModel):
    """The refusal to confirm an erasure, or its withdrawal by whoever requested it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rationale: Annotated[Rationale, Sealed()]


class ErasureDeclined(DeclineErasure, Event):
    """An erasure that waits is not done."""

    type = "erasure.declined"
    schema_version = 1

    erasure_id: Position


class ErasureRefused(Event):
    """Somebody confirmed an erasure that waits, and a hold or the retention policy forbids it: it is not done."""

    type = "erasure.refused"
    schema_version = 1

    erasure_id: Position
    forbidden: Forbidden


class ConfirmErasure(BaseModel):
    """The confirmation of an erasure. It has no members."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ClientErased(ConfirmErasure, Event):
    """The sealed values of a client are deleted, by the request of another subject. Nothing follows in this stream.

    `reason` and `reference` are those of the request, `requested_by` is its subject. `clients` are the numbers of all
    identifiers; `streams` counts the client's streams, this one included, and `values` the deleted values in `events`
    events. Each other stream ends with `values.erased`.
    """

    type = "client.erased"
    schema_version = 1

    erasure_id: Position
    requested_by: str
    reason: ErasureReason
    reference: Reference | None = None
    clients: Annotated[list[ClientNumber], Field(min_length=1, max_length=1000)]
    streams: Count
    events: Count
    values: Count
    reapplies: Reapplied | None = None


class ValuesErased(Event):
    """The sealed values of this stream are deleted with an erasure of its client. Nothing follows in this stream."""

    type = "values.erased"
    schema_version = 1

    erasure_id: Position


class ErasuresScrubbed(Event):
    """The files of the database that held values of erased clients were written anew. In the stream `scrubs`.

    The values of all erasures up to the position `upto` are out of them; those up to `after` were before. `erasures`
    counts the clients between. `tables` are the tables that were written anew, of `bytes` bytes before. Write-ahead
    log, standbys and backups are not among the files.
    """

    type = "erasures.scrubbed"
    schema_version = 1

    after: Count
    upto: Position
    erasures: Count
    tables: Annotated[list[TableName], Field(min_length=1, max_length=10_000)]
    bytes: Count


ERASURE_EVENTS = (ErasureRequested, ErasureDeclined, ErasureRefused, ClientErased, ValuesErased, ErasuresScrubbed)

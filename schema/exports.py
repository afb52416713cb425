"""Events about exports over HTTP, in streams `export-N`: who asked for which evidence, for whom, and what was made.

A stream has the client whose data is exported as its client, if there is one, so that purpose and recipient are erased
with the client.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from schema.clients import Second
from schema.event_base import Event
from schema.fields import ClientId, Code, Count, Digest, Money, Name, Position, Rationale, Sealed

# "all", or the name of a sealed field, alone or behind that of its type of event and a dot.
FieldName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9._-]{0,199}$")]
# A name in the database of time zones, such as Europe/Zurich.
ZoneName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$", max_length=64)]
# At least one letter or digit.
Words = Annotated[Name, StringConstraints(pattern=r"[^\W_]")]
FieldNames = Annotated[list[FieldName], Field(max_length=100)]
FieldState = Literal["disclosed", "withheld", "erased"]


class ExportSearch(BaseModel):
    """The filters of a search of events: all that are given must hold. `client` is the number of a client."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    client: Position | None = None
    type: Name | None = None
    stream: Name | None = None
    actor: Name | None = None
    role: Name | None = None
    model: Name | None = None
    outcome: Name | None = None
    amount_from: Money | None = None
    amount_to: Money | None = None

    @model_validator(mode="after")
    def _some(self) -> ExportSearch:
        if all(value is None for value in dict(self).values()):
            raise PydanticCustomError("no_filter", "Input should have at least one filter")
        return self


class ExportRequest(BaseModel):
    """Which events, which sealed values, for what, for whom. One selection: a client, a request, a search or a range.

    A range has positions, or times of recording: from `recorded_from` on and before `recorded_to`. An end that is left
    out is that of the ledger, as of the request. A client may have times of acts, from `occurred_from` on and before
    `occurred_to`: what took place with the client then, and what it refers to. A search may have positions and times of
    acts: it finds events in both. An imported act took place when its source says, others when they were recorded.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The number of a client: all its streams.
    client: Position | None = None
    request: Position | None = None
    # The streams with an event that the search finds, and what they refer to. `text` has the words of a search, which
    # may be personal.
    search: ExportSearch | None = None
    text: Annotated[Words | None, Sealed()] = None
    position_from: Position | None = None
    position_to: Position | None = None
    recorded_from: Second | None = None
    recorded_to: Second | None = None
    occurred_from: Second | None = None
    occurred_to: Second | None = None
    # The default is all for a client or a request, and nothing for a range.
    disclose: FieldNames | None = None
    withhold: FieldNames | None = None
    # The time zone of local times in the case file; UTC if it is absent.
    zone: ZoneName | None = None
    purpose: Annotated[Rationale, Sealed()]
    recipient: Annotated[Name, Sealed()]

    @property
    def positions(self) -> bool:
        """True if the selection is a range of positions."""
        return self.position_from is not None or self.position_to is not None

    @property
    def times(self) -> bool:
        """True if the selection is a range of times of recording."""
        return self.recorded_from is not None or self.recorded_to is not None

    @property
    def window(self) -> bool:
        """True if it is about what took place within a window of time."""
        return self.occurred_from is not None or self.occurred_to is not None

    @property
    def searched(self) -> bool:
        """True if the selection is what a search finds."""
        return self.search is not None or self.text is not None

    @model_validator(mode="after")
    def _one_selection(self) -> ExportRequest:
        kinds = [self.client is not None, self.request is not None, self.searched]
        if [*kinds, self.positions and not self.searched, self.times].count(True) != 1:
            raise PydanticCustomError(
                "one_selection",
                "Input should have one selection: client, request, search, positions, or recorded_from and recorded_to",
            )
        if self.window and not (self.client is not None or self.searched):
            raise PydanticCustomError(
                "no_window", "Input should have client or search with occurred_from or occurred_to"
            )
        if (self.position_from or 1) > (self.position_to or 2**53):
            raise PydanticCustomError("reversed", "Input should not have position_from beyond position_to")
        for start, end in ("recorded_from", "recorded_to"), ("occurred_from", "occurred_to"):
            first, last = getattr(self, start), getattr(self, end)
            if first is not None and last is not None and first >= last:
                raise PydanticCustomError("reversed", f"Input should have {end} after {start}")
        return self


class ExportRequested(ExportRequest, Event):
    """Somebody asked for an evidence bundle. Opens the stream `export-N`."""

    type = "export.requested"
    schema_version = 1

    # The identifier of the client whose data is exported, alone or with a request's.
    client_id: Annotated[ClientId | None, Sealed()] = None
    # The last position at that time: a range without an end goes so far.
    upto: Count


class ExportCompleted(Event):
    """The bundle was made: how many events, under which checkpoint, and the SHA-256 of the file."""

    type = "export.completed"
    schema_version = 1

    events: Count
    first_position: Count
    last_position: Count
    # Events of the selection that the checkpoint does not cover.
    excluded: Count
    checkpoint_size: Count
    bytes: Count
    sha256: Digest
    # By event type and field: how many values the bundle discloses, withholds, and how many were erased before.
    fields: Annotated[dict[FieldName, dict[FieldState, Count]], Field(max_length=1000)]
    # The file is deleted then.
    expires_at: Second


class ExportFailed(Event):
    """No bundle was made, for this reason."""

    type = "export.failed"
    schema_version = 1

    reason: Code


EXPORT_EVENTS = (ExportRequested, ExportCompleted, ExportFailed)

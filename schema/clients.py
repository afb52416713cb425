"""Events about clients, in the stream `client-N`. N is the client's number, which identifies nobody.

An identifier of a client is personal, so it is sealed. Each identifier has a number of its own, and at most one: the
database sees to it (schema/functions/record_sealed.sql). An alias is a second identifier, with its own number, that was
merged from the start.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from schema.event_base import Event
from schema.fields import ClientId, Position, Sealed


def _real(value: str) -> str:
    """Refuse a day or time that is in no calendar, such as 30 February."""
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("time", "Input should be a real time") from None
    return value


# The number of a client: that of its stream.
ClientNumber = Position
# Names of subjects and of groups of subjects. They are in clear, so they are pseudonyms.
SubjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._@-]{0,99}$")]
GroupName = SubjectName
# UTC, in whole seconds, and always written in the same way: so texts compare as times do.
Second = Annotated[
    str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", max_length=20), AfterValidator(_real)
]


class _Assignee(Event):
    """A subject or a group: exactly one of both."""

    subject: SubjectName | None = None
    group: GroupName | None = None

    @model_validator(mode="after")
    def _one(self) -> _Assignee:
        if (self.subject is None) == (self.group is None):
            raise PydanticCustomError("one_assignee", "Input should have either `subject` or `group`")
        return self


class ClientRegistered(Event):
    """A client. Opens the stream `client-N`. If `subject` is there, the client is assigned to it from the start."""

    type = "client.registered"
    schema_version = 1

    client_id: Annotated[ClientId, Sealed()]
    subject: SubjectName | None = None


class AddAlias(BaseModel):
    """Another identifier of a client."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_id: Annotated[ClientId, Sealed()]


class ClientAliased(AddAlias, Event):
    """Another identifier of the client `of`. Opens a stream `client-N` of its own, because identifiers are unique."""

    type = "client.aliased"
    schema_version = 1

    of: ClientNumber


class ClientMerged(Event):
    """This client turned out to be the client `into`. Nothing follows in this stream but the release of holds."""

    type = "client.merged"
    schema_version = 1

    into: ClientNumber


class ClientAssigned(_Assignee):
    """The client is assigned to a subject or group, from `since` on and before `until`. Replaces its earlier times."""

    type = "client.assigned"
    schema_version = 1

    since: Second | None = None
    until: Second | None = None

    @model_validator(mode="after")
    def _in_order(self) -> ClientAssigned:
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise PydanticCustomError("reversed", "`until` should be after `since`")
        return self


class ClientUnassigned(_Assignee):
    """The assignment to this subject or group ends now."""

    type = "client.unassigned"
    schema_version = 1


CLIENT_EVENTS = (ClientRegistered, ClientAliased, ClientMerged, ClientAssigned, ClientUnassigned)

"""Subjects and their credentials: who may act. All of it is recorded in the subject's own stream `subject-NAME`.

A subject is a person, an agent or a service. Its name is a pseudonym that events carry as the actor's id, so it holds
no personal data and is never used for somebody else. Credentials come and go; the subject stays.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from schema.event_base import Event
from schema.fields import Code, Digest, JsonObject, Name, Position, Rationale, Sealed, Timestamp

# A name that ends with "-" would name a category of streams.
SUBJECT_PATTERN = r"^[a-z0-9]([a-z0-9._@-]{0,98}[a-z0-9._@])?$"


def _real(moment: str) -> str:
    """Refuse days and hours that do not exist."""
    try:
        datetime.fromisoformat(moment)
    except ValueError:
        raise PydanticCustomError("moment", "Input should be a day and an hour that exist") from None
    return moment


SubjectName = Annotated[str, StringConstraints(pattern=SUBJECT_PATTERN)]
GroupName = Code
Moment = Annotated[Timestamp, AfterValidator(_real)]
# Counts the credentials and signing keys of one subject: 1, 2, 3 …
CredentialNumber = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
# The N of the stream `client-N`.
ClientNumber = Annotated[int, Field(strict=True, ge=1, le=2**53 - 1)]
SubjectKind = Literal["human", "agent", "service"]


class SubjectRegistered(Event):
    """A subject exists from now on. Its stream may have suspensions before this, and nothing else."""

    type = "subject.registered"
    schema_version = 1

    kind: SubjectKind
    display_name: Annotated[Name | None, Sealed()] = None


class SubjectRoleGranted(Event):
    """The subject may act in a role. A later grant of the same role replaces `until` and `clients`.

    `clients` limits the role to these clients, by number; absent, the access policy alone decides.
    """

    type = "subject.role-granted"
    schema_version = 1

    role: Code
    until: Moment | None = None
    clients: Annotated[list[ClientNumber], Field(max_length=1000)] | None = None


class SubjectRoleRevoked(Event):
    """The subject may no longer act in a role."""

    type = "subject.role-revoked"
    schema_version = 1

    role: Code
    reason: Annotated[Rationale | None, Sealed()] = None


class SubjectSuspended(Event):
    """The ledger takes nothing from this subject until it is resumed, whatever its roles and credentials."""

    type = "subject.suspended"
    schema_version = 1

    reason: Annotated[Rationale, Sealed()]


class SubjectResumed(Event):
    """The suspension of a subject ends."""

    type = "subject.resumed"
    schema_version = 1

    reason: Annotated[Rationale, Sealed()]


class SubjectGroupJoined(Event):
    """The subject is a member of a group: clients may be assigned to groups."""

    type = "subject.group-joined"
    schema_version = 1

    group: GroupName


class SubjectGroupLeft(Event):
    """The subject is no longer a member of a group."""

    type = "subject.group-left"
    schema_version = 1

    group: GroupName


class IssueToken(BaseModel):
    """A token to issue; with `replaces` it takes the place of another credential."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expires_at: Moment | None = None
    replaces: CredentialNumber | None = None
    replaced_until: Moment | None = None

    @model_validator(mode="after")
    def _grace_of_something(self) -> Self:
        if self.replaced_until is not None and self.replaces is None:
            raise PydanticCustomError("credential", "replaced_until goes with replaces")
        return self


class RegisterIdentity(BaseModel):
    """An identity at an OpenID Connect provider: `identity` is the value of `sub` there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: Name | None = None
    identity: Name
    expires_at: Moment | None = None


class CredentialIssued(IssueToken, Event):
    """The subject can sign in with one more credential: a token, or an identity at an OpenID Connect provider.

    A token is 256 random bits, so its SHA-256 may stand here in clear. `replaces` names a credential that this one
    takes the place of: it ends at `replaced_until`, or at once.
    """

    type = "credential.issued"
    schema_version = 1

    credential: CredentialNumber
    kind: Literal["token", "oidc"]
    sha256: Digest | None = None
    issuer: Name | None = None
    identity: Annotated[Name | None, Sealed()] = None

    @model_validator(mode="after")
    def _one_kind(self) -> CredentialIssued:
        members = (self.sha256 is not None, self.issuer is not None, self.identity is not None)
        if members != {"token": (True, False, False), "oidc": (False, True, True)}[self.kind]:
            raise PydanticCustomError("credential", "a token has sha256, an oidc credential has issuer and identity")
        return self


class CredentialRevoked(Event):
    """A credential or signing key of the subject is good for nothing any more."""

    type = "credential.revoked"
    schema_version = 1

    credential: CredentialNumber
    reason: Annotated[Rationale | None, Sealed()] = None


class SubjectChangeProposed(Event):
    """An administrator proposes a change of the subject. It takes effect if another one confirms it in time.

    `change` is the type of the event to record, `members` its members in clear, and the sealed members here are its
    sealed ones. There is no token in it: a token is made when the change is confirmed. Its position is the change's id.
    """

    type = "subject.change-proposed"
    schema_version = 1

    change: Literal[
        "subject.registered",
        "subject.role-granted",
        "subject.resumed",
        "subject.group-joined",
        "subject.group-left",
        "credential.issued",
    ]
    members: JsonObject
    display_name: Annotated[Name | None, Sealed()] = None
    reason: Annotated[Rationale | None, Sealed()] = None
    identity: Annotated[Name | None, Sealed()] = None
    expires_at: Moment


class ConfirmChange(BaseModel):
    """The confirmation of a proposed change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rationale: Annotated[Rationale | None, Sealed()] = None


class SubjectChangeConfirmed(ConfirmChange, Event):
    """Another administrator confirms a proposed change. The events of the change are recorded with this one."""

    type = "subject.change-confirmed"
    schema_version = 1

    change_id: Position


class DeclineChange(BaseModel):
    """The refusal to confirm a proposed change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rationale: Annotated[Rationale, Sealed()]


class SubjectChangeDeclined(DeclineChange, Event):
    """An administrator declines a proposed change, which then has no effect."""

    type = "subject.change-declined"
    schema_version = 1

    change_id: Position


SUBJECT_EVENTS = (
    SubjectRegistered,
    SubjectRoleGranted,
    SubjectRoleRevoked,
    SubjectSuspended,
    SubjectResumed,
    SubjectGroupJoined,
    SubjectGroupLeft,
    CredentialIssued,
    CredentialRevoked,
    SubjectChangeProposed,
    SubjectChangeConfirmed,
    SubjectChangeDeclined,
)

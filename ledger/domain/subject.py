"""Fold the state of a subject from its own stream `subject-NAME`: its kind, roles and credentials. Pure.

    (nothing) --subject.registered--> registered
    acting    --subject.suspended---> suspended --subject.resumed--> acting

This is what decides who may act. The read models `subjects` and `credentials` are an index to it and are not believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ledger.domain.client_scope import ClientScope
from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.errors import Refused, StreamUnreadable

CATEGORY = "subject-"
AGENT = "agent"
ROLES = ("advisor", "compliance", "auditor", AGENT, "admin")
# The role that is always granted until a time and for a list of clients.
EXAMINER = "examiner"
ALL_ROLES = (*ROLES, EXAMINER)


@dataclass(frozen=True)
class Grant:
    """A role that a subject has: until a moment, if there is one, and only for some clients, if they are named."""

    role: str
    until: datetime | None = None
    clients: frozenset[int] | None = None


@dataclass(frozen=True)
class Credential:
    """A credential of a subject. `ends_at` is when it expires, or when the grace after its replacement ends."""

    number: int
    kind: str
    sha256: str | None = None
    issuer: str | None = None
    ends_at: datetime | None = None
    revoked: bool = False

    def is_valid(self, now: datetime) -> bool:
        """Return True if the subject can sign in with it."""
        return not self.revoked and (self.ends_at is None or now < self.ends_at)


@dataclass(frozen=True)
class SubjectState:
    """The state of a subject. `kind` is None if it was never registered; `version` is that of the last event."""

    kind: str | None = None
    grants: Mapping[str, Grant] = field(default_factory=dict)
    credentials: Mapping[int, Credential] = field(default_factory=dict)
    groups: frozenset[str] = frozenset()
    suspended: bool = False
    version: int = 0

    @property
    def next_credential(self) -> int:
        """The number of the next credential or signing key."""
        return max(self.credentials, default=0) + 1

    def roles(self, now: datetime) -> frozenset[str]:
        """Return the roles that the subject has at a moment."""
        return frozenset(role for role, grant in self.grants.items() if grant.until is None or now < grant.until)

    def token(self, sha256: str, now: datetime) -> Credential | None:
        """Return the credential whose token has this digest, or None if none is good at that moment."""
        for credential in self.credentials.values():
            if credential.sha256 == sha256 and credential.is_valid(now):
                return credential
        return None


def stream_of(name: str) -> str:
    """Return the name of a subject's own stream."""
    return f"{CATEGORY}{name}"


def fold(history: Iterable[RecordedEvent], former: Iterable[RecordedEvent] = ()) -> SubjectState:
    """Return the state after the events of a subject's stream, in order.

    `former` are the events of the stream `agent-NAME`: earlier versions recorded suspensions of agents there, and these
    keep their effect. Raises StreamUnreadable for an event that lacks what every client sends.
    """
    state = SubjectState()
    for event in sorted([*history, *former], key=lambda event: event.position):
        apply = APPLY.get(event.type)
        if apply is not None:
            try:
                state = apply(state, event)
            except MALFORMED as error:
                raise StreamUnreadable.at(event.stream, event.position) from error
        if event.stream.startswith(CATEGORY):
            state = replace(state, version=event.version)
    return state


def check(state: SubjectState, role: str, credential: int | None, now: datetime) -> None:
    """Check that the subject may act in a role at a moment, with this credential.

    Each command decides whether a suspended agent may act (ledger/domain/request.py): it may still end its calls.
    Raises Refused `unknown-token`, `wrong-role`, `suspended`.
    """
    known = state.credentials.get(credential or 0)
    if state.kind is None or known is None or not known.is_valid(now):
        raise Refused("unknown-token", "the credential was revoked, replaced or has expired: sign in with another")
    if role not in state.roles(now):
        raise Refused("wrong-role", f"the role {role} was revoked, or its time is over")
    if state.suspended and role != AGENT:
        raise Refused("suspended", "this subject is suspended until somebody resumes it")


def scope_of(state: SubjectState, name: str, role: str, assigned: bool, now: datetime) -> ClientScope | None:
    """Return the clients that the subject may act on in a role that it has; None: all.

    `assigned` says that the access policy limits the role to assigned clients.
    """
    listed = state.grants[role].clients
    return ClientScope(name, state.groups, assigned, listed, now) if assigned or listed is not None else None


def moment(text: str | None) -> datetime | None:
    """Return the time that a member of an event says. Raises ValueError, also for a time without a zone."""
    if text is None:
        return None
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError("a time without a zone")
    return time


def _registered(state: SubjectState, event: RecordedEvent) -> SubjectState:
    return replace(state, kind=state.kind or str(event.data["kind"]))


def _granted(state: SubjectState, event: RecordedEvent) -> SubjectState:
    clients = event.data.get("clients")
    grant = Grant(
        str(event.data["role"]), moment(event.data.get("until")), None if clients is None else frozenset(clients)
    )
    return replace(state, grants={**state.grants, grant.role: grant})


def _role_revoked(state: SubjectState, event: RecordedEvent) -> SubjectState:
    return replace(state, grants={role: grant for role, grant in state.grants.items() if role != event.data["role"]})


def _suspended(state: SubjectState, _event: RecordedEvent) -> SubjectState:
    return replace(state, suspended=True)


def _resumed(state: SubjectState, _event: RecordedEvent) -> SubjectState:
    return replace(state, suspended=False)


def _joined(state: SubjectState, event: RecordedEvent) -> SubjectState:
    return replace(state, groups=state.groups | {str(event.data["group"])})


def _left(state: SubjectState, event: RecordedEvent) -> SubjectState:
    return replace(state, groups=state.groups - {str(event.data["group"])})


def _issued(state: SubjectState, event: RecordedEvent) -> SubjectState:
    data = event.data
    number = int(data["credential"])
    if number in state.credentials:  # a number is used once, so that events can tell credentials apart
        return state
    issued = Credential(
        number, str(data["kind"]), data.get("sha256"), data.get("issuer"), moment(data.get("expires_at"))
    )
    credentials = {**state.credentials, number: issued}
    replaced = state.credentials.get(data.get("replaces", 0))
    if replaced is not None:
        credentials[replaced.number] = _replaced(replaced, moment(data.get("replaced_until")))
    return replace(state, credentials=credentials)


def _key_registered(state: SubjectState, event: RecordedEvent) -> SubjectState:
    """Count the key among the credentials. It signs acts, and nobody can sign in with it."""
    number = int(event.data["credential"])
    if number in state.credentials:
        return state
    key = Credential(number, "signing-key", ends_at=moment(event.data.get("expires_at")))
    return replace(state, credentials={**state.credentials, number: key})


def _replaced(credential: Credential, until: datetime | None) -> Credential:
    if until is None:
        return replace(credential, revoked=True)
    return replace(credential, ends_at=until if credential.ends_at is None else min(credential.ends_at, until))


def _credential_revoked(state: SubjectState, event: RecordedEvent) -> SubjectState:
    credential = state.credentials.get(event.data["credential"])
    if credential is None:
        return state
    return replace(state, credentials={**state.credentials, credential.number: replace(credential, revoked=True)})


APPLY: dict[str, Callable[[SubjectState, RecordedEvent], SubjectState]] = {
    "subject.registered": _registered,
    "subject.role-granted": _granted,
    "subject.role-revoked": _role_revoked,
    "subject.suspended": _suspended,
    "subject.resumed": _resumed,
    "subject.group-joined": _joined,
    "subject.group-left": _left,
    "credential.issued": _issued,
    "credential.revoked": _credential_revoked,
    "signing-key.registered": _key_registered,
    # As earlier versions recorded them, in the stream `agent-NAME`.
    "agent.suspended": _suspended,
    "agent.resumed": _resumed,
}

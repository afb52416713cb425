"""Commands of administrators about subjects: register, roles, suspension, groups, credentials.

Each function takes the state of the subject and returns the events to record, or raises a named refusal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.domain.agent import RESERVED
from ledger.domain.subject import AGENT, ALL_ROLES, EXAMINER, Credential, SubjectState, moment
from ledger.errors import InvalidEvent, NotFound, Refused
from schema.events import (
    CredentialIssued,
    CredentialRevoked,
    Event,
    SubjectGroupJoined,
    SubjectGroupLeft,
    SubjectRegistered,
    SubjectResumed,
    SubjectRoleGranted,
    SubjectRoleRevoked,
    SubjectSuspended,
)
from schema.subjects import SUBJECT_PATTERN

# The changes that need only their own event.
Change = (
    SubjectRoleGranted
    | SubjectRoleRevoked
    | SubjectSuspended
    | SubjectResumed
    | SubjectGroupJoined
    | SubjectGroupLeft
    | CredentialRevoked
)
NAME = re.compile(SUBJECT_PATTERN)
# The actor of events that the program records by itself. No subject may have this name.
PROGRAM = "advice-ledger"
# The limit of what one subject can have at a time.
MOST_CREDENTIALS = 100


@dataclass(frozen=True)
class NewToken:
    """A token to issue: its digest, when it expires, and the credential that it replaces, with the end of that one."""

    sha256: str
    expires_at: str | None = None
    replaces: int | None = None
    replaced_until: str | None = None


def register(
    state: SubjectState, name: str, event: SubjectRegistered, roles: Sequence[str] = (), token: NewToken | None = None
) -> list[Event]:
    """Return the events of a new subject, with its first roles and its first token.

    Raises InvalidEvent for a name that cannot be one, Refused `subject-exists`, and as `check_role` does.
    """
    if NAME.fullmatch(name) is None:
        raise InvalidEvent(
            "name",
            "must be a pseudonym of at most 100 of a to z, 0 to 9, and . _ @ -, that starts with a letter or digit and "
            "does not end with -",
        )
    if state.kind is not None or name in RESERVED or name == PROGRAM:
        raise Refused("subject-exists", "there is a subject of this name: names are never used for somebody else")
    for role in roles:
        check_role(role, event.kind)
        _check_limits(SubjectRoleGranted(role=role))
    granted = [SubjectRoleGranted(role=role) for role in dict.fromkeys(roles)]
    issued = [] if token is None else [_issued(state, token)]
    return [event, *granted, *issued]


def builtin() -> list[Event]:
    """Return the events that make an agent of the server itself a subject. It acts without credentials."""
    return [SubjectRegistered(kind="agent"), SubjectRoleGranted(role=AGENT)]


def check_change(state: SubjectState, change: Change, now: datetime) -> None:
    """Check that a change may be recorded now.

    Raises NotFound `subject-unknown`, `credential-unknown`; InvalidEvent; Refused `role-not-held`, `subject-suspended`,
    `subject-not-suspended`, `not-in-group`, `already-in-group`, `credential-ended`.
    """
    kind = check_known(state)
    match change:
        case SubjectRoleGranted():
            check_role(change.role, kind)
            _check_limits(change)
            _check_later("until", change.until, now)
        case SubjectRoleRevoked() if change.role not in state.grants:
            raise Refused("role-not-held", "this subject does not have this role")
        case SubjectSuspended() if state.suspended:
            raise Refused("subject-suspended", "this subject is already suspended")
        case SubjectResumed() if not state.suspended:
            raise Refused("subject-not-suspended", "this subject is not suspended")
        case SubjectGroupJoined() if change.group in state.groups:
            raise Refused("already-in-group", "this subject is already in this group")
        case SubjectGroupLeft() if change.group not in state.groups:
            raise Refused("not-in-group", "this subject is not in this group")
        case CredentialRevoked():
            _valid(state, change.credential, now)


def issue(state: SubjectState, token: NewToken, now: datetime) -> CredentialIssued:
    """Return the event of a new token.

    Raises NotFound `subject-unknown`, `credential-unknown`; InvalidEvent; Refused `credential-ended`,
    `too-many-credentials`.
    """
    check_known(state)
    _check_later("expires_at", token.expires_at, now)
    _check_later("replaced_until", token.replaced_until, now)
    if token.replaces is not None:
        if _valid(state, token.replaces, now).kind == "signing-key":
            raise InvalidEvent("replaces", "is a signing key, which no token replaces: revoke it")
    else:
        _check_room(state, now)
    return _issued(state, token)


def check_shown(shown: str, sha256: str, credential: int) -> None:
    """Check that the token that was recorded is the one to show, by their digests. Raises Refused `token-issued`."""
    if shown != sha256:
        raise Refused(
            "token-issued",
            "this command was recorded before, and its token was in that answer alone: if it is lost, revoke that"
            " credential and issue another one",
            credential=credential,
        )


def register_identity(
    state: SubjectState, issuer: str, identity: str, expires_at: str | None, now: datetime
) -> CredentialIssued:
    """Return the event that gives a subject an identity at an OpenID Connect provider.

    Raises NotFound `subject-unknown`; InvalidEvent; Refused `too-many-credentials`.
    """
    if check_known(state) == AGENT:
        raise InvalidEvent("name", "is an agent: agents sign in with tokens of the ledger")
    _check_later("expires_at", expires_at, now)
    _check_room(state, now)
    return CredentialIssued(
        credential=state.next_credential, kind="oidc", issuer=issuer, identity=identity, expires_at=expires_at
    )


def identity_registered(holder: str, credential: int) -> Refused:
    """Return the refusal of an identity that is this credential of a subject."""
    return Refused(
        "identity-registered",
        "this identity is a credential of a subject, and belongs to one alone: revoke it there first",
        subject=holder,
        credential=credential,
    )


def only_token(state: SubjectState, now: datetime) -> int:
    """Return the number of the one token that is valid. Raises InvalidEvent if there are several, or none."""
    check_known(state)
    valid = [one.number for one in state.credentials.values() if one.kind == "token" and one.is_valid(now)]
    if len(valid) != 1:
        which = "no valid token: issue one" if not valid else f"several valid tokens, {valid}: say which to replace"
        raise InvalidEvent("credential", f"this subject has {which}")
    return valid[0]


def check_known(state: SubjectState) -> str:
    """Return the kind of the subject. Raises NotFound `subject-unknown`."""
    if state.kind is None:
        raise NotFound("subject-unknown", "there is no subject of this name")
    return state.kind


def check_role(role: str, kind: str) -> None:
    """Raise InvalidEvent for an unknown role, and for an agent's role with another kind of subject, or the reverse.

    So an agent never decides, and a person never answers as an agent.
    """
    if role not in ALL_ROLES:
        raise InvalidEvent("role", f"there is no such role; there are {', '.join(ALL_ROLES)}")
    if (role == AGENT) != (kind == AGENT):
        raise InvalidEvent("role", "subjects of kind agent have the role agent, and no other subject has it")


def _check_room(state: SubjectState, now: datetime) -> None:
    if sum(one.is_valid(now) for one in state.credentials.values()) >= MOST_CREDENTIALS:
        raise Refused(
            "too-many-credentials",
            f"this subject has {MOST_CREDENTIALS} credentials: revoke those that are not needed first",
        )


def _check_limits(grant: SubjectRoleGranted) -> None:
    """Raise InvalidEvent for an examiner without a time at which the role ends, or without a list of clients."""
    missing = "until" if grant.until is None else "clients" if grant.clients is None else None
    if grant.role == EXAMINER and missing is not None:
        raise InvalidEvent(
            missing, "an examiner has the role until a time, and for a list of clients: grant it with both"
        )


def _issued(state: SubjectState, token: NewToken) -> CredentialIssued:
    return CredentialIssued(credential=state.next_credential, kind="token", **vars(token))


def _valid(state: SubjectState, number: int, now: datetime) -> Credential:
    credential = state.credentials.get(number)
    if credential is None:
        raise NotFound("credential-unknown", "this subject has no credential of this number")
    if not credential.is_valid(now):
        raise Refused("credential-ended", "this credential was revoked, replaced or has expired already")
    return credential


def _check_later(member: str, text: str | None, now: datetime) -> None:
    time = moment(text)
    if time is not None and time <= now:
        raise InvalidEvent(member, "is over already: name a time to come")

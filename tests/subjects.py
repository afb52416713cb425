"""Subjects with their tokens, for tests: the one place that makes callers."""

from __future__ import annotations

from collections.abc import Mapping

from api.http.auth.tokens import new_token
from ledger.database import Url
from ledger.domain.subject import stream_of
from ledger.service.admission import admit, append
from ledger.store.envelope import Actor, NewEvent, uuid7
from schema.events import CredentialIssued, CredentialRevoked, Event, SubjectRoleGranted
from tests.support import connect

ADMINISTRATOR = Actor("test", "service", "test")


def subjects(url: Url, roles: Mapping[str, str]) -> dict[str, str]:
    """Register subjects by name and role, in one append; return a token of each by name."""
    made = {name: new_token() for name in roles}
    with connect(url, "writer") as conn:
        admit(conn, ADMINISTRATOR, [(name, roles[name], sha256) for name, (_, sha256) in made.items()])
    return {name: token for name, (token, _) in made.items()}


def subject(url: Url, name: str, role: str) -> str:
    """Register a subject; return its token."""
    return subjects(url, {name: role})[name]


def record(url: Url, name: str, *events: Event) -> None:
    """Record events in the stream of a subject, whatever the rules say."""
    with connect(url, "writer") as conn:
        append(conn, [NewEvent(uuid7(), stream_of(name), event, ADMINISTRATOR) for event in events])


def grant(url: Url, name: str, role: str) -> None:
    """Let a subject act in one more role."""
    record(url, name, SubjectRoleGranted(role=role))


def second_token(url: Url, name: str, credential: int = 2) -> str:
    """Issue one more token to a subject; return it."""
    token, sha256 = new_token()
    record(url, name, CredentialIssued(credential=credential, kind="token", sha256=sha256))
    return token


def revoke(url: Url, name: str, credential: int = 1) -> None:
    """Revoke a token of a subject."""
    record(url, name, CredentialRevoked(credential=credential))

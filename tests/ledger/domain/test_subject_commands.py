"""Commands about subjects: each refusal has its name, and records nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ledger.domain import subject_commands as commands
from ledger.domain.subject import SubjectState, fold
from ledger.domain.subject_commands import MOST_CREDENTIALS, NewToken
from ledger.errors import InvalidEvent, LedgerError, NotFound, Refused
from schema.events import (
    CredentialRevoked,
    SubjectGroupJoined,
    SubjectGroupLeft,
    SubjectRegistered,
    SubjectResumed,
    SubjectRoleGranted,
    SubjectRoleRevoked,
    SubjectSuspended,
)
from tests.ledger.domain.test_subject import Change, recorded

NOW = datetime(2030, 6, 1, tzinfo=UTC)
PAST, LATER = "2030-05-31T00:00:00Z", "2030-06-02T00:00:00Z"
TOKEN = NewToken("a" * 64)
ANN: list[Change] = [
    ("subject.registered", {"kind": "human"}),
    ("subject.role-granted", {"role": "advisor"}),
    ("subject.group-joined", {"group": "zurich"}),
    ("credential.issued", {"credential": 1, "kind": "token", "sha256": "a" * 64}),
]
ROBOT: list[Change] = [("subject.registered", {"kind": "agent"})]
NOBODY = SubjectState()


def state(*more: Change, of: list[Change] = ANN) -> SubjectState:
    """Ann, or another subject, after these changes."""
    return fold(recorded([*of, *more]))


def issued(number: int, **members: Any) -> Change:
    """A further token."""
    return "credential.issued", {"credential": number, "kind": "token", "sha256": "b" * 64, **members}


def code(found: LedgerError) -> str:
    """The name of a refusal, or the member that is wrong."""
    if isinstance(found, InvalidEvent):
        return found.field
    assert isinstance(found, Refused)
    return found.code


@pytest.mark.parametrize(
    ("known", "name", "roles", "expected"),
    [
        (state(), "ann", (), "subject-exists"),
        (NOBODY, "builtin-model-portfolios", (), "subject-exists"),
        (NOBODY, "advice-ledger", (), "subject-exists"),
        (NOBODY, "Ann", (), "name"),
        (NOBODY, "ann-", (), "name"),
        (NOBODY, "", (), "name"),
        (NOBODY, "a" * 101, (), "name"),
        (NOBODY, "ann", ("root",), "role"),
        (NOBODY, "ann", ("agent",), "role"),
        (NOBODY, "ann", ("examiner",), "until"),
    ],
)
def test_who_cannot_be_registered(known: SubjectState, name: str, roles: tuple[str, ...], expected: str) -> None:
    """A name is used once and has its form; roles are known, and that of agents is for agents."""
    with pytest.raises((Refused, InvalidEvent)) as caught:
        commands.register(known, name, SubjectRegistered(kind="human"), roles)
    assert code(caught.value) == expected


def test_a_new_subject_has_its_roles_and_a_token() -> None:
    """The events in their order; a role that is named twice is granted once."""
    events = commands.register(NOBODY, "ann", SubjectRegistered(kind="human"), ["advisor", "advisor"], TOKEN)
    assert [event.type for event in events] == ["subject.registered", "subject.role-granted", "credential.issued"]


@pytest.mark.parametrize(
    ("known", "change", "expected"),
    [
        (NOBODY, SubjectSuspended(reason="r"), "subject-unknown"),
        (state(), SubjectRoleGranted(role="root"), "role"),
        (state(), SubjectRoleGranted(role="agent"), "role"),
        (state(of=ROBOT), SubjectRoleGranted(role="advisor"), "role"),
        (state(), SubjectRoleGranted(role="auditor", until=PAST), "until"),
        (state(), SubjectRoleGranted(role="examiner", until=LATER), "clients"),
        (state(), SubjectRoleGranted(role="examiner", clients=[1]), "until"),
        (state(), SubjectRoleRevoked(role="admin"), "role-not-held"),
        (state(("subject.suspended", {})), SubjectSuspended(reason="r"), "subject-suspended"),
        (state(), SubjectResumed(reason="r"), "subject-not-suspended"),
        (state(), SubjectGroupJoined(group="zurich"), "already-in-group"),
        (state(), SubjectGroupLeft(group="geneva"), "not-in-group"),
        (state(), CredentialRevoked(credential=2), "credential-unknown"),
        (state(("credential.revoked", {"credential": 1})), CredentialRevoked(credential=1), "credential-ended"),
    ],
)
def test_changes_that_are_refused(known: SubjectState, change: commands.Change, expected: str) -> None:
    """Each has its name."""
    with pytest.raises((Refused, InvalidEvent)) as caught:
        commands.check_change(known, change, NOW)
    assert code(caught.value) == expected


@pytest.mark.parametrize(
    "change",
    [
        SubjectRoleGranted(role="auditor", until=LATER),
        SubjectRoleGranted(role="examiner", until=LATER, clients=[1]),
        SubjectRoleRevoked(role="advisor"),
        SubjectSuspended(reason="r"),
        SubjectGroupJoined(group="geneva"),
        SubjectGroupLeft(group="zurich"),
        CredentialRevoked(credential=1),
    ],
)
def test_changes_that_are_taken(change: commands.Change) -> None:
    """Nothing is raised."""
    commands.check_change(state(), change, NOW)


@pytest.mark.parametrize(
    ("known", "token", "expected"),
    [
        (NOBODY, TOKEN, "subject-unknown"),
        (state(), NewToken("b" * 64, PAST), "expires_at"),
        (state(), NewToken("b" * 64, replaces=1, replaced_until=PAST), "replaced_until"),
        (state(), NewToken("b" * 64, replaces=2), "credential-unknown"),
        (state(issued(2, replaces=1)), NewToken("c" * 64, replaces=1), "credential-ended"),
        (state(("signing-key.registered", {"credential": 2})), NewToken("c" * 64, replaces=2), "replaces"),
        (state(*(issued(number) for number in range(2, MOST_CREDENTIALS + 1))), TOKEN, "too-many-credentials"),
    ],
)
def test_tokens_that_are_not_issued(known: SubjectState, token: NewToken, expected: str) -> None:
    """Each has its name."""
    with pytest.raises((Refused, InvalidEvent)) as caught:
        commands.issue(known, token, NOW)
    assert code(caught.value) == expected


def test_a_token_gets_the_next_number() -> None:
    """Numbers count up, also past those that ended; a full subject can still rotate."""
    full = state(*(issued(number) for number in range(2, MOST_CREDENTIALS + 1)))
    event = commands.issue(full, NewToken("c" * 64, LATER, 1, LATER), NOW)
    assert (event.credential, event.replaces, event.expires_at) == (MOST_CREDENTIALS + 1, 1, LATER)


def test_the_only_token_is_found() -> None:
    """With one valid token there is no doubt which to rotate; with several or none there is."""
    assert commands.only_token(state(), NOW) == 1
    assert commands.only_token(state(issued(2, replaces=1)), NOW) == 2
    with pytest.raises(InvalidEvent, match=r"several valid tokens, \[1, 2\]"):
        commands.only_token(state(issued(2)), NOW)
    with pytest.raises(InvalidEvent, match="no valid token"):
        commands.only_token(state(("credential.revoked", {"credential": 1})), NOW)
    with pytest.raises(NotFound):
        commands.only_token(NOBODY, NOW)

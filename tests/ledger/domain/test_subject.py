"""The state of a subject: folded from events that were drawn, and compared with a plain account of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.history import RecordedEvent
from ledger.domain.subject import Credential, SubjectState, check, fold
from ledger.errors import Refused, StreamUnreadable
from ledger.store.envelope import uuid7
from schema.events import CATALOGUE

NOW = datetime(2030, 6, 1, tzinfo=UTC)
ROLES = ("advisor", "compliance")
TIMES = st.none() | st.sampled_from([(NOW + timedelta(days=days)).isoformat()[:19] + "Z" for days in (-2, -1, 0, 1, 2)])
NUMBERS = st.integers(1, 3)
DIGESTS = st.sampled_from([character * 64 for character in "abc"])

Change = tuple[str, dict[str, Any]]


def _members(**members: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    drawn = st.fixed_dictionaries(members)
    return drawn.map(lambda found: {name: value for name, value in found.items() if value is not None})


CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.tuples(st.just("subject.registered"), _members(kind=st.sampled_from(["human", "agent"]))),
    st.tuples(
        st.just("subject.role-granted"),
        _members(role=st.sampled_from(ROLES), until=TIMES, clients=st.none() | st.lists(st.integers(1, 3), max_size=2)),
    ),
    st.tuples(st.just("subject.role-revoked"), _members(role=st.sampled_from(ROLES))),
    st.tuples(st.sampled_from(["subject.suspended", "subject.resumed"]), st.just({})),
    st.tuples(
        st.just("credential.issued"),
        _members(
            credential=NUMBERS,
            kind=st.just("token"),
            sha256=DIGESTS,
            expires_at=TIMES,
            replaces=st.none() | NUMBERS,
            replaced_until=TIMES,
        ),
    ),
    st.tuples(st.just("credential.revoked"), _members(credential=NUMBERS)),
)


def recorded(changes: list[Change], stream: str = "subject-ann", first: int = 100) -> list[RecordedEvent]:
    """The changes as a stream has them."""
    return [
        RecordedEvent(first + number, uuid7(), stream, number, kind, json.dumps({"data": data}))
        for number, (kind, data) in enumerate(changes, 1)
    ]


def acts(state: SubjectState, role: str, credential: int) -> bool:
    """Whether the subject may act."""
    try:
        check(state, role, credential, NOW)
    except Refused:
        return False
    return True


def last(changes: list[Change], *kinds: str, **members: Any) -> Change | None:
    """The last change of these kinds with these members."""
    found = [(k, data) for k, data in changes if k in kinds and members.items() <= data.items()]
    return found[-1] if found else None


def has_ended(changes: list[Change], at: int, number: int) -> bool:
    """Whether a credential issued at an index was revoked, was replaced, or expired, by what came after it."""
    expires = changes[at][1].get("expires_at")
    if expires is not None and datetime.fromisoformat(expires) <= NOW:
        return True
    seen = {data["credential"] for kind, data in changes[: at + 1] if kind == "credential.issued"}
    for kind, data in changes[at + 1 :]:
        if kind == "credential.revoked" and data["credential"] == number:
            return True
        if kind == "credential.issued" and data["credential"] not in seen:
            seen.add(data["credential"])
            until = data.get("replaced_until")
            if data.get("replaces") == number and (until is None or datetime.fromisoformat(until) <= NOW):
                return True
    return False


@given(st.lists(CHANGES, max_size=15))
def test_the_fold_says_who_may_act(changes: list[Change]) -> None:
    """Roles, suspension and valid credentials are what a reader of the whole stream would say."""
    state = fold(recorded(changes))
    assert state.version == len(changes)
    assert (state.kind is None) == (last(changes, "subject.registered") is None)
    for role in ROLES:
        change = last(changes, "subject.role-granted", "subject.role-revoked", role=role)
        granted = change is not None and change[0] == "subject.role-granted"
        until = change[1].get("until") if change is not None else None
        assert (role in state.roles(NOW)) == (granted and (until is None or datetime.fromisoformat(until) > NOW))
    suspension = last(changes, "subject.suspended", "subject.resumed")
    assert state.suspended == (suspension is not None and suspension[0] == "subject.suspended")
    for number in (1, 2, 3):
        issued = [
            at
            for at, (kind, data) in enumerate(changes)
            if kind == "credential.issued" and data["credential"] == number
        ]
        valid = bool(issued) and not has_ended(changes, issued[0], number)
        found = state.credentials.get(number)
        assert (found is not None) == bool(issued)
        assert (found is not None and found.is_valid(NOW)) == valid
        for role in ROLES:
            may = state.kind is not None and not state.suspended and role in state.roles(NOW)
            assert acts(state, role, number) == (may and valid)


@given(st.lists(CHANGES, max_size=15), DIGESTS)
def test_a_token_is_one_of_the_valid_credentials(changes: list[Change], digest: str) -> None:
    """A digest finds a credential if and only if a valid one has it."""
    state = fold(recorded(changes))
    valid = [one for one in state.credentials.values() if one.sha256 == digest and one.is_valid(NOW)]
    found = state.token(digest, NOW)
    assert found in valid if valid else found is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=6))
def test_suspensions_that_earlier_versions_recorded_keep_their_effect(acts: list[tuple[bool, bool]]) -> None:
    """Suspensions in the streams of the agent and of the subject count together, in the order of the chain."""
    of_agent: list[RecordedEvent] = []
    of_subject: list[RecordedEvent] = []
    suspended = False
    for position, (former, suspends) in enumerate(acts, 1):
        act = "suspended" if suspends else "resumed"
        stream, events = ("agent-a", of_agent) if former else ("subject-a", of_subject)
        kind = f"{'agent' if former else 'subject'}.{act}"
        events.append(RecordedEvent(position, uuid7(), stream, len(events) + 1, kind, '{"data":{}}'))
        suspended = suspends
    state = fold(of_subject, of_agent)
    assert state == SubjectState(suspended=suspended, version=len(of_subject))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("subject.registered", {}),
        ("subject.role-granted", {"role": "advisor", "until": "tomorrow"}),
        ("subject.role-granted", {"role": "advisor", "until": "2030-01-01T00:00:00"}),
        ("credential.issued", {"credential": "x", "kind": "token"}),
        ("credential.revoked", {"credential": []}),
    ],
)
def test_malformed_events_are_named(kind: str, data: dict[str, Any]) -> None:
    """Somebody with the writer's login can append such an event. The subject is then let in nowhere, by name."""
    with pytest.raises(StreamUnreadable, match="position 101 of the stream 'subject-ann'"):
        fold(recorded([(kind, data)]))


def test_examples_of_the_catalogue_are_folded() -> None:
    """The fold knows each type of event about subjects and credentials, as the catalogue writes it."""
    issued = CATALOGUE["credential.issued"].model_validate(
        {"credential": 1, "kind": "oidc", "issuer": "https://idp.example", "identity": "4711"}
    )
    data = issued.model_dump(exclude_none=True, exclude=set(issued.sealed))
    state = fold(recorded([("credential.issued", data)]))
    assert state.credentials == {1: Credential(1, "oidc", issuer="https://idp.example")}
    assert state.next_credential == 2


def test_a_signing_key_counts_and_signs_nobody_in() -> None:
    """A signing key takes a number among the credentials, ends by its revocation, and is no token."""
    key = {"credential": 1, "scheme": "ed25519", "purpose": "sign", "public_key": "A", "proof": {}}
    state = fold(recorded([("signing-key.registered", key), ("credential.revoked", {"credential": 1})]))
    assert state.next_credential == 2
    assert (state.credentials[1].kind, state.credentials[1].sha256, state.credentials[1].revoked) == (
        "signing-key",
        None,
        True,
    )

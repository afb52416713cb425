"""Who is assigned to a client, and which changes of a client are refused: pure, and compared with a naive twin."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain import client as clients
from ledger.domain.client import Client, fold, is_assigned, second, stream_of
from ledger.domain.history import RecordedEvent
from ledger.errors import InvalidEvent, NotFound, Refused, StreamUnreadable
from ledger.store.envelope import NewEvent, encode, uuid7
from schema.events import ClientAliased, ClientAssigned, ClientMerged, ClientRegistered, ClientUnassigned, Event
from tests.support import CLERK

START = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = st.sampled_from(["ann", "bob"])
WHO = NAMES.map(lambda name: {"subject": name}) | NAMES.map(lambda name: {"group": name})
DAYS = st.integers(0, 6)


def day(number: int) -> datetime:
    """Return the start of a day."""
    return START + timedelta(days=number)


def recorded(number: int, *events: Event) -> list[RecordedEvent]:
    """Return the events of a client's stream as they would be recorded."""
    stream = stream_of(number)
    bodies = (encode(NewEvent(uuid7(), stream, event, CLERK)).body().decode() for event in events)
    kinds = [event.type for event in events]
    return [
        RecordedEvent(100 + version, uuid7(), stream, version, kind, body)
        for version, (kind, body) in enumerate(zip(kinds, bodies, strict=True), 1)
    ]


def client(number: int, *events: Event) -> Client:
    """Return the state after a registration and these events."""
    return fold(number, recorded(number, ClientRegistered(client_id="x"), *events))


@st.composite
def changes(draw: st.DrawFn) -> Event:
    """Draw an assignment or the end of one."""
    who = draw(WHO)
    if draw(st.booleans()):
        return ClientUnassigned(**who)
    first, last = draw(st.tuples(DAYS, DAYS).filter(lambda pair: pair[0] < pair[1]))
    since, until = draw(st.tuples(st.booleans(), st.booleans()))
    return ClientAssigned(
        **who, since=second(day(first)) if since else None, until=second(day(last)) if until else None
    )


def naive(events: list[Event], subject: str, groups: set[str], at: datetime) -> bool:
    """Judge by the last event about each name, from the newest on."""
    judged: set[tuple[str | None, str | None]] = set()
    for event in reversed(events):
        assert isinstance(event, ClientAssigned | ClientUnassigned)
        who = (event.subject, event.group)
        if who in judged or (event.subject != subject and event.group not in groups):
            continue
        judged.add(who)
        if isinstance(event, ClientAssigned):
            since = event.since is None or datetime.fromisoformat(event.since) <= at
            if since and (event.until is None or at < datetime.fromisoformat(event.until)):
                return True
    return False


@given(st.lists(changes(), max_size=8), NAMES, st.sets(NAMES), DAYS, st.sampled_from([-1, 0, 1]))
def test_the_last_word_about_each_name_counts(
    events: list[Event], subject: str, groups: set[str], on: int, seconds: int
) -> None:
    """A subject is assigned by its own name or by a group, within the times of the last assignment, to the second."""
    at = day(on) + timedelta(seconds=seconds)
    found = is_assigned([client(1, *events)], subject, groups, at)
    assert found == naive(events, subject, groups, at)


def test_an_assignment_holds_for_what_was_merged_and_never_the_other_way() -> None:
    """Who is assigned to the client that another one was merged into sees both; who had the other one sees that one."""
    kept = client(1, ClientAssigned(subject="ann"))
    merged = client(2, ClientAssigned(subject="bob"), ClientMerged(into=1))
    alias = fold(3, recorded(3, ClientAliased(client_id="y", of=2)))
    assert (merged.merged_into, alias.merged_into) == (1, 2)
    for lineage, names in (
        ([kept], {"ann"}),
        ([merged, kept], {"ann", "bob"}),
        ([alias, merged, kept], {"ann", "bob"}),
    ):
        assert {name for name in ("ann", "bob", "eve") if is_assigned(lineage, name, (), START)} == names


def test_a_registration_may_assign() -> None:
    """The subject of a registration is assigned without bounds, until its assignment ends."""
    registered = ClientRegistered(client_id="x", subject="ann")
    before, after = fold(1, recorded(1, registered)), fold(1, recorded(1, registered, ClientUnassigned(subject="ann")))
    assert is_assigned([before], "ann", (), START)
    assert not is_assigned([after], "ann", (), START)


NOBODY, MERGED = fold(7, []), client(8, ClientMerged(into=1))


REFUSALS: list[tuple[str, Callable[[], Any]]] = [
    ("client-unknown", lambda: clients.check_open(NOBODY)),
    ("client-merged", lambda: clients.check_open(MERGED)),
    ("client-unknown", lambda: clients.check_merge(NOBODY, client(1))),
    ("client-merged", lambda: clients.check_merge(MERGED, client(1))),
    ("client-merged", lambda: clients.check_merge(client(1), MERGED)),
    ("client-merged", lambda: clients.check_assign(MERGED, ClientAssigned(subject="ann"))),
    ("already-assigned", lambda: clients.check_assign(client(1, ClientAssigned(group="g")), ClientAssigned(group="g"))),
    ("not-assigned", lambda: clients.check_unassign(client(1), ClientUnassigned(subject="ann"))),
    ("client-unknown", lambda: clients.check_unassign(NOBODY, ClientUnassigned(subject="ann"))),
]


def test_refusals_have_names() -> None:
    """Each change that the state does not allow is refused by its name; a merged client takes nothing."""
    for code, check in REFUSALS:
        with pytest.raises(Refused) as caught:
            check()
        assert caught.value.code == code
        assert isinstance(caught.value, NotFound) == code.endswith("-unknown")


def test_a_merge_needs_two_clients() -> None:
    """A client is not merged into itself, nor into one that does not exist: the field is named."""
    for into in (client(1), NOBODY):
        with pytest.raises(InvalidEvent) as caught:
            clients.check_merge(client(1), into)
        assert caught.value.field == "into"


def test_an_event_that_no_client_of_the_service_sends_is_unreadable() -> None:
    """Nothing is decided on a stream that the writer's login has filled with something else."""
    [event] = recorded(1, ClientRegistered(client_id="x"))
    odd = RecordedEvent(9, uuid7(), "client-1", 2, "client.assigned", event.body)
    with pytest.raises(StreamUnreadable):
        fold(1, [event, odd])

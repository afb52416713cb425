"""Fold the state of a client from its own stream `client-N`: the client that it was merged into, and its assignments.

    (nothing) --client.registered--> registered --client.merged--> merged
    (nothing) --client.aliased--> merged

A client that was erased takes no further event, and a merged one none but the release of holds. Its `merged_into` is
the number of another client, which may be merged later.
So a client has a lineage: itself, the client that it was merged into, and so on. Merges make no cycle, because only a
client that is not merged is merged, into another one that is not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.errors import InvalidEvent, NotFound, Refused, StreamUnreadable
from schema.events import ClientAssigned, ClientErased, ClientUnassigned, ValuesErased

CATEGORY = "client-"
ERASES = (ClientErased.type, ValuesErased.type)


@dataclass(frozen=True)
class Registration:
    """The rules of registration: by the first request or only beforehand, and the pattern of identifiers."""

    when: Literal["first-request", "beforehand"] = "first-request"
    pattern: re.Pattern[str] | None = None

    def check(self, client_id: str) -> None:
        """Raise InvalidEvent unless the identifier has the form that this server asks for."""
        if self.pattern is not None and self.pattern.fullmatch(client_id) is None:
            raise InvalidEvent("client_id", "not an identifier of the form that this server is set up for")

    def check_request(self) -> None:
        """Raise Refused `client-not-registered` if a request may not register its client."""
        if self.when == "beforehand":
            raise Refused("client-not-registered", "no client is registered under this identifier: register it first")


def already_registered(number: int | None) -> Refused:
    """Return the refusal of a second registration. `number` is that of the client, if it is still known."""
    facts = {} if number is None else {"client": number}
    return Refused("client-registered", "a client is registered under this identifier", **facts)


# A subject or a group, and its name.
Assignee = tuple[Literal["subject", "group"], str]


@dataclass(frozen=True)
class Times:
    """The time of an assignment: from `since` on and before `until`, in the form of `second()`. None: without limit."""

    since: str | None = None
    until: str | None = None

    def include(self, at: str) -> bool:
        """Return True if the assignment holds at this second."""
        return (self.since is None or self.since <= at) and (self.until is None or at < self.until)


@dataclass(frozen=True)
class Client:
    """A client's own stream. `version` is that of its last event; 0 for an unknown client."""

    number: int
    version: int = 0
    merged_into: int | None = None
    assignments: dict[Assignee, Times] = field(default_factory=dict)
    erased: bool = False

    @property
    def known(self) -> bool:
        """True if the client was registered, or is an alias."""
        return self.version > 0


def stream_of(number: int) -> str:
    """Return the name of a client's stream."""
    return f"{CATEGORY}{number}"


def number_of(stream: str) -> int:
    """Return the number of the client whose stream this is."""
    return int(stream.removeprefix(CATEGORY))


def second(at: datetime) -> str:
    """Format a time as events about clients have it: UTC, in whole seconds."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def assignee_of(event: ClientAssigned | ClientUnassigned) -> Assignee:
    """Return the subject or group that the event is about."""
    if event.subject is not None:
        return "subject", event.subject
    assert event.group is not None, "the event has either of both"
    return "group", event.group


def fold(number: int, history: Iterable[RecordedEvent]) -> Client:
    """Return the state after the events of a client's stream, in order. Raises StreamUnreadable."""
    client = Client(number)
    for event in history:
        try:
            erased = client.erased or event.type in ERASES
            client = replace(_apply(client, event), version=event.version, erased=erased)
        except MALFORMED as error:
            raise StreamUnreadable.at(event.stream, event.position) from error
    return client


def _apply(client: Client, event: RecordedEvent) -> Client:
    data = event.data
    match event.type:
        case "client.registered" if client.version == 0 and "subject" in data:
            return replace(client, assignments={("subject", str(data["subject"])): Times()})
        case "client.aliased" if client.version == 0:
            return replace(client, merged_into=int(data["of"]))
        case "client.merged" if client.merged_into is None:
            return replace(client, merged_into=int(data["into"]))
        case "client.assigned":
            times = Times(data.get("since"), data.get("until"))
            return replace(client, assignments={**client.assignments, _assignee(data): times})
        case "client.unassigned":
            left = {who: times for who, times in client.assignments.items() if who != _assignee(data)}
            return replace(client, assignments=left)
    return client


def _assignee(data: dict[str, str]) -> Assignee:
    return ("subject", data["subject"]) if "subject" in data else ("group", data["group"])


def is_assigned(lineage: Iterable[Client], subject: str, groups: Collection[str], at: datetime) -> bool:
    """Return True if the subject, or one of its groups, is assigned to a client at this time.

    `lineage` is the client and all clients that it was merged into, in order. An assignment counts for the client and
    for all clients that were merged into it, but not in the other direction: so a merge never shows anybody more of
    another client.
    """
    at_second = second(at)
    return any(
        times.include(at_second) and (name == subject if kind == "subject" else name in groups)
        for client in lineage
        for (kind, name), times in client.assignments.items()
    )


def check_open(client: Client) -> None:
    """Check that the client may change. Raises NotFound `client-unknown`, Refused `client-merged`, `client-erased`."""
    if not client.known:
        raise NotFound("client-unknown", "there is no such client")
    if client.erased:
        raise Refused("client-erased", "this client was erased: nothing more is recorded of it")
    if client.merged_into is not None:
        raise Refused(
            "client-merged",
            "this client was merged into another one: name that one",
            merged_into=client.merged_into,
        )


def check_merge(client: Client, into: Client) -> None:
    """Check that `client` may be merged. Raises as `check_open` does, InvalidEvent for itself or an unknown client."""
    check_open(client)
    if into.number == client.number:
        raise InvalidEvent("into", "a client cannot be merged into itself")
    if not into.known:
        raise InvalidEvent("into", "there is no such client")
    check_open(into)


def is_change(client: Client, event: ClientAssigned) -> bool:
    """Return True if the assignment changes anything. Raises as `check_open` does."""
    check_open(client)
    return client.assignments.get(assignee_of(event)) != Times(event.since, event.until)


def assigned(client: Client, event: ClientAssigned) -> Client:
    """Return the client after the assignment."""
    assignments = {**client.assignments, assignee_of(event): Times(event.since, event.until)}
    return replace(client, version=client.version + 1, assignments=assignments)


def check_assign(client: Client, event: ClientAssigned) -> None:
    """Check that the assignment changes something. Raises as `check_open` does, Refused `already-assigned`."""
    if not is_change(client, event):
        raise Refused("already-assigned", "the client is assigned so already")


def check_unassign(client: Client, event: ClientUnassigned) -> None:
    """Check that there is an assignment to end. Raises as `check_open` does, Refused `not-assigned`."""
    check_open(client)
    if assignee_of(event) not in client.assignments:
        raise Refused("not-assigned", "the client is not assigned to this subject or group")

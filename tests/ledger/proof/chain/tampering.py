"""Attacks on a chain of values: what somebody with all rights on the tables could do short of rewriting the suffix."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ledger.proof.findings import Kind
from ledger.proof.format.events import EventRow, Head
from tests.ledger.proof.chains import body_of, event_at, rehashed

Tamper = Callable[[list[EventRow], Head], Head | None]

CONTENTS = ("id", "stream", "version", "type", "recorded_at_us", "body", "salts", "fields")


class Attack(NamedTuple):
    """A change of the events, in place, and of the head; and the one finding that it must give."""

    name: str
    tamper: Tamper
    kind: Kind
    position: int


def change(position: int, /, *, rehash: bool = False, **columns: Any) -> Tamper:
    """Sets columns of one event; a callable is given the old value. With `rehash` its hash is made to fit."""

    def tamper(events: list[EventRow], head: Head) -> Head:
        old = events[position - 1]
        new = {name: value(getattr(old, name)) if callable(value) else value for name, value in columns.items()}
        events[position - 1] = rehashed(old._replace(**new)) if rehash else old._replace(**new)
        return head

    return tamper


def renumber(events: list[EventRow], first: int) -> None:
    """Gives the events from index `first` on the positions that follow from the order of the list."""
    for index in range(first, len(events)):
        events[index] = events[index]._replace(position=index + 1)


def delete(first: int, last: int, *, close: bool = False, move_head: bool = False) -> Tamper:
    """Takes events out; with `close` the later ones are renumbered, with `move_head` the head's position too."""

    def tamper(events: list[EventRow], head: Head) -> Head:
        del events[first - 1 : last]
        if close:
            renumber(events, first - 1)
        return dataclasses.replace(head, position=events[-1].position) if move_head else head

    return tamper


def insert(position: int, *, relink: bool = False, **columns: Any) -> Tamper:
    """Puts in a proper event, its hash computed, and renumbers the later ones; `relink` mends the next prev_hash."""

    def tamper(events: list[EventRow], head: Head) -> Head:
        new = event_at(9_999, events[position - 2].hash)._replace(
            position=position, version=1, stream="x-1", body=body_of(9_999, "x-1"), salts=None, fields=None
        )
        events.insert(position - 1, rehashed(new)._replace(**columns))
        renumber(events, position)
        if relink:
            events[position] = events[position]._replace(prev_hash=events[position - 1].hash)
        return head

    return tamper


def duplicate(position: int, *, first: bool, at: int | None = None) -> Tamper:
    """Put in an event at a taken position, or `at` an impossible one, before or after the genuine event."""

    def tamper(events: list[EventRow], head: Head) -> Head:
        old = events[position - 1]
        new = rehashed(old._replace(body=body_of(position, old.stream), position=at if at is not None else position))
        events.insert(0 if first else len(events), new)
        return head

    return tamper


def swap_rows(i: int, j: int) -> Tamper:
    """Exchanges the positions of two events, all else kept."""

    def tamper(events: list[EventRow], head: Head) -> Head:
        one, other = events[i - 1], events[j - 1]
        events[i - 1], events[j - 1] = other._replace(position=i), one._replace(position=j)
        return head

    return tamper


def swap(i: int, j: int, *columns: str, rehash: bool = False) -> Tamper:
    """Exchanges columns of two events in their places; with `rehash` their hashes are made to fit."""

    def tamper(events: list[EventRow], head: Head) -> Head:
        one, other = events[i - 1], events[j - 1]
        events[i - 1] = one._replace(**{name: getattr(other, name) for name in columns})
        events[j - 1] = other._replace(**{name: getattr(one, name) for name in columns})
        if rehash:
            events[i - 1] = rehashed(events[i - 1])
            if j == i + 1:
                events[j - 1] = events[j - 1]._replace(prev_hash=events[i - 1].hash)
            events[j - 1] = rehashed(events[j - 1])
        return head

    return tamper


def append(events: list[EventRow], head: Head) -> Head:
    """Adds a proper event without moving the head."""
    events.append(event_at(len(events) + 1, events[-1].hash))
    return head


def set_head(**members: Any) -> Tamper:
    """Changes the head."""
    return lambda _, head: dataclasses.replace(head, **members)


def no_head(_events: list[EventRow], _head: Head) -> None:
    """Takes the head away."""


def thief(body: bytes) -> bytes:
    """Another amount."""
    return body.replace(b'.00"', b'.01"')


def other_client(fields: bytes) -> bytes:
    """Another client."""
    return fields.replace(b"client-", b"tneilc-")


def swaps() -> Iterator[Attack]:
    """Two rows exchanged in every way there is: neighbours, far apart, the first, the last."""
    for i, j in ((1, 2), (50, 51), (50, 60), (50, 200), (299, 300), (50, 300), (1, 300)):
        where = f"{i} and {j}"
        yield Attack(f"rows {where} swapped", swap_rows(i, j), Kind.REORDERED, i)
        yield Attack(f"contents of {where} swapped", swap(i, j, *CONTENTS), Kind.REORDERED, i)
        yield Attack(f"bodies of {where} swapped", swap(i, j, "body"), Kind.REORDERED, i)
        yield Attack(f"bodies and hashes of {where} swapped", swap(i, j, "body", "hash"), Kind.REORDERED, i)
        yield Attack(f"contents of {where} swapped and rehashed", swap(i, j, *CONTENTS, rehash=True), Kind.REORDERED, i)
        yield Attack(f"bodies of {where} swapped and rehashed", swap(i, j, "body", rehash=True), Kind.REORDERED, i)


ATTACKS = [
    Attack("body edited", change(50, body=thief), Kind.EDITED, 50),
    Attack("body edited, hash recomputed", change(50, rehash=True, body=thief), Kind.EDITED, 50),
    Attack("body of the last edited, hash recomputed", change(300, rehash=True, body=thief), Kind.HEAD_MISMATCH, 300),
    Attack("body made no JSON, hash recomputed", change(50, rehash=True, body=b"{"), Kind.EDITED, 50),
    Attack("type edited", change(50, type="portfolio.approved"), Kind.COLUMN_MISMATCH, 50),
    Attack("stream edited", change(50, stream="request-2"), Kind.COLUMN_MISMATCH, 50),
    Attack("stream edited to a new one", change(50, stream="request-99"), Kind.COLUMN_MISMATCH, 50),
    Attack("id edited", change(50, id="00000000-0000-0000-0000-000000000001"), Kind.COLUMN_MISMATCH, 50),
    Attack("version edited", change(50, version=99), Kind.EDITED, 50),
    Attack("version edited beyond 64 bits", change(50, version=2**64), Kind.EDITED, 50),
    Attack("time edited", change(50, recorded_at_us=5), Kind.EDITED, 50),
    Attack("time edited beyond 64 bits", change(50, recorded_at_us=2**63), Kind.EDITED, 50),
    Attack("hash edited", change(50, hash=bytes(32)), Kind.EDITED, 50),
    Attack("hash shortened", change(50, hash=b""), Kind.EDITED, 50),
    Attack("hash of the last edited", change(300, hash=bytes(32)), Kind.EDITED, 300),
    Attack("prev_hash edited", change(50, prev_hash=bytes(32)), Kind.EDITED, 50),
    Attack("prev_hash of the first edited", change(1, prev_hash=b"x"), Kind.EDITED, 1),
    Attack("sealed value edited", change(50, fields=other_client), Kind.COMMITMENT_MISMATCH, 50),
    Attack("one of two sealed values edited", change(51, fields=other_client), Kind.COMMITMENT_MISMATCH, 51),
    Attack("salt edited", change(50, salts=lambda old: old[:-4] + b'00"}'), Kind.COMMITMENT_MISMATCH, 50),
    Attack("sealed value added", change(50, fields=lambda old: old[:-1] + b',"x":1}'), Kind.COMMITMENT_MISMATCH, 50),
    Attack(
        "sealed name twice", change(50, fields=lambda old: b'{"client_id":"x",' + old[1:]), Kind.COMMITMENT_MISMATCH, 50
    ),
    Attack("deleted", delete(50, 50), Kind.DELETED, 50),
    Attack("first deleted", delete(1, 1), Kind.DELETED, 1),
    Attack("six deleted", delete(50, 55), Kind.DELETED, 50),
    Attack("deleted, the rest renumbered", delete(50, 50, close=True), Kind.DELETED, 50),
    Attack("three deleted, the rest renumbered", delete(50, 52, close=True), Kind.DELETED, 50),
    Attack("deleted, the rest and head renumbered", delete(50, 50, close=True, move_head=True), Kind.DELETED, 50),
    Attack("last but one deleted, the last renumbered", delete(299, 299, close=True), Kind.DELETED, 299),
    Attack("inserted", insert(50), Kind.INSERTED, 50),
    Attack("inserted with a malformed hash", insert(50, hash=bytes(32)), Kind.INSERTED, 50),
    Attack("inserted, and the next made to name it", insert(50, relink=True), Kind.INSERTED, 50),
    Attack("inserted before the last", insert(300), Kind.INSERTED, 300),
    Attack("appended past the head", append, Kind.INSERTED, 301),
    Attack("inserted at a position that is taken", duplicate(50, first=False), Kind.INSERTED, 50),
    Attack("inserted before the one whose position it takes", duplicate(50, first=True), Kind.INSERTED, 50),
    Attack("inserted at the last position", duplicate(300, first=False), Kind.INSERTED, 300),
    Attack("inserted before the last, at its position", duplicate(300, first=True), Kind.INSERTED, 300),
    Attack("inserted at position 0", duplicate(50, first=True, at=0), Kind.INSERTED, 0),
    Attack("moved far past the end", change(50, position=10**9), Kind.REORDERED, 50),
    *swaps(),
    Attack("tail cut", delete(251, 300), Kind.TRUNCATED, 251),
    Attack("last cut", delete(300, 300), Kind.TRUNCATED, 300),
    Attack("all cut", delete(1, 300), Kind.TRUNCATED, 1),
    Attack("head set forward", set_head(position=305), Kind.HEAD_MISMATCH, 300),
    Attack("head set back", set_head(position=295), Kind.HEAD_MISMATCH, 300),
    Attack("hash of the head edited", set_head(hash=bytes(32)), Kind.HEAD_MISMATCH, 300),
    Attack("time of the head edited", set_head(recorded_at_us=1), Kind.HEAD_MISMATCH, 300),
    Attack("origin edited", set_head(origin="ledger.example/two"), Kind.GENESIS_MISMATCH, 1),
    Attack("head removed", no_head, Kind.HEAD_MISMATCH, 300),
]

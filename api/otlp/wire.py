"""Count what an export request in protobuf would build, by a walk over its bytes that builds nothing.

Four bytes make a span, and a span costs a hundred times that in memory; resource and scope are recorded again with
each of their spans. So counts are limited, and the walk ends at the first limit that is passed. The same holds for log
records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from api.otlp.signals import Signal

MAX_RESOURCES = 1_000
MAX_SCOPES = 2_000
MAX_ITEMS = 5_000
# The number of fields in all messages. Fields of a resource and a scope count once for each of their spans.
MAX_FIELDS = 250_000


class TooMany(ValueError):
    """The export has too many items or fields; the message names them and says what to do."""

    def __init__(self, signal: Signal, most: int, what: str) -> None:
        advice = f"send fewer {signal.items} an export ({signal.batch_size}, or send_batch_max_size of a collector)"
        super().__init__(f"the export has more than {most} {what}: {advice}")


@dataclass
class _Kind:
    """The numbers of a message's fields that are messages themselves, with their kinds."""

    messages: dict[int, _Kind] = field(default_factory=dict)


def _kind(descriptor: Any, known: dict[str, _Kind]) -> _Kind:
    kind = known.get(descriptor.full_name)
    if kind is None:
        kind = known[descriptor.full_name] = _Kind()
        for member in descriptor.fields:
            if member.message_type is not None:
                kind.messages[member.number] = _kind(member.message_type, known)
    return kind


@dataclass(frozen=True)
class _Level:
    """Messages that nest in an export, with their field in the message around them, and their bound."""

    number: int
    most: int
    name: str


@dataclass(frozen=True)
class _Levels:
    """The messages that nest in an export of a signal."""

    request: _Kind
    resources: _Level
    scopes: _Level
    items: _Level


@cache
def _levels(signal: Signal) -> _Levels:
    descriptor, numbers = signal.request.DESCRIPTOR, []
    for level in signal.levels:
        member = descriptor.fields_by_name[level]
        numbers.append(member.number)
        descriptor = member.message_type
    return _Levels(
        _kind(signal.request.DESCRIPTOR, {}),
        _Level(numbers[0], MAX_RESOURCES, "resources"),
        _Level(numbers[1], MAX_SCOPES, "scopes"),
        _Level(numbers[2], MAX_ITEMS, signal.items),
    )


# The bytes of a field of each wire type that has a fixed size.
SIZES = {1: 8, 5: 4}


def check_counts(body: bytes, signal: Signal) -> None:
    """Raise TooMany if the export passes a bound, and ValueError or IndexError if it is not protobuf."""
    _Counter(body, signal).request()


class _Counter:
    def __init__(self, body: bytes, signal: Signal) -> None:
        self._body = body
        self._signal = signal
        self._levels = _levels(signal)
        self._items = 0
        self._scopes = 0
        # The visited and the built fields: the first limit is for the walk itself, the second for the work after it.
        self._visited = 0
        self._built = 0

    def request(self) -> None:
        levels = self._levels
        resources, _ = self._level(0, len(self._body), levels.request, levels.resources)
        in_resource = levels.request.messages[levels.resources.number]
        for start, end in resources:
            scopes, fields = self._level(start, end, in_resource, levels.scopes)
            self._scopes += len(scopes)
            self._bound(self._scopes, levels.scopes)
            for scope in scopes:
                self._scope(*scope, in_resource.messages[levels.scopes.number], fields)

    def _scope(self, start: int, end: int, in_scope: _Kind, resource_fields: int) -> None:
        level = self._levels.items
        items, fields = self._level(start, end, in_scope, level)
        self._items += len(items)
        self._bound(self._items, level)
        self._built += len(items) * (resource_fields + fields)
        if self._built > MAX_FIELDS:
            what = f"fields, those of a resource once for each of its {self._signal.items}"
            raise TooMany(self._signal, MAX_FIELDS, what)
        for item in items:
            self._built += self._count(*item, in_scope.messages[level.number])

    def _level(self, start: int, end: int, kind: _Kind, level: _Level) -> tuple[list[tuple[int, int]], int]:
        """Return where the messages of one field are, and the count of fields in all others."""
        messages: list[tuple[int, int]] = []
        others = 0
        for found, at, stop in self._fields(start, end):
            if found == level.number:
                messages.append((at, stop))
                self._bound(len(messages), level)
            else:
                inner = kind.messages.get(found)
                others += 1 + (self._count(at, stop, inner) if inner is not None else 0)
        return messages, others

    def _count(self, start: int, end: int, kind: _Kind) -> int:
        """Count the fields of a message and of those in it, without recursion."""
        count = 0
        waiting = [(start, end, kind)]
        while waiting:
            start, end, kind = waiting.pop()
            for number, at, stop in self._fields(start, end):
                count += 1
                inner = kind.messages.get(number)
                if inner is not None:
                    waiting.append((at, stop, inner))
        return count

    def _fields(self, at: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield number, start and end of each field of a message; start and end are the same for plain numbers."""
        while at < end:
            self._visited += 1
            if self._visited > MAX_FIELDS:
                raise TooMany(self._signal, MAX_FIELDS, "fields")
            key, at = self._varint(at)
            match key & 7:
                case 2:
                    size, at = self._varint(at)
                    stop = at + size
                    if stop > end:
                        raise ValueError("a field is longer than its message")
                    yield key >> 3, at, stop
                    at = stop
                case 0:
                    _, at = self._varint(at)
                    yield key >> 3, at, at
                case 1 | 5 as wire:
                    at += SIZES[wire]
                    yield key >> 3, at, at
                case 6 | 7:
                    raise ValueError("there is no such wire type")
                case _:
                    pass  # a group's begin or end: the fields in it count as the message's own

    def _varint(self, at: int) -> tuple[int, int]:
        byte = self._body[at]
        value, shift = byte & 127, 7
        at += 1
        while byte > 127:
            if shift > 63:
                raise ValueError("a number has more than ten bytes")
            byte = self._body[at]
            value |= (byte & 127) << shift
            shift += 7
            at += 1
        return value, at

    def _bound(self, count: int, level: _Level) -> None:
        if count > level.most:
            raise TooMany(self._signal, level.most, level.name)

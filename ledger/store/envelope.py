"""Encode an event as a line for append(): canonical body, commitments, and the sealed values beside them."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, cast
from uuid import UUID

from pydantic import BaseModel

from ledger.errors import InvalidEvent
from ledger.proof.format.canonical import JSON, NotCanonical, canonical
from ledger.proof.format.hashes import SALT_BYTES, commitment
from schema.events import Event

MAX_BODY_BYTES = 1024 * 1024
MAX_SEALED_BYTES = 8 * 1024 * 1024
# The bound of is_small(). Keys beyond ASCII are slow: 200 of them take 1.5 ms.
SMALL = 200
MODEL = type(BaseModel)

Expected = Literal["any", "no_stream", "stream_exists"] | int


@dataclass(frozen=True, slots=True)
class Actor:
    """Who causes an event. Made from the caller's credentials and never from a payload."""

    id: str
    kind: Literal["human", "agent", "service"]
    role: str
    # Part of the format (docs/formats/event.md, section 2); no command of this program sets it yet.
    on_behalf_of: str | None = None

    def as_json(self) -> dict[str, JSON]:
        """Return the member "actor" of a body."""
        actor: dict[str, JSON] = {"id": self.id, "kind": self.kind, "role": self.role}
        if self.on_behalf_of is not None:
            actor["on_behalf_of"] = self.on_behalf_of
        return actor


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append. A `stream` that ends in "-" gets the next number of its category."""

    id: UUID
    stream: str
    event: Event
    actor: Actor
    expected: Expected = "any"
    causation: UUID | None = None
    # Part of the format (docs/formats/event.md, section 2); no command of this program sets it yet.
    correlation: UUID | None = None
    # Versions that other streams must have when this is recorded: {stream: version}, 0 for a stream without events.
    preconditions: Mapping[str, int] = field(default_factory=dict)


def uuid7() -> UUID:
    """Return a new id, ordered by time (RFC 9562 section 5.7), so that new ids are neighbours in the index."""
    stamp = time.time_ns() // 1_000_000
    noise = secrets.randbits(74)
    return UUID(int=(stamp << 80) | (0x7 << 76) | ((noise >> 62) << 64) | (0b10 << 62) | (noise & ((1 << 62) - 1)))


def idempotent_id(caller: str, key: str) -> UUID:
    """Return the id for a caller's Idempotency-Key, the same for each attempt (version 8, RFC 9562 section 5.8)."""
    digest = int.from_bytes(sha256(f"advice-ledger/idempotency/v1\n{caller}\n{key}".encode()).digest()[:16])
    return UUID(int=(digest & ~(0xF << 76) & ~(0b11 << 62)) | (0x8 << 76) | (0b10 << 62))


def stamped(lines: Sequence[bytes], now_us: int) -> str:
    """Return the lines as a batch for append() that carries the time of this program, in microseconds since 1970."""
    first, *others = lines
    return b"\n".join([b'{"now":%d,' % now_us + first[1:], *others]).decode("utf-8")


def is_small(event: Event) -> bool:
    """Return True if the event is encoded within about a millisecond, so that no thread is needed for it."""
    return _left(vars(event), SMALL) > 0


def _left(value: object, left: int) -> int:
    """Return `left` less the size of a value: 1 for each member or item, and 1 for each 256 characters."""
    kind = type(value)
    if kind is str:
        return left - 1 - len(cast("str", value)) // 256
    items: Iterable[object] = ()
    if kind is list or kind is tuple:
        items = cast("list[object]", value)
    elif kind is dict:
        items = cast("dict[str, object]", value).values()
    elif isinstance(kind, MODEL):  # isinstance(value, BaseModel) takes ten times as long
        items = vars(value).values()
    for item in items:
        left = _left(item, left - 1)
        if left <= 0:
            break
    return left


def encode(new: NewEvent) -> bytes:
    """Return one NDJSON line for append(), without the line break. Raises InvalidEvent with the field."""
    event = new.event
    # Not mode="json": it silently replaces a lone surrogate in a key. canonical() refuses what is not JSON.
    content = event.model_dump(exclude_none=True)
    sealed: dict[str, JSON] = {}
    salts: list[bytes] = []
    fields: list[bytes] = []
    for name in sorted(event.sealed & content.keys()):
        value = _canonical(content.pop(name), name, MAX_SEALED_BYTES)
        salt = os.urandom(SALT_BYTES)
        sealed[name] = commitment(name, salt, value)
        salts.append(f'"{name}":"{salt.hex()}"'.encode())
        fields.append(b'"%b":%b' % (name.encode(), value))
    line = b'{"body":%b,"expected":"%b"' % (_canonical_body(new, content, sealed), str(new.expected).encode())
    if new.preconditions:
        line += b',"preconditions":' + canonical(dict(new.preconditions))
    if sealed:
        line += b',"fields":{%b},"salts":{%b}' % (b",".join(fields), b",".join(salts))
    return line + b"}"


def _body(new: NewEvent, data: dict[str, JSON], sealed: dict[str, JSON]) -> dict[str, JSON]:
    body: dict[str, JSON] = {
        "actor": new.actor.as_json(),
        "data": data,
        "id": str(new.id),
        "schema": new.event.schema_version,
        "stream": new.stream,
        "type": new.event.type,
    }
    if new.causation is not None:
        body["causation"] = str(new.causation)
    if new.correlation is not None:
        body["correlation"] = str(new.correlation)
    if sealed:
        body["sealed"] = sealed
    return body


def _canonical_body(new: NewEvent, data: dict[str, JSON], sealed: dict[str, JSON]) -> bytes:
    try:
        return _canonical(_body(new, data, sealed), "", MAX_BODY_BYTES)
    except InvalidEvent as error:
        if error.field not in {"", "data"}:
            raise
        raise InvalidEvent(_culprit(data), error.reason) from error


def _culprit(data: dict[str, JSON]) -> str:
    """Return the member of `data` that makes the body too deep or too long."""
    sizes: dict[str, int] = {}
    for name, value in data.items():
        try:
            sizes[name] = len(canonical({"data": {name: value}}))
        except NotCanonical:
            return name
    return max(sizes, key=sizes.__getitem__, default="")


def _canonical(value: JSON, field: str, limit: int) -> bytes:
    try:
        text = canonical(value, path=field)
    except NotCanonical as error:
        raise InvalidEvent(error.path.removeprefix("data."), error.reason) from error
    if len(text) > limit:
        raise InvalidEvent(field, f"{len(text)} bytes as canonical JSON; at most {limit} are allowed")
    return text

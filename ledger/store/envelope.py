"""Encode an event as a line for append(): the canonical parts of its body, and the sealed values beside them."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, cast
from uuid import UUID

from pydantic import BaseModel

from ledger.domain.client_scope import ClientScope
from ledger.domain.subject import stream_of
from ledger.errors import InvalidEvent
from ledger.proof.format.canonical import JSON, NotCanonical, canonical
from ledger.proof.format.hashes import SALT_BYTES, commitment
from schema.events import Event

MAX_BODY_BYTES = 1024 * 1024
MAX_SEALED_BYTES = 8 * 1024 * 1024
# The approximate number of bytes of a line without its head and its sealed values.
REST_BYTES = 200
# The limit of is_small(). Keys beyond ASCII are slow: 200 of them take 1.5 ms.
SMALL = 200
MODEL = type(BaseModel)

Expected = Literal["any", "no_stream", "stream_exists"] | int


@dataclass(frozen=True, slots=True)
class Actor:
    """The originator of an event, made from the caller's credentials and never from a payload.

    `id` is the name of the subject. `credential` is the number of the credential that the subject acts with; None for
    parts of the ledger itself and for operators at the command line, who have none. `judged` is the version of the
    subject's stream at which its rights were judged: nothing is appended once that stream has moved on.
    """

    id: str
    kind: Literal["human", "agent", "service"]
    role: str
    credential: int | None = None
    # Part of the format (docs/formats/event.md, section 2); no command of this program sets it yet.
    on_behalf_of: str | None = None
    judged: int | None = None
    # The clients that the actor may act on; None means all. It is not recorded.
    scope: ClientScope | None = None

    def as_json(self) -> dict[str, JSON]:
        """Return the member "actor" of a body."""
        actor: dict[str, JSON] = {"id": self.id, "kind": self.kind, "role": self.role}
        if self.credential is not None:
            actor["credential"] = self.credential
        if self.on_behalf_of is not None:
            actor["on_behalf_of"] = self.on_behalf_of
        return actor


@dataclass(frozen=True, slots=True)
class Backfill:
    """The origin of an imported event: actor, time, and where these were written down.

    `occurred_at` is RFC 3339 in UTC; `source` names the source, and file, line and id of the event there.
    """

    actor: Actor
    occurred_at: str
    source: Mapping[str, JSON]

    def as_json(self) -> dict[str, JSON]:
        """Return the member "backfill" of a body."""
        return {"actor": self.actor.as_json(), "occurred_at": self.occurred_at, "source": dict(self.source)}


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
    # The member "signature" of a signed act (docs/formats/signed-acts.md), and the salts that its signer chose, of 32
    # bytes, for each sealed value that the event has.
    signature: Mapping[str, JSON] | None = None
    salts: Mapping[str, bytes] = field(default_factory=dict)
    # Set for an imported event; `actor` is then the importer.
    backfill: Backfill | None = None

    @property
    def conditions(self) -> dict[str, JSON]:
        """Return the preconditions, including that the actor's subject has not changed since it was judged."""
        if self.actor.judged is None:
            return dict(self.preconditions)
        return {**self.preconditions, stream_of(self.actor.id): self.actor.judged}


@dataclass(frozen=True, slots=True)
class SealedValue:
    """A sealed field: its name, its salt, and its value as canonical JSON."""

    name: str
    salt: bytes
    value: str


@dataclass(frozen=True, slots=True)
class Line:
    """An event as append() takes it: the canonical parts of the body, and what append() checks.

    `head` is the body up to the end of "data", without the last brace. `size` is about the number of bytes to send.
    """

    head: str
    id: UUID
    stream: str
    type: str
    schema: int
    expected: str
    preconditions: str | None
    sealed: tuple[SealedValue, ...]
    signature: str | None
    size: int

    def body(self) -> bytes:
        """Return the body as append() makes it, but without the number that a stream ending in "-" gets."""
        tail = f',"id":"{self.id}","schema":{self.schema}'
        if self.sealed:
            opened = [f'"{one.name}":"{commitment(one.name, one.salt, one.value.encode())}"' for one in self.sealed]
            tail += f',"sealed":{{{",".join(opened)}}}'
        if self.signature is not None:
            tail += f',"signature":{self.signature}'
        return f'{self.head}{tail},"stream":{canonical(self.stream).decode()},"type":"{self.type}"}}'.encode()


def uuid7() -> UUID:
    """Return a new id, ordered by time (RFC 9562 section 5.7), so that new ids are neighbours in the index."""
    stamp = time.time_ns() // 1_000_000
    noise = secrets.randbits(74)
    return UUID(int=(stamp << 80) | (0x7 << 76) | ((noise >> 62) << 64) | (0b10 << 62) | (noise & ((1 << 62) - 1)))


def idempotent_id(caller: str, key: str) -> UUID:
    """Return the id for a caller's Idempotency-Key, the same for each attempt (version 8, RFC 9562 section 5.8)."""
    digest = int.from_bytes(sha256(f"advice-ledger/idempotency/v1\n{caller}\n{key}".encode()).digest()[:16])
    return UUID(int=(digest & ~(0xF << 76) & ~(0b11 << 62)) | (0x8 << 76) | (0b10 << 62))


def is_small(event: Event) -> bool:
    """Return True if the event is encoded within about a millisecond, so that no thread is needed for it."""
    return _left(vars(event), SMALL) > 0


def _left(value: object, left: int) -> int:
    """Return `left` minus the size of a value: 1 for each member or item, and 1 for each 256 characters."""
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


def encode(new: NewEvent) -> Line:
    """Return a line for append(). Raises InvalidEvent with the field."""
    event = new.event
    # Not mode="json": it silently replaces a lone surrogate in a key. canonical() refuses what is not JSON.
    data = event.model_dump(exclude_none=True)
    sealed = tuple(_seal(new, name, data.pop(name)) for name in sorted(event.sealed & data.keys()))
    signature = None if new.signature is None else canonical(dict(new.signature)).decode()
    _canonical(new.stream, "stream", MAX_BODY_BYTES)
    head = _head(new, data)
    line = Line(
        head=head[:-1].decode(),
        id=new.id,
        stream=new.stream,
        type=event.type,
        schema=event.schema_version,
        expected=str(new.expected),
        preconditions=canonical(conditions).decode() if (conditions := new.conditions) else None,
        sealed=sealed,
        signature=signature,
        size=len(head) + REST_BYTES + len(signature or "") + sum(len(one.value) for one in sealed),
    )
    # Only a body that is nearly too long is worth measuring.
    if len(head) > MAX_BODY_BYTES // 2:
        _check_size(len(line.body()), _culprit(data), MAX_BODY_BYTES)
    return line


def _seal(new: NewEvent, name: str, value: JSON) -> SealedValue:
    salt = new.salts.get(name) or os.urandom(SALT_BYTES)
    return SealedValue(name, salt, _canonical(value, name, MAX_SEALED_BYTES).decode())


def _head(new: NewEvent, data: dict[str, JSON]) -> bytes:
    head: dict[str, JSON] = {"actor": new.actor.as_json(), "data": data}
    if new.backfill is not None:
        head["backfill"] = new.backfill.as_json()
    if new.causation is not None:
        head["causation"] = str(new.causation)
    if new.correlation is not None:
        head["correlation"] = str(new.correlation)
    try:
        return _canonical(head, "", MAX_BODY_BYTES)
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
    _check_size(len(text), field, limit)
    return text


def _check_size(size: int, field: str, limit: int) -> None:
    if size > limit:
        raise InvalidEvent(field, f"{size} bytes as canonical JSON; at most {limit} are allowed")

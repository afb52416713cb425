"""Read lines of NDJSON as events of a history. There are three kinds, told apart by their members.

bundle    a line of `events.ndjson` in an evidence bundle: docs/formats/bundle.md, section 3
shown     an answer of `GET /events/{position}`
plain     written by other programs: docs/use/import.md
"""

from __future__ import annotations

from binascii import unhexlify
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from ledger.imports.history import BadLine, HistoryEvent, Incomplete, checked_time, microseconds
from ledger.proof.errors import malformation
from ledger.proof.format.canonical import canonical, parse_object, quick
from ledger.proof.format.commitments import open_sealed
from ledger.proof.format.hashes import event_hash
from ledger.store.envelope import Actor
from schema.events import CATALOGUE

ACTOR_MEMBERS = {"id", "kind", "role", "credential", "on_behalf_of"}
NOTHING = b"{}"
MOST_LINE_BYTES = 64 * 1024 * 1024


class PlainLine(BaseModel):
    """A line that another program wrote. `position` defaults to the number of the line."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(min_length=1)]
    stream: str
    type: str
    occurred_at: str
    actor: dict[str, Any]
    data: dict[str, Any]
    position: StrictInt | None = None
    causation: str | None = None
    # The salts in hex, by name of a sealed member. The import makes the missing ones.
    salts: dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] = Field(default_factory=dict)


def read_line(text: bytes, file: str, number: int) -> HistoryEvent:
    """Return the event of a line. Raises BadLine."""
    try:
        members = orjson.loads(text)
    except ValueError as error:
        raise BadLine("line", "Input should be a JSON object") from error
    if not isinstance(members, dict):
        raise BadLine("line", "Input should be a JSON object")
    if "body" not in members:
        return _plain(members, file, number, len(text))
    return _shown(members, file, number) if "sealed" in members else _bundle(members, file, number)


def _bundle(members: dict[str, Any], file: str, number: int) -> HistoryEvent:
    body = _text(members, "body")
    at_us = _integer(members, "recorded_at_us")
    _check_hash(members, body, at_us)
    sealed = (_text(members, "fields"), _text(members, "salts")) if "fields" in members else (NOTHING, NOTHING)
    return _recorded(body, _integer(members, "position"), at_us, sealed, (file, number))


def _shown(members: dict[str, Any], file: str, number: int) -> HistoryEvent:
    body = _text(members, "body")
    at_us = microseconds(members.get("recorded_at"), "recorded_at")
    _check_hash(members, body, at_us)
    sealed = _object(members["sealed"], "sealed")
    shown = {name: _object(one, name) for name, one in sealed.items()}
    known = {name: one for name, one in shown.items() if one.get("state") == "shown"}
    try:
        fields = canonical({name: one.get("value") for name, one in known.items()})
    except ValueError as error:
        raise BadLine("sealed", malformation(error)) from error
    salts = orjson.dumps({name: one.get("salt") for name, one in known.items()})
    return _recorded(body, _integer(members, "position"), at_us, (fields, salts), (file, number))


def _recorded(
    text: bytes, position: int, at_us: int, sealed: tuple[bytes, bytes], place: tuple[str, int]
) -> HistoryEvent:
    """Return an event of a ledger, whose sealed values (as JSON, with the salts) open its commitments."""
    fields, salts = sealed
    try:
        body = parse_object(text)
    except ValueError as error:
        raise BadLine("body", malformation(error)) from error
    commitments = _object(body.get("sealed", {}), "body.sealed")
    try:
        if fields != NOTHING:
            open_sealed(commitments, salts, fields)
    except ValueError as error:
        raise BadLine("fields", "the sealed values are not those of the event") from error
    values: dict[str, Any] = orjson.loads(fields)
    salt_of: dict[str, str] = orjson.loads(salts)
    event = HistoryEvent(
        *place,
        _text(body, "id").decode(),
        position,
        _text(body, "stream").decode(),
        _text(body, "type").decode(),
        checked_time(at_us, "recorded_at"),
        actor(body.get("actor")),
        _object(body.get("data"), "data"),
        values,
        {name: unhexlify(salt_of[name]) for name in values},
        body.get("causation"),
        body.get("correlation"),
        "signature" in body,
        len(text) + len(fields),
        quick(body) == text and quick(values) == fields,
    )
    backfill = body.get("backfill")
    if backfill is not None:
        event = _original(event, _object(backfill, "backfill"))
    missing = sorted(commitments.keys() - values.keys())
    if missing and event.is_imported:
        raise Incomplete(event, missing[0])
    return event


def _original(event: HistoryEvent, backfill: dict[str, Any]) -> HistoryEvent:
    """Return an event that was imported before, as it was in its first history."""
    at_us = microseconds(backfill.get("occurred_at"), "backfill.occurred_at")
    names = {name: getattr(event, name) for name in HistoryEvent.__slots__}
    return HistoryEvent(**{**names, "occurred_at_us": at_us, "actor": actor(backfill.get("actor"))})


def _plain(members: dict[str, Any], file: str, number: int, size: int) -> HistoryEvent:
    try:
        line = PlainLine.model_validate(members)
    except ValidationError as error:
        raise bad(error) from error
    kind = CATALOGUE.get(line.type)
    sealed = frozenset[str]() if kind is None else kind.sealed
    data = line.data if kind is None else dumped(kind, line.data)
    if unknown := sorted(line.salts.keys() - (sealed & data.keys())):
        raise BadLine("salts", f"Input should have salts of sealed members that are there, not of {unknown[0][:80]!a}")
    return HistoryEvent(
        file,
        number,
        line.id,
        number if line.position is None else line.position,
        line.stream,
        line.type,
        microseconds(line.occurred_at, "occurred_at"),
        actor(line.actor),
        {name: value for name, value in data.items() if name not in sealed},
        {name: value for name, value in data.items() if name in sealed},
        {name: unhexlify(salt) for name, salt in line.salts.items()},
        causation=line.causation,
        size=size,
        typed=kind is not None,
    )


def dumped(kind: type[BaseModel], data: dict[str, Any]) -> dict[str, Any]:
    """Return the members of an event as the ledger writes them. Raises BadLine."""
    try:
        return kind.model_validate(data).model_dump(exclude_none=True)
    except ValidationError as error:
        raise bad(error, "data") from error


def bad(error: ValidationError, within: str = "") -> BadLine:
    """Return the first fault, with its field and without its value."""
    [first, *_] = error.errors(include_input=False, include_context=False, include_url=False)
    place = ".".join(str(part) for part in (*([within] if within else []), *first["loc"]))
    return BadLine(place or "line", first["msg"])


def actor(value: object) -> Actor:
    """Return the actor. Raises BadLine."""
    members = _object(value, "actor")
    if members.get("kind") not in {"human", "agent", "service"} or not members.keys() <= ACTOR_MEMBERS:
        raise BadLine("actor", "Input should have id, kind (human, agent or service) and role")
    for name in ("id", "role"):
        text = members.get(name)
        if not isinstance(text, str) or not 1 <= len(text) <= 200:
            raise BadLine(f"actor.{name}", "Input should be a text of 1 to 200 characters")
    if type(members.get("credential", 1)) is not int:
        raise BadLine("actor.credential", "Input should be a whole number")
    if not isinstance(members.get("on_behalf_of", ""), str):
        raise BadLine("actor.on_behalf_of", "Input should be a text")
    return Actor(**members)


def _check_hash(members: dict[str, Any], body: bytes, at_us: int) -> None:
    try:
        prev, wanted = unhexlify(members["prev_hash"]), unhexlify(members["hash"])
        found = event_hash(prev, _integer(members, "position"), _integer(members, "version"), at_us, body)
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise BadLine("hash", "Input should have position, version, prev_hash and hash of the event") from error
    if found != wanted:
        raise BadLine("hash", "the event is not what was recorded")


def _text(members: dict[str, Any], name: str) -> bytes:
    value = members.get(name)
    if not isinstance(value, str):
        raise BadLine(name, "Input should be a string")
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise BadLine(name, "Input should be Unicode text") from error


def _integer(members: dict[str, Any], name: str) -> int:
    value = members.get(name)
    if type(value) is not int:
        raise BadLine(name, "Input should be an integer")
    return value


def _object(value: object, name: str) -> dict[str, Any]:
    if type(value) is not dict:
        raise BadLine(name, "Input should be a JSON object")
    return value

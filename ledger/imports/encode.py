"""Encode an event of a history as a line for append(), with its own values and, if it has them, its own salts."""

from __future__ import annotations

import os
from typing import Any
from uuid import UUID

from ledger.errors import InvalidEvent
from ledger.imports.history import HistoryEvent, derived_id, time_text
from ledger.proof.format.canonical import JSON, NotCanonical, canonical, quick
from ledger.proof.format.hashes import SALT_BYTES
from ledger.store.envelope import MAX_BODY_BYTES, MAX_SEALED_BYTES, REST_BYTES, Actor, Backfill, Line, SealedValue


def line_of(
    event: HistoryEvent, id_: UUID, source: str, importer: Actor, data: dict[str, Any], stream: str, expected: str
) -> Line:
    """Return the line. `data` and `stream` have the positions and numbers of this ledger. Raises InvalidEvent.

    `source` is the name of the history. A value without a salt gets a new one.
    """
    encode = _sorted if event.sorted else _canonical
    place: dict[str, JSON] = {"file": event.file, "id": event.id, "line": event.line, "name": source}
    backfill = Backfill(event.actor, time_text(event.occurred_at_us), place)
    head: dict[str, JSON] = {"actor": importer.as_json(), "backfill": backfill.as_json(), "data": data}
    for name, original in (("causation", event.causation), ("correlation", event.correlation)):
        if original is not None:
            head[name] = str(derived_id(source, original))
    sealed = tuple(
        SealedValue(
            name,
            event.salts.get(name) or os.urandom(SALT_BYTES),
            encode(value, name, MAX_SEALED_BYTES).decode(),
        )
        for name, value in sorted(event.values.items())
    )
    text = encode(head, "", MAX_BODY_BYTES - REST_BYTES - 200 * len(sealed))
    return Line(
        head=text[:-1].decode(),
        id=id_,
        stream=stream,
        type=event.type,
        schema=event.schema,
        expected=expected,
        preconditions=None,
        sealed=sealed,
        signature=None,
        size=len(text) + REST_BYTES + sum(len(one.value) for one in sealed),
    )


def _sorted(value: Any, field: str, most: int) -> bytes:
    return _measured(quick(value), field, most)


def _canonical(value: Any, field: str, most: int) -> bytes:
    try:
        text = canonical(value, path=field)
    except NotCanonical as error:
        raise InvalidEvent(error.path, error.reason) from error
    return _measured(text, field, most)


def _measured(text: bytes, field: str, most: int) -> bytes:
    if len(text) > most:
        raise InvalidEvent(field, f"{len(text)} bytes as canonical JSON; at most {most} are allowed")
    return text

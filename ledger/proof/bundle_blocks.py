"""Many lines of events.ndjson at once: what of steps 6 to 9 of docs/format-bundle.md can be said of a block of lines.

Nothing is found wrong here: a block is sound, or it is looked at again line by line by those who name what is wrong. So
each check must be at least as strict as its twin in bundle_lines.py and bundle_events.py.
"""

from __future__ import annotations

import struct
from binascii import unhexlify
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from ledger.proof.bundle_lines import sealed_members
from ledger.proof.chain import EVENT_PREFIX, HASH_BYTES, event_header
from ledger.proof.parse import parse_object
from ledger.proof.sealed import one_opens

# Members of a line without sealed values, and of one with values and salts.
_PLAIN, _WITH_VALUES = 6, 8

_loads, _dumps, _SORTED = orjson.loads, orjson.dumps, orjson.OPT_SORT_KEYS


class Before(NamedTuple):
    """The event before a block, which the log has; `hash` is empty where the one at `position` is not that."""

    position: int
    hash: bytes
    recorded_at_us: int


class Sound(NamedTuple):
    """An event that is in order by itself, and with those before it in its block.

    `leaf` is what the tile must have. `opened` is the only sealed field, where its value opens the commitment; else
    sealed values were not looked at.
    """

    position: int
    leaf: bytes
    hash: bytes
    recorded_at_us: int
    stream: str
    version: int
    kind: str
    opened: str
    sealed: Any
    fields: bytes
    salts: bytes
    withheld: tuple[str, ...]


def sound_events(block: bytes, before: Before, size: int) -> list[Sound] | None:
    """The events of a block of whole lines, if each is one that the log could have there; None says nothing.

    They are in order, after `before` and not beyond `size`. Whether the log has them is not known yet.
    """
    try:
        lines = _cut(block)
        return None if lines is None else _events(lines, before, size)
    except (ValueError, LookupError, TypeError, AttributeError, struct.error):
        return None


def _cut(block: bytes) -> list[dict[str, Any]] | None:
    """The object of each line, if the lines are canonical and their members are flat, as _events() will see.

    One text is parsed and compared for all. Each newline gives way to a comma, and between flat objects alone: in a
    string, the quote after it would end that string and a letter follow. So each line is as many objects as it has
    commas more, and there are no more objects than lines.
    """
    text = b"[%b]" % block[:-1].replace(b'}\n{"b', b'},{"b')
    lines: list[dict[str, Any]] = _loads(text)
    if _dumps(lines, None, _SORTED) != text or len(lines) != block.count(b"\n"):
        return None
    return lines


def _events(lines: list[dict[str, Any]], before: Before, size: int) -> list[Sound] | None:
    """Raises what comes of members that are missing or of another type."""
    found = []
    last, link, time_us = before
    link_hex = link.hex()
    for line in lines:
        position, version, at, own = line["position"], line["version"], line["recorded_at_us"], line["hash"]
        if type(position) is not int or type(version) is not int or type(at) is not int or at < time_us:
            return None
        # What leads here, in the spelling that a line must have.
        named = line["prev_hash"]
        if position != last + 1 or not link:
            link = unhexlify(named)
            link_hex = link.hex()
        if not last < position <= size or named != link_hex or len(link) != HASH_BYTES:
            return None
        # 6. Its own hash.
        body = line["body"].encode()
        link = sha256(b"".join((EVENT_PREFIX, link, event_header(position, version, at), body))).digest()
        link_hex = link.hex()
        if own != link_hex:
            return None
        # 8. The body.
        event = _loads(body)
        if _dumps(event, None, _SORTED) != body:
            event = parse_object(body)
        kind, stream, sealed = event["type"], event["stream"], event.get("sealed")
        if type(kind) is not str or type(stream) is not str or type(event["id"]) is not str:
            return None
        # 9. Sealed values, if there is one and it is disclosed.
        fields = salts = b""
        withheld: tuple[str, ...] = ()
        opened = ""
        if len(line) != _PLAIN:
            fields, salts, withheld = sealed_members(line)
            if len(line) == _WITH_VALUES and type(sealed) is dict and len(sealed) == 1:
                opened = one_opens(sealed, salts, fields)
        last, time_us = position, at
        leaf = sha256(b"\0" + link).digest()
        found.append(Sound(position, leaf, link, at, stream, version, kind, opened, sealed, fields, salts, withheld))
    return found

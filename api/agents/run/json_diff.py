"""List the places where two JSON values differ, short enough for a screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from ledger.proof.format.canonical import canonical

# A value is cut to this length, around the first place where two texts differ.
MAX_SHOWN_CHARS = 160
CHARS_BEFORE = 40
MAX_PATH_CHARS = 200
# Limit for JSON in a string in JSON in a string; recorded values are nested at most 64 times.
MAX_DEPTH = 100


class _Missing:
    """A member or an item that one of the two values does not have."""


MISSING = _Missing()


@dataclass(frozen=True)
class Difference:
    """One place: a dotted path, and the JSON of both values, shortened; None if there is no value."""

    path: str
    recorded: str | None
    replayed: str | None


def differences(recorded: Any, replayed: Any, path: str) -> Iterator[Difference]:
    """Yield each place where the canonical forms differ; nothing if these are the same bytes. Raises NotCanonical."""
    before, after = canonical(recorded), canonical(replayed)
    if before != after:
        yield from _walk(orjson.loads(before), orjson.loads(after), path, 0)


def _walk(before: Any, after: Any, path: str, depth: int) -> Iterator[Difference]:
    if type(before) is type(after):
        if isinstance(before, dict | list):
            yield from _inside(before, after, path, depth)
            return
        if before == after:
            return
        if isinstance(before, str):
            inside = list(_in_text(before, after, path, depth))
            if inside:
                yield from inside
                return
    yield Difference(path[:MAX_PATH_CHARS], _shown(before, after), _shown(after, before))


def _inside(before: Any, after: Any, path: str, depth: int) -> Iterator[Difference]:
    if isinstance(before, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from _walk(before.get(name, MISSING), after.get(name, MISSING), f"{path}.{name}", depth + 1)
        return
    for index in range(max(len(before), len(after))):
        left, right = (value[index] if index < len(value) else MISSING for value in (before, after))
        yield from _walk(left, right, f"{path}[{index}]", depth + 1)


def _in_text(before: str, after: str, path: str, depth: int) -> Iterator[Difference]:
    """Compare two texts that contain JSON objects, such as messages to agents. Other texts give no differences."""
    try:
        left, right = (orjson.loads(canonical(orjson.loads(text))) for text in (before, after))
    except ValueError:  # not JSON, or not canonical, such as nested too deep
        return
    if depth < MAX_DEPTH and isinstance(left, dict) and isinstance(right, dict):
        yield from _walk(left, right, path, depth + 1)


def _shown(value: Any, other: Any) -> str | None:
    if value is MISSING:
        return None
    if isinstance(value, str) and len(value) > MAX_SHOWN_CHARS:
        start = max(0, _common_prefix(value, other) - CHARS_BEFORE) if isinstance(other, str) else 0
        end = start + MAX_SHOWN_CHARS
        value = ("…" if start else "") + value[start:end] + ("…" if end < len(value) else "")
    text = orjson.dumps(value).decode()
    # The string was cut before it was quoted, so that the quotation is complete.
    return text if isinstance(value, str) or len(text) <= MAX_SHOWN_CHARS else text[:MAX_SHOWN_CHARS] + "…"


def _common_prefix(left: str, right: str) -> int:
    """Return the length of the common prefix, by bisection."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if left[:middle] == right[:middle] else (low, middle - 1)
    return low

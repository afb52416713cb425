"""Where two JSON values differ, in words that fit on a screen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from ledger.proof.format.canonical import canonical

# Values are shown so long, around the first place where two texts differ.
MOST_SHOWN = 160
BEFORE = 40
MOST_PATH = 200
# Not into text inside text inside text: what may be recorded is nested 64 times at most.
DEEPEST = 100


class _Missing:
    """Stands for a member or an item that one of the two does not have."""


MISSING = _Missing()


@dataclass(frozen=True)
class Difference:
    """One place: a dotted path, and what stands there as JSON, shortened; None where nothing does."""

    path: str
    recorded: str | None
    replayed: str | None


def differences(recorded: Any, replayed: Any, path: str) -> Iterator[Difference]:
    """Each place where the canonical forms differ; none exactly where those are the same bytes. Raises NotCanonical."""
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
            found = list(_in_text(before, after, path, depth))
            if found:
                yield from found
                return
    yield Difference(path[:MOST_PATH], _shown(before, after), _shown(after, before))


def _inside(before: Any, after: Any, path: str, depth: int) -> Iterator[Difference]:
    if isinstance(before, dict):
        for name in sorted(before.keys() | after.keys()):
            yield from _walk(before.get(name, MISSING), after.get(name, MISSING), f"{path}.{name}", depth + 1)
        return
    for index in range(max(len(before), len(after))):
        one, other = (value[index] if index < len(value) else MISSING for value in (before, after))
        yield from _walk(one, other, f"{path}[{index}]", depth + 1)


def _in_text(before: str, after: str, path: str, depth: int) -> Iterator[Difference]:
    """Differences inside a text that is a JSON object, as messages to agents are; none where it is no such text."""
    try:
        one, other = (orjson.loads(canonical(orjson.loads(text))) for text in (before, after))
    except ValueError:  # no JSON, or none that may be recorded: then it is no deeper than that, either
        return
    if depth < DEEPEST and isinstance(one, dict) and isinstance(other, dict):
        yield from _walk(one, other, path, depth + 1)


def _shown(value: Any, other: Any) -> str | None:
    if value is MISSING:
        return None
    if isinstance(value, str) and len(value) > MOST_SHOWN:
        start = max(0, _same(value, other) - BEFORE) if isinstance(other, str) else 0
        end = start + MOST_SHOWN
        value = ("…" if start else "") + value[start:end] + ("…" if end < len(value) else "")
    text = orjson.dumps(value).decode()
    # A quotation is shortened before it is escaped, so that it stays whole.
    return text if isinstance(value, str) or len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"


def _same(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one[:middle] == other[:middle] else (low, middle - 1)
    return low

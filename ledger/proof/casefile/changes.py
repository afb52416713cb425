"""Compare two contents line by line, such as what was recommended with what was decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ledger.proof.format.canonical import MAX_DEPTH

# The members by which items of a list are the same thing, the first that all items have.
KEYS = ("asset_class", "asset", "instrument", "isin", "ticker", "symbol", "id", "name")

# Characters of all paths of a comparison in a case file.
MOST_PATHS = 262_144


class Line(NamedTuple):
    """One place: a path, and the value before and after; None where there is none."""

    path: str
    before: Any
    after: Any
    changed: bool


def lines(before: Any, after: Any) -> list[Line]:
    """Return a line for each value in one content or the other, in the order of the first one that has it."""
    old, new = dict(_values(before, "")), dict(_values(after, ""))
    return [Line(path, old.get(path), new.get(path), _differ(path, old, new)) for path in {**old, **new}]


def few_lines(before: Any, after: Any) -> list[Line] | None:
    """Return the lines, or None if their paths have more than MOST_PATHS characters: a hostile value can have many."""
    total = 0
    for value in (before, after):
        for path, _ in _values(value, ""):
            total += len(path)
            if total > MOST_PATHS:
                return None
    return lines(before, after)


def changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Line]:
    """Return a line for each value that differs."""
    return [line for line in lines(before, after) if line.changed]


def _differ(path: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    # In JSON, true is not 1.
    same_kind = isinstance(old.get(path), bool) == isinstance(new.get(path), bool)
    return (path in old) != (path in new) or old[path] != new[path] or not same_kind


def _values(value: Any, path: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield path and value of each part that has no parts, or is nested deeper than any recorded value."""
    if isinstance(value, dict) and value and depth < MAX_DEPTH:
        for name, part in value.items():
            yield from _values(part, f"{path}.{name}" if path else str(name), depth + 1)
    elif isinstance(value, list) and value and depth < MAX_DEPTH:
        for key, item in zip(_keys(value), value, strict=True):
            yield from _values(item, f"{path}[{key}]", depth + 1)
    elif path:
        yield path, value


def _keys(items: list[Any]) -> list[str]:
    """Name the items of a list: by the member that identifies them, or else by their number."""
    for key in KEYS:
        if all(isinstance(item, dict) and isinstance(item.get(key), str) for item in items):
            names = [f"{key}={item[key]}" for item in items]
            if len(set(names)) == len(names):
                return names
    return [str(number) for number in range(len(items))]

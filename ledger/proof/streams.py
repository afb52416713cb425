"""Step 6 of docs/format.md, section 5, and the numbers of step 9: the events once more, stream by stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ledger.proof.findings import Findings, Kind


def check_streams(
    rows: Iterable[tuple[int, int, str]], numbers: Mapping[str, int], findings: Findings, key: str
) -> int:
    """Checks (position, version, stream), ordered by stream and version: versions count from 1, along with positions.

    `numbers` has the last number given out in each category, such as "request-". What a finding that is there already explains
    is not reported again. Returns the sum of the keyed hash of all rows.
    """
    total = 0
    current, before, at = "", 0, 0
    highest = dict.fromkeys(numbers, 0)
    for position, version, stream in rows:
        total += hash(f"{key}{position} {version} {stream}")
        if stream != current:
            current, before, at = stream, 0, 0
            category, number = _split(stream)
            if category in highest:
                highest[category] = max(highest[category], number)
        if version != before + 1 or position <= at:
            _report(findings, stream, before, version, at, position)
        before, at = version, position
    _check_numbers(numbers, highest, findings)
    return total


def _split(stream: str) -> tuple[str, int]:
    """Category and number of a stream's name; number 0 if it has none."""
    head, hyphen, digits = stream.rpartition("-")
    return head + hyphen, int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 19 else 0


def _report(findings: Findings, stream: str, before: int, version: int, at: int, position: int) -> None:
    first, last = min(at, position), max(at, position)
    if findings.explain(first, last):
        return
    message = f"stream {stream!r}: version {version} follows {before}"
    findings.add(Kind.VERSION_GAP, position, message if position > at else f"{message}, which is at position {at}")


def _check_numbers(numbers: Mapping[str, int], highest: Mapping[str, int], findings: Findings) -> None:
    missing = any(one.kind in {Kind.DELETED, Kind.TRUNCATED} for one in findings)
    for category, last in numbers.items():
        if last < highest[category] or (last > highest[category] and not missing):
            message = f"the last number of {category!r} is said to be {last}; the highest stream has {highest[category]}"
            findings.add(Kind.NUMBER_MISMATCH, 0, message)

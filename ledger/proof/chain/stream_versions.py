"""Versions are contiguous in every stream, told in flat memory: steps 6 and 9 of docs/formats/event.md, section 5.

To remember a version for each stream would take memory without bound. Instead, sums of a keyed hash F are compared:

    events   F(stream, version) over all events
    befores  F(stream, version - 1) over all events but those of version 1
    ends     F(stream, last version) over all streams, which someone who has them by stream gives

In a contiguous stream each event but the last is the one before another, so events = befores + ends. And where the sums
agree, going down from the last version shows one event of each version to 1, and no other. Without the key, drawn for
this one run, nobody makes sums of other sets agree but by a chance of 2^-64 (an additive multiset hash).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

from ledger.proof.findings import Findings, Kind

# (position, stream, version, the version before it in the stream, the position of that): 0 where there is none.
OddVersion = tuple[int, str, int, int, int]


class Streams:
    """events - befores. F is Python's hash of a string, SipHash; the key is ours, whatever PYTHONHASHSEED says."""

    def __init__(self) -> None:
        self._key = secrets.token_hex(16)
        self._sum = 0

    def add(self, stream: str, version: int) -> None:
        """An event was seen."""
        key = self._key
        self._sum += hash(f"{key}{version} {stream}")
        if version > 1:
            self._sum -= hash(f"{key}{version - 1} {stream}")

    def contiguous(self, ends: Iterable[tuple[str, int]], highest: dict[str, int]) -> bool:
        """Whether all versions are contiguous, given each stream and its last version.

        On the way, the highest number of a stream in each category that `highest` has goes into it.
        """
        key, total, possible = self._key, 0, True
        for stream, last in ends:
            total += hash(f"{key}{last} {stream}")
            possible = possible and last > 0
            category, number = _split(stream)
            if highest.get(category, number) < number:
                highest[category] = number
        return possible and total == self._sum


def _split(stream: str) -> tuple[str, int]:
    """Category and number of a stream's name, as in "request-" and 7; number 0 if it has none."""
    head, hyphen, digits = stream.rpartition("-")
    proper = digits.isascii() and digits.isdecimal() and len(digits) < 19 and digits[0] != "0"
    return head + hyphen, int(digits) if proper else 0


def report_odd(findings: Findings, odd: Iterable[OddVersion]) -> None:
    """Names the versions that do not follow the one before, unless events that were lost or changed explain it."""
    found = False
    for position, stream, version, before, at in odd:
        found = True
        if not findings.explain(min(at, position), max(at, position)):
            what = f"version {version} of stream {stream!r} follows {before}"
            message = what if position > at else f"{what}, which is at the later position {at}"
            findings.add(Kind.VERSION_GAP, position, message)
    if not found:
        message = "ordered by stream, the table gives other events than ordered by position: rebuild its indexes"
        findings.add(Kind.INDEX_MISMATCH, 0, message)


def check_numbers(findings: Findings, numbers: Mapping[str, int], highest: Mapping[str, int]) -> None:
    """The last number given out in each category, such as "request-", is the highest that a stream has."""
    lost = any(one.kind in {Kind.DELETED, Kind.TRUNCATED} for one in findings)
    for category, last in numbers.items():
        if last < highest[category] or (last > highest[category] and not lost):
            message = (
                f"the last number of {category!r} should be {highest[category]}, as a stream has it, and is {last}"
            )
            findings.add(Kind.NUMBER_MISMATCH, 0, message)

"""Check that versions are contiguous in every stream: step 6 of docs/formats/event.md, section 5, in flat memory.

A version for each stream would take memory without bound, so sums of a
keyed hash F are compared:

    events   F(stream, version) over all events
    befores  F(stream, version - 1) over all events but those of version 1
    ends     F(stream, last version) over all streams, from a list of the streams

In a contiguous stream each event but the last is the one before another, so events = befores + ends. Where the sums
agree, there is one event of each version from the last down to 1, and no other. The key is drawn for each run; without
it, nobody makes sums of other sets agree but by a chance of 2^-64 (an additive multiset hash).
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from hashlib import sha256


class StreamVersions:
    """Compute the sum events - befores. F is the first eight bytes of a SHA-256 with a secret key before the message.

    With the same key, the sums of two parts of the chain add up to the sum of both.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self.key = secrets.token_bytes(16) if key is None else key
        self.sum = 0

    def add(self, stream: str, version: int) -> None:
        """Add an event."""
        self.sum += self._hash(stream, version)
        if version > 1:
            self.sum -= self._hash(stream, version - 1)

    def _hash(self, stream: str, version: int) -> int:
        return int.from_bytes(sha256(b"%b%d %b" % (self.key, version, stream.encode())).digest()[:8])

    def contiguous(self, ends: Iterable[tuple[str, int]], highest: dict[str, int]) -> bool:
        """Return True if all versions are contiguous, given each stream and its last version.

        Updates `highest` with the highest number of a stream, for each category.
        """
        total, possible = 0, True
        for stream, last in ends:
            total += self._hash(stream, last)
            possible = possible and last > 0
            category, number = _split(stream)
            if highest.get(category, number) < number:
                highest[category] = number
        return possible and total == self.sum


def _split(stream: str) -> tuple[str, int]:
    """Return the category and number of a stream's name, such as "request-" and 7; number 0 if the name has none."""
    head, hyphen, digits = stream.rpartition("-")
    proper = digits.isascii() and digits.isdecimal() and len(digits) < 19 and digits[0] != "0"
    return head + hyphen, int(digits) if proper else 0

"""Checks a whole chain, row by row, in flat memory: docs/format.md, section 5. The steps below have its numbers.

Nothing here believes a stored hash, and nothing here raises because of what a row holds: what is wrong becomes a
finding with a name and a position. A row whose hash is not its own is not looked at further.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from ledger.proof.breaks import Chain
from ledger.proof.canonical import NotCanonical, canonical
from ledger.proof.chain import SALT_BYTES, commitment, event_hash
from ledger.proof.findings import ChainReport, Findings, Head, Kind, Row

_FAST = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
# Deeper values take the slow way, which knows the limit.
_FAST_DEPTH = 16


class ChainVerifier:
    """Takes the events in order of position, then what else is known, then gives its report.

    Rows go to `feed`; then, each once and in this order, `versions`, `strays` and `finish`. `head` None: there is none.
    """

    def __init__(self, head: Head | None) -> None:
        self.findings = Findings()
        self._head = head
        self._head_position = -1 if head is None else head.position
        self._chain = Chain(head, self.findings)
        self._time_us: int | None = None
        self._events = 0
        self._first = 0
        self._opened = 0
        self._erased = 0
        self._binding = Binding()

    def feed(self, rows: Iterable[Row]) -> None:
        """Steps 1 to 5 and 7 for the next rows."""
        for row in rows:
            self._add(row)

    def _add(self, row: Row) -> None:
        position, event_id, stream, version, kind, at, prev_hash, recorded, body, salts, fields = row
        chain = self._chain
        self._events += 1
        self._binding.add(position, version, stream)
        # Steps 1 to 3: position, link and hash.
        try:
            digest = event_hash(prev_hash, position + chain.shift, version, at, body)
        except struct.error:  # A number beyond 64 bits, or below zero: no event has it.
            digest = b""
        if position == self._head_position:
            chain.at_head = recorded
        if position == chain.next and prev_hash == chain.link and digest == recorded:
            chain.next = position + 1
            chain.link = recorded
            chain.before = chain.last
            chain.last = row
        elif not chain.explain(row, digest):
            return
        # Step 4: the body is canonical JSON and agrees with its columns.
        try:
            event = orjson.loads(body)
            if orjson.dumps(event, option=_FAST) != body or not body.isascii() or not plain(event.values()):
                self._look_closer(position, event, body)
            if event["id"] != event_id or event["stream"] != stream or event["type"] != kind:
                self._disagree(row, event)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            self._malformed(position, error)
            return
        # Step 5: times.
        if self._time_us is not None and at < self._time_us:
            self._decreases(position, at)
        else:
            self._time_us = at
        # Step 7: sealed values. Of renumbered rows it is not known whether the values beside them were renumbered too.
        sealed = event.get("sealed")
        if (sealed is not None or fields is not None) and not chain.shift:
            self._open(position, sealed, salts, fields)

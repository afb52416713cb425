"""What a check of the chain says: named findings, each at a position, and the report they stand in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

MOST_FINDINGS = 100

NOT_PROVEN = (
    "a rewrite of the whole suffix with recomputed hashes is not detectable without a signed checkpoint held "
    "elsewhere; none was given"
)

# The steps of docs/formats/event.md, section 5, by number.
STEPS = {
    1: "positions count 1, 2, 3… without gaps",
    2: "each event names the hash of the one before it",
    3: "each hash is that of its event",
    4: "each body is canonical JSON and agrees with its columns",
    5: "times never decrease",
    6: "versions count 1, 2, 3… in each stream",
    7: "sealed values are those that the events commit to",
    8: "the head is the last event",
    9: "the side tables agree with the events",
    10: "signed checkpoints are of these events",
}


class Kind(StrEnum):
    """What is wrong. The name is part of the interface: programs match on it."""

    DELETED = "deleted"
    INSERTED = "inserted"
    REORDERED = "reordered"
    GENESIS_MISMATCH = "genesis-mismatch"
    EDITED = "edited"
    MALFORMED = "malformed"
    COLUMN_MISMATCH = "column-mismatch"
    TIME_DECREASING = "time-decreasing"
    VERSION_GAP = "version-gap"
    INDEX_MISMATCH = "index-mismatch"
    COMMITMENT_MISMATCH = "commitment-mismatch"
    STRAY_SEALED = "stray-sealed"
    TRUNCATED = "truncated"
    HEAD_MISMATCH = "head-mismatch"
    CLIENT_MISMATCH = "client-mismatch"
    NUMBER_MISMATCH = "number-mismatch"
    DAMAGED = "damaged"
    BAD_SIGNATURE = "bad-signature"
    UNTRUSTED_KEY = "untrusted-key"
    OTHER_LEDGER = "other-ledger"
    TOO_FEW_WITNESSES = "too-few-witnesses"
    ROLLED_BACK = "rolled-back"
    FORKED = "forked"


STEP_OF = {
    Kind.DELETED: 1,
    Kind.INSERTED: 1,
    Kind.REORDERED: 1,
    Kind.GENESIS_MISMATCH: 2,
    Kind.EDITED: 3,
    Kind.MALFORMED: 4,
    Kind.COLUMN_MISMATCH: 4,
    Kind.TIME_DECREASING: 5,
    Kind.VERSION_GAP: 6,
    Kind.INDEX_MISMATCH: 6,
    Kind.COMMITMENT_MISMATCH: 7,
    Kind.STRAY_SEALED: 7,
    Kind.TRUNCATED: 8,
    Kind.HEAD_MISMATCH: 8,
    Kind.CLIENT_MISMATCH: 9,
    Kind.NUMBER_MISMATCH: 9,
    Kind.DAMAGED: 10,
    Kind.BAD_SIGNATURE: 10,
    Kind.UNTRUSTED_KEY: 10,
    Kind.OTHER_LEDGER: 10,
    Kind.TOO_FEW_WITNESSES: 10,
    Kind.ROLLED_BACK: 10,
    Kind.FORKED: 10,
}

# Kinds that say that rows are not those that were recorded: what else is odd about such rows follows from it.
REWRITES = frozenset((Kind.DELETED, Kind.INSERTED, Kind.REORDERED, Kind.EDITED, Kind.TRUNCATED))
CHANGES = REWRITES | {Kind.MALFORMED, Kind.COLUMN_MISMATCH}


class Stored(NamedTuple):
    """An event as it is recorded. Hashes are 32 bytes and `recorded_at_us` microseconds since 1970, if genuine."""

    position: int
    id: str
    stream: str
    version: int
    type: str
    recorded_at_us: int
    prev_hash: bytes
    hash: bytes
    body: bytes
    salts: bytes | None
    fields: bytes | None


# A plain tuple in the same order will do, and is quicker to make.
Row = tuple[int, str, str, int, str, int, bytes, bytes, bytes, bytes | None, bytes | None]


@dataclass(frozen=True)
class Head:
    """What the ledger says of its own end; `position` 0, the genesis hash and time 0 while it is empty."""

    origin: str
    position: int
    hash: bytes
    recorded_at_us: int


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, first seen at `position` and up to `last_position`; 0 where it is in no event."""

    kind: Kind
    position: int
    message: str
    last_position: int

    @property
    def step(self) -> int:
        """The number in STEPS of what does not hold."""
        return STEP_OF[self.kind]

    def covers(self, position: int) -> bool:
        """Whether it is about the event at `position`; two events that changed places do not cover those between."""
        if self.kind is Kind.REORDERED:
            return position in {self.position, self.last_position}
        return self.position <= position <= self.last_position


@dataclass(frozen=True)
class Covered:
    """Of how many events, from the first on, a signed checkpoint was found to be of these events.

    `held`: one that somebody else has, as it was given to the verifier or cosigned by a trusted witness. `signed`: any
    that a trusted key signed. 0 where there is none.
    """

    held: int = 0
    signed: int = 0

    def not_proven(self, last: int) -> str:
        """What checkpoints leave open, of a chain that ends at position `last`."""
        if not self.held:
            return NOT_PROVEN
        if self.held < last:
            return (
                f"no checkpoint that someone else holds covers positions {self.held + 1} to {last}: a rewrite of these"
                " with recomputed hashes is not detectable"
            )
        return "that others are shown the same history: that is what witnesses are for"


@dataclass(frozen=True)
class ChainReport:
    """What was checked and what was found wrong; positions 0 and `head_hash` None where there is no event.

    `opened` and `erased` count sealed values: those that their commitment opens to, and those that are gone.
    `more` counts findings beyond the first `MOST_FINDINGS`, which are not classified. `covered` is None where no
    checkpoint was looked at.
    """

    origin: str | None
    events: int
    first_position: int
    last_position: int
    head_hash: bytes | None
    opened: int
    erased: int
    findings: tuple[Finding, ...]
    more: int
    covered: Covered | None = None

    @property
    def not_proven(self) -> str:
        """What was not checked, because the database alone cannot show it."""
        return NOT_PROVEN if self.covered is None else self.covered.not_proven(self.last_position)

    @property
    def ok(self) -> bool:
        """Whether everything that was checked holds."""
        return not self.findings and not self.more


class Findings:
    """The findings so far, up to a limit. A later row may give an earlier finding its right name."""

    def __init__(self, most: int = MOST_FINDINGS) -> None:
        self._most = most
        self._found: dict[int, Finding] = {}
        self._unless: dict[int, tuple[int, ...]] = {}
        self._keys = 0
        self.more = 0

    @property
    def full(self) -> bool:
        """Whether further findings are only counted."""
        return len(self._found) >= self._most

    def add(
        self, kind: Kind, position: int, message: str, last_position: int | None = None, unless: tuple[int, ...] = ()
    ) -> int:
        """Notes a finding and returns its key. It is dropped if an event at a position in `unless` was rewritten."""
        self._keys += 1
        if self.full:
            self.more += 1
        else:
            self._found[self._keys] = Finding(kind, position, message, last_position or position)
            self._unless[self._keys] = unless
        return self._keys

    def replace(self, key: int, kind: Kind, position: int, message: str, last_position: int | None = None) -> None:
        """Puts another finding in the place of one."""
        if key in self._found:
            self._found[key] = Finding(kind, position, message, last_position or position)

    def drop(self, key: int) -> None:
        """Forgets a finding that another one explains."""
        self._found.pop(key, None)

    def settle(self) -> None:
        """Drops what follows from a rewrite, even one that was only found out later."""
        for key, positions in self._unless.items():
            if key in self._found and any(self.rewritten(position) for position in positions):
                self.drop(key)
        self._unless.clear()

    def rewritten(self, position: int) -> bool:
        """Whether the event at `position` was rewritten."""
        return any(one.kind in REWRITES and one.covers(position) for one in self)

    def explain(self, first: int, last: int) -> bool:
        """Whether rows at positions `first` to `last` were changed, moved, lost or added: what is odd there follows."""
        return any(
            one.kind in CHANGES and one.position <= last and one.last_position >= first for one in self._found.values()
        )

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found.values())

    def in_order(self) -> tuple[Finding, ...]:
        """By position, and by step at one position."""
        return tuple(sorted(self._found.values(), key=lambda one: (one.position, one.step)))

"""What the auditor's program finds wrong with a bundle or a log: docs/formats/bundle.md, section 7."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

MOST_FINDINGS = 100

STEPS = {
    1: "the container is sound, and each file is that of the manifest",
    2: "a trusted key of the log signed the checkpoint",
    3: "witnesses cosigned the checkpoint",
    4: "the checkpoint extends the older one",
    5: "the tiles lead to the signed root",
    6: "each event has its own hash, and the log has it at its position",
    7: "events name the hash of the one before, and times never decrease",
    8: "bodies are canonical JSON with id, stream and type",
    9: "disclosed values are those that the events commit to",
    10: "nothing is missing of what was asked for",
    11: "manifest and page say what the events say",
}


class Wrong(StrEnum):
    """What is wrong. The name is part of the interface: programs match on it."""

    DAMAGED = "damaged"
    FILE_MISMATCH = "file-mismatch"
    BAD_SIGNATURE = "bad-signature"
    UNTRUSTED_KEY = "untrusted-key"
    OTHER_LEDGER = "other-ledger"
    BAD_ROTATION = "bad-rotation"
    TOO_FEW_WITNESSES = "too-few-witnesses"
    BAD_TIMESTAMP = "bad-timestamp"
    ROLLED_BACK = "rolled-back"
    FORKED = "forked"
    PROOF_MISMATCH = "proof-mismatch"
    EDITED = "edited"
    INSERTED = "inserted"
    REORDERED = "reordered"
    UNLINKED = "unlinked"
    GENESIS_MISMATCH = "genesis-mismatch"
    TIME_DECREASING = "time-decreasing"
    MALFORMED = "malformed"
    COMMITMENT_MISMATCH = "commitment-mismatch"
    DELETED = "deleted"
    TRUNCATED = "truncated"
    CLIENT_MISMATCH = "client-mismatch"
    SUMMARY_MISMATCH = "summary-mismatch"


STEP_OF = {
    Wrong.DAMAGED: 1,
    Wrong.FILE_MISMATCH: 1,
    Wrong.BAD_SIGNATURE: 2,
    Wrong.UNTRUSTED_KEY: 2,
    Wrong.OTHER_LEDGER: 2,
    Wrong.BAD_ROTATION: 2,
    Wrong.TOO_FEW_WITNESSES: 3,
    Wrong.BAD_TIMESTAMP: 3,
    Wrong.ROLLED_BACK: 4,
    Wrong.FORKED: 4,
    Wrong.PROOF_MISMATCH: 5,
    Wrong.EDITED: 6,
    Wrong.INSERTED: 6,
    Wrong.REORDERED: 6,
    Wrong.UNLINKED: 7,
    Wrong.GENESIS_MISMATCH: 7,
    Wrong.TIME_DECREASING: 7,
    Wrong.MALFORMED: 8,
    Wrong.COMMITMENT_MISMATCH: 9,
    Wrong.DELETED: 10,
    Wrong.TRUNCATED: 10,
    Wrong.CLIENT_MISMATCH: 10,
    Wrong.SUMMARY_MISMATCH: 11,
}

# Of the contents of events.ndjson: what is odd about its digest, or about counts, follows from them.
CONTENTS = frozenset(wrong for wrong, step in STEP_OF.items() if 6 <= step <= 10)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, first seen at `position` and up to `last_position`; 0 where it is in no event."""

    wrong: Wrong
    position: int
    message: str
    last_position: int
    step: int


class Problems:
    """The findings so far, up to a limit; a later look may replace or drop an earlier one by its key."""

    def __init__(self, most: int = MOST_FINDINGS) -> None:
        self._most = most
        self._found: dict[int, Problem] = {}
        self._keys = 0
        self.more = 0

    def add(
        self, wrong: Wrong, position: int, message: str, last: int | None = None, *, step: int | None = None
    ) -> int:
        """Notes a finding and returns its key. `step` where it is not the usual one of its kind."""
        self._keys += 1
        if len(self._found) >= self._most:
            self.more += 1
        else:
            self._found[self._keys] = Problem(wrong, position, message, last or position, step or STEP_OF[wrong])
        return self._keys

    def replace(self, key: int, wrong: Wrong, position: int, message: str, last: int | None = None) -> None:
        """Puts another finding in the place of one."""
        if key in self._found:
            self._found[key] = Problem(wrong, position, message, last or position, STEP_OF[wrong])

    def drop(self, key: int) -> None:
        """Forgets a finding that another one explains."""
        self._found.pop(key, None)

    @property
    def full(self) -> bool:
        """Whether further findings are only counted."""
        return len(self._found) >= self._most

    def any(self, *kinds: Wrong) -> bool:
        """Whether there is a finding of one of these kinds."""
        return any(one.wrong in kinds for one in self)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found.values())

    def in_order(self) -> tuple[Problem, ...]:
        """By step, and by position in a step."""
        return tuple(sorted(self._found.values(), key=lambda one: (one.step, one.position)))

    def first_bad(self) -> int | None:
        """The first position in doubt; 0 for what is in no event, None when all is well."""
        if not self._found:
            return None
        return min((one.position for one in self if one.position), default=0)

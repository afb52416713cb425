"""Define the findings of a chain, a bundle, a served log and the read models.

A finding has a kind and a position. A document numbers the steps of a verification, and says what each kind breaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

# The number of findings that are kept in full; further ones are only counted.
MOST_FINDINGS = 100


class Kind(StrEnum):
    """The kinds of findings. The names are part of the interface: programs match on them."""

    DAMAGED = "damaged"
    FILE_MISMATCH = "file-mismatch"
    BAD_SIGNATURE = "bad-signature"
    UNTRUSTED_KEY = "untrusted-key"
    OTHER_LEDGER = "other-ledger"
    BAD_ROTATION = "bad-rotation"
    TOO_FEW_WITNESSES = "too-few-witnesses"
    NO_CHECKPOINT = "no-checkpoint"
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
    COLUMN_MISMATCH = "column-mismatch"
    VERSION_GAP = "version-gap"
    INDEX_MISMATCH = "index-mismatch"
    COMMITMENT_MISMATCH = "commitment-mismatch"
    STRAY_SEALED = "stray-sealed"
    SEALED_MISSING = "sealed-missing"
    DELETED = "deleted"
    TRUNCATED = "truncated"
    HEAD_MISMATCH = "head-mismatch"
    CLIENT_MISMATCH = "client-mismatch"
    NUMBER_MISMATCH = "number-mismatch"
    RECORDING_KEY_MISMATCH = "recording-key-mismatch"
    HEADS_MISMATCH = "heads-mismatch"
    ERASURE_MISMATCH = "erasure-mismatch"
    NOT_SHOWN = "not-shown"
    SUMMARY_MISMATCH = "summary-mismatch"
    SIGNATURE_KEY = "signature-key"
    SIGNATURE_COVERS = "signature-covers"
    SIGNATURE_ENCODING = "signature-encoding"
    SIGNATURE_CHALLENGE = "signature-challenge"
    SIGNATURE_ORIGIN = "signature-origin"
    SIGNATURE_DEVICE = "signature-device"
    SIGNATURE_INVALID = "signature-invalid"
    SIGNATURE_REPEATED = "signature-repeated"
    NOT_ATTESTED = "not-attested"
    ATTESTATION_INVALID = "attestation-invalid"
    PROJECTION_DRIFT = "projection-drift"
    SCHEMA_MISMATCH = "schema-mismatch"
    OTHER_VERSION = "other-version"


class Verdict(StrEnum):
    """The result of a verification in words, the same for a ledger and for a bundle."""

    VERIFIED = "verified"
    # A trusted key signed the events up to a position, and no checkpoint covers the rest.
    VERIFIED_IN_PART = "verified in part"
    SIGNER_UNKNOWN = "consistent, signer unknown"
    NOT_SIGNED = "consistent, not signed"
    FAILED = "failed"


# Findings of these kinds say that an event differs from the recorded one. Its other faults follow and are dropped.
REWRITES = frozenset((Kind.DELETED, Kind.INSERTED, Kind.REORDERED, Kind.EDITED, Kind.TRUNCATED))
CHANGES = REWRITES | {Kind.MALFORMED, Kind.COLUMN_MISMATCH}

# docs/formats/signed-acts.md, section 6, and docs/formats/recording.md, section 4: one step of each document.
OF_ACTS = tuple(kind for kind in Kind if kind.startswith("signature-"))
ACTS_PROMISE = "signatures of acts are those of keys that the ledger registered for the actors"
OF_RECORDING = (Kind.NOT_ATTESTED, Kind.ATTESTATION_INVALID)
RECORDING_PROMISE = "recording keys that the ledger registered attest the events, from the first registration on"


class Document:
    """The numbered steps of one verification. Each step has its promise and the kinds of findings that break it."""

    def __init__(self, *steps: tuple[str, tuple[Kind, ...]], by_position: bool) -> None:
        self.steps = {number: promise for number, (promise, _) in enumerate(steps, 1)}
        self.step_of = {kind: number for number, (_, kinds) in enumerate(steps, 1) for kind in kinds}
        # Findings are listed by position, then step; or by step, then position.
        self.by_position = by_position

    def kinds(self, first: int, last: int) -> frozenset[Kind]:
        """Return the kinds that break steps `first` to `last`."""
        return frozenset(kind for kind, step in self.step_of.items() if first <= step <= last)

    def finding(
        self, kind: Kind, position: int, message: str, last_position: int | None = None, step: int | None = None
    ) -> Finding:
        """Return a finding of this document. `step` is given if it is not the usual step of this kind."""
        return Finding(kind, position, message, last_position or position, step or self.step_of[kind])


# docs/formats/event.md, section 5.
CHAIN = Document(
    ("positions count 1, 2, 3… without gaps", (Kind.DELETED, Kind.INSERTED, Kind.REORDERED)),
    ("each event names the hash of the one before it", (Kind.GENESIS_MISMATCH,)),
    ("each hash is that of its event", (Kind.EDITED,)),
    ("each body is canonical JSON and agrees with its columns", (Kind.MALFORMED, Kind.COLUMN_MISMATCH)),
    ("times never decrease", (Kind.TIME_DECREASING,)),
    ("versions count 1, 2, 3… in each stream", (Kind.VERSION_GAP, Kind.INDEX_MISMATCH)),
    (
        "sealed values are those that the events commit to",
        (Kind.COMMITMENT_MISMATCH, Kind.STRAY_SEALED, Kind.SEALED_MISSING, Kind.ERASURE_MISMATCH),
    ),
    ("the head is the last event", (Kind.TRUNCATED, Kind.HEAD_MISMATCH)),
    (
        "side tables and the records of where streams end agree with the events",
        (Kind.CLIENT_MISMATCH, Kind.NUMBER_MISMATCH, Kind.RECORDING_KEY_MISMATCH, Kind.HEADS_MISMATCH),
    ),
    (
        "signed checkpoints are of these events",
        (
            Kind.DAMAGED,
            Kind.BAD_SIGNATURE,
            Kind.UNTRUSTED_KEY,
            Kind.OTHER_LEDGER,
            Kind.TOO_FEW_WITNESSES,
            Kind.NO_CHECKPOINT,
            Kind.ROLLED_BACK,
            Kind.FORKED,
            Kind.PROOF_MISMATCH,
        ),
    ),
    ("each read model holds what folding the chain gives", (Kind.PROJECTION_DRIFT,)),
    (
        "functions, triggers, grants, tables and views are those of this version",
        (Kind.SCHEMA_MISMATCH, Kind.OTHER_VERSION),
    ),
    (ACTS_PROMISE, OF_ACTS),
    (RECORDING_PROMISE, OF_RECORDING),
    by_position=True,
)

# docs/formats/bundle.md, section 7.
BUNDLE = Document(
    ("the container is sound, and each file is that of the manifest", (Kind.DAMAGED, Kind.FILE_MISMATCH)),
    (
        "a trusted key of the log signed the checkpoint",
        (Kind.BAD_SIGNATURE, Kind.UNTRUSTED_KEY, Kind.OTHER_LEDGER, Kind.BAD_ROTATION),
    ),
    ("witnesses cosigned the checkpoint", (Kind.TOO_FEW_WITNESSES, Kind.BAD_TIMESTAMP)),
    ("the checkpoint extends the older one", (Kind.ROLLED_BACK, Kind.FORKED)),
    ("the tiles lead to the signed root", (Kind.PROOF_MISMATCH,)),
    (
        "each event has its own hash, and the log has it at its position",
        (Kind.EDITED, Kind.INSERTED, Kind.REORDERED),
    ),
    (
        "events name the hash of the one before, and times never decrease",
        (Kind.UNLINKED, Kind.GENESIS_MISMATCH, Kind.TIME_DECREASING),
    ),
    ("bodies are canonical JSON with id, stream and type", (Kind.MALFORMED,)),
    ("disclosed values are those that the events commit to", (Kind.COMMITMENT_MISMATCH,)),
    (
        "what was selected is here without a gap, up to the checkpoint, as far as a bundle can show",
        (Kind.DELETED, Kind.TRUNCATED, Kind.CLIENT_MISMATCH, Kind.HEADS_MISMATCH, Kind.NOT_SHOWN),
    ),
    ("manifest and page say what the events say", (Kind.SUMMARY_MISMATCH,)),
    (ACTS_PROMISE, OF_ACTS),
    (RECORDING_PROMISE, OF_RECORDING),
    by_position=False,
)

# Kinds about the contents of events.ndjson. A wrong digest of that file, or wrong counts, follow from them.
CONTENTS = BUNDLE.kinds(6, 10) - {Kind.HEADS_MISMATCH, Kind.NOT_SHOWN}


@dataclass(frozen=True)
class Finding:
    """One thing that does not hold, at positions `position` to `last_position`; 0 if it is about no event."""

    kind: Kind
    position: int
    message: str
    last_position: int
    step: int

    def covers(self, position: int) -> bool:
        """Return True if it is about this event. Two events that changed places do not cover those between them."""
        if self.kind is Kind.REORDERED:
            return position in {self.position, self.last_position}
        return self.position <= position <= self.last_position

    def as_json(self) -> dict[str, int | str]:
        """Return the members that reports have in JSON: docs/use/cli.md and docs/use/auditor.md."""
        return {
            "step": self.step,
            "kind": self.kind,
            "position": self.position,
            "last_position": self.last_position,
            "message": self.message,
        }

    def __str__(self) -> str:
        """Return the line of a report."""
        if self.last_position > self.position > 0:
            return f"{self.kind} at positions {self.position} to {self.last_position}: {self.message}"
        place = f" at position {self.position}" if self.position else ""
        return f"{self.kind}{place}: {self.message}"


def first_bad_position(findings: Iterable[Finding]) -> int | None:
    """Return the first position in doubt: 0 if no finding is about an event, None without findings."""
    positions = [finding.position for finding in findings]
    return min((position for position in positions if position), default=0) if positions else None


class Findings:
    """Collect findings up to a limit. A later event may give an earlier finding its right kind."""

    def __init__(self, document: Document, most: int = MOST_FINDINGS) -> None:
        self._document = document
        self._most = most
        self._kept: dict[int, Finding] = {}
        self._unless: dict[int, tuple[int, ...]] = {}
        self._keys = 0
        self.more = 0

    @property
    def full(self) -> bool:
        """Return True if further findings are only counted."""
        return len(self._kept) >= self._most

    def add(
        self,
        kind: Kind,
        position: int,
        message: str,
        last_position: int | None = None,
        *,
        step: int | None = None,
        unless: tuple[int, ...] = (),
    ) -> int:
        """Add a finding and return its key. `settle` drops it if an event at a position in `unless` was rewritten.

        `step` is given if it is not the usual step of this kind.
        """
        self._keys += 1
        if self.full:
            self.more += 1
        else:
            self._kept[self._keys] = self._document.finding(kind, position, message, last_position, step)
            self._unless[self._keys] = unless
        return self._keys

    def replace(self, key: int, kind: Kind, position: int, message: str, last_position: int | None = None) -> None:
        """Replace a finding by another one, unless it was only counted or dropped."""
        if key in self._kept:
            self._kept[key] = self._document.finding(kind, position, message, last_position)

    def drop(self, key: int) -> None:
        """Remove a finding that another one explains."""
        self._kept.pop(key, None)

    def settle(self) -> None:
        """Drop the findings that follow from a rewrite, including a rewrite that was found later."""
        for key, positions in self._unless.items():
            if key in self._kept and any(self.rewritten(position) for position in positions):
                self.drop(key)
        self._unless.clear()

    def any(self, *kinds: Kind) -> bool:
        """Return True if there is a finding of one of these kinds."""
        return any(finding.kind in kinds for finding in self)

    def rewritten(self, position: int) -> bool:
        """Return True if the event at `position` differs from the one that was recorded."""
        return any(finding.kind in REWRITES and finding.covers(position) for finding in self)

    def explain(self, first: int, last: int) -> bool:
        """Return True if a change of an event at positions `first` to `last` explains other faults there."""
        changes = (finding for finding in self if finding.kind in CHANGES)
        return any(change.position <= last and change.last_position >= first for change in changes)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._kept.values())

    def in_order(self) -> tuple[Finding, ...]:
        """Return the findings in the order of the document."""
        if self._document.by_position:
            return tuple(sorted(self, key=lambda finding: (finding.position, finding.step)))
        return tuple(sorted(self, key=lambda finding: (finding.step, finding.position)))

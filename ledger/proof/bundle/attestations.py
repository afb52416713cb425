"""Check the member `attestations` of a bundle: who recorded its events. docs/formats/bundle.md, section 13.

A line is the attestation of a group: of some of the selected events, or of the registration of a recording key. It has
the digests of all lines of its group, so the signature can be checked without the other events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from ledger.proof.bundle.proven_events import KeyRegistration
from ledger.proof.bundle.zip import BundleError, BundleFlaw
from ledger.proof.errors import malformation
from ledger.proof.findings import Findings, Kind
from ledger.proof.recording.attestation import (
    DIGEST_BYTES,
    NO_KEY_YET,
    REGISTRATION,
    SESSION_BYTES,
    Attestation,
    AttestationChecker,
    line_digest,
    unnumbered,
)
from ledger.proof.tlog.key_rotation import key_name

MAX_LINE_BYTES = 16 * 1024 * 1024
# A parsed list may take many times its length, so a long line is checked before it is parsed.
_FLAT = re.compile(rb'\{(?:"[a-z]{3,9}":(?:"[0-9a-f]*+"|[0-9]{1,19}|\[[0-9,]{0,1048576}\])(?:,|\}\Z)){8}')
_LARGE_BYTES = 1024 * 1024
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64
NO_KEY_SHOWN = "the bundle shows no recording key, and no attestation of these events"
NOT_SHOWN = "who recorded these events: the bundle shows no recording keys, and no attestations"
NOT_PROVEN = "of attested recording: that what was recorded is true; that nobody else has a copy of the recording key"
NO_LATER_KEY = "that no key took the place of a recording key later: a bundle of positions from 1 on shows that"


@dataclass(frozen=True)
class Group:
    """An attestation with the digests of all its lines."""

    attestation: Attestation
    digests: tuple[bytes, ...]


def encode_group(group: Group) -> bytes:
    """Return the line of `attestations` that `parse_group` reads."""
    one = group.attestation
    members: dict[str, Any] = {
        "digests": b"".join(group.digests).hex(),
        "first": one.first,
        "key": one.key.hex(),
        "last": one.last,
        "numbered": sorted(one.numbered),
        "replayed": sorted(one.replayed),
        "serial": one.serial,
        "session": one.session.hex(),
        "signature": one.signature.hex(),
    }
    return orjson.dumps(members, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def parse_group(data: bytes, after: int) -> Group:
    """Parse a line. Raises BundleError if it is malformed. The events before it end at position `after`."""
    try:
        group = _parse(data)
        _expect_form(group, data, after)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BundleError(BundleFlaw.ATTESTATIONS, f"after position {after}: {malformation(error)}") from None
    return group


def _parse(data: bytes) -> Group:
    """Parse a line. Raises ValueError, LookupError, TypeError or AttributeError."""
    if len(data) > _LARGE_BYTES and not _FLAT.fullmatch(data):
        raise ValueError("too large for its contents")
    members = orjson.loads(data)
    joined = bytes.fromhex(members["digests"])
    digests = tuple(joined[at : at + DIGEST_BYTES] for at in range(0, len(joined), DIGEST_BYTES))
    replayed = {line: digests[line - 1] for line in members["replayed"]}
    first, last, serial = (_number(members[name]) for name in ("first", "last", "serial"))
    key, session, signature = (bytes.fromhex(members[name]) for name in ("key", "session", "signature"))
    one = Attestation(first, last, key, session, serial, signature, frozenset(members["numbered"]), replayed)
    return Group(one, digests)


def _expect_form(group: Group, data: bytes, after: int) -> None:
    """Raise ValueError unless the line is in its only valid form, for positions behind `after`."""
    one = group.attestation
    if encode_group(group)[:-1] != data or min(one.replayed, default=1) < 1:
        raise ValueError("not in canonical form")
    if (len(one.key), len(one.session), len(one.signature)) != (_KEY_BYTES, SESSION_BYTES, _SIGNATURE_BYTES):
        raise ValueError("a key, session or signature of another length")
    if not after < one.first <= one.last or one.last - one.first + 1 != len(group.digests) - len(one.replayed):
        raise ValueError("not of positions after those before, or of another number of lines")


def _number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError
    return value


@dataclass
class RecordedBy:
    """Hold the recording key of each event, as far as it is shown. Keys go by the names of their verifier keys."""

    shown: bool = False
    attested: int = 0
    # The number of events before the first registration, which need no attestation.
    before: int = 0
    # The number of events that each key attests, and the position at which each key was registered.
    by_key: dict[str, int] = field(default_factory=dict)
    registered: dict[str, int] = field(default_factory=dict)
    not_proven: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return a line for each key with the number of events that it attests."""
        lines = [
            f"{count} events attested by {name}, registered at position {self.registered[name]}"
            for name, count in self.by_key.items()
        ]
        return [*lines, *([f"{self.before} events from before the first recording key"] if self.before else [])]

    def as_json(self) -> dict[str, Any]:
        """Return the members that reports have in JSON: docs/use/auditor.md."""
        return {
            "shown": self.shown,
            "attested": self.attested,
            "before_first_key": self.before,
            "keys": [
                {"key": name, "registered_at": at, "events": self.by_key.get(name, 0)}
                for name, at in self.registered.items()
            ],
        }


class ShownAttestations:
    """Check attestations: `take` each proven event in order; then `finish`. Attestations are read beside the events.

    `keys` are the proven registrations, from the first of the ledger on; empty if the bundle has none. From
    `needed_from` on, each event must be attested, also before the first registration.
    """

    def __init__(
        self,
        origin: str,
        keys: Sequence[KeyRegistration],
        lines: Iterable[bytes],
        findings: Findings,
        needed_from: int | None = None,
    ) -> None:
        self.report = RecordedBy(shown=bool(keys))
        self._findings = findings
        self._checker = AttestationChecker(origin)
        self._keys = keys
        self._known = {key.position for key in keys}
        self._names = {key.registration.key.public: key_name(key.registration.key) for key in keys}
        # Registrations whose group has not come yet; the next one is last.
        self._waiting = list(reversed(keys))
        self._groups = self._read(lines)
        self._next = next(self._groups, None)
        # The group of the current event, with the lines of its new events; None if the group does not hold.
        self._group: Group | None = None
        self._lines: list[int] = []
        self._last = 0
        self._holds = False
        self._needed_from = needed_from
        # The first and last event that should be attested and come before the first key that is shown.
        self._lacking: tuple[int, int] | None = None

    def take(self, position: int, body: bytes) -> None:
        """Check that an event is attested. Raises BundleError for a malformed attestation."""
        while self._next is not None and self._next.attestation.first <= position:
            self._begin(self._next)
        if body.endswith(REGISTRATION) and position not in self._known:
            message = "this event registers a recording key, and recording-keys does not have it"
            self._findings.add(Kind.NOT_ATTESTED, position, message)
        elif self._group is not None and position <= self._last:
            self._check(self._group, position, body)
        elif self._keys and position >= self._keys[0].position:
            self._findings.add(Kind.NOT_ATTESTED, position, "no recording key of this ledger attests this event")
        else:
            self._pass_early(position)

    def finish(self) -> None:
        """Check the attestations after the last event; these are of registrations. Raises BundleError."""
        while self._next is not None:
            self._begin(self._next)
        self._pass_by(None)
        if self._lacking is not None:
            first, last = self._lacking
            self._findings.add(Kind.NOT_ATTESTED, first, NO_KEY_YET if self._keys else NO_KEY_SHOWN, last)
        self.report.registered = {
            self._names[public]: key.registered for public, key in self._checker.keys.items() if public in self._names
        }

    def _pass_early(self, position: int) -> None:
        """Count an event from before the first key, and note it if it should be attested."""
        self.report.before += bool(self._keys)
        if self._needed_from is not None and position >= self._needed_from:
            self._lacking = (position if self._lacking is None else self._lacking[0], position)

    def _read(self, lines: Iterable[bytes]) -> Iterator[Group]:
        after = 0
        for data in lines:
            group = parse_group(data, after)
            after = group.attestation.last
            yield group

    def _begin(self, group: Group) -> None:
        """Judge the next group. The events that follow belong to it."""
        one = group.attestation
        self._pass_by(one.first)
        self._group, self._last = group, one.last
        self._lines = [line for line in range(1, len(group.digests) + 1) if line not in one.replayed]
        of_keys = []
        while self._waiting and self._waiting[-1].position <= one.last:
            of_keys.append(self._waiting.pop())
        other = any(self._digest(group, key.position) != line_digest(key.body) for key in of_keys)
        registrations = [(key.position, key.registration) for key in of_keys]
        message = (
            "its attestation is not over the registration of a recording key that is among these events"
            if other
            else self._checker.judge(one, group.digests, registrations)
        )
        self._holds = not message
        if message:
            self._findings.add(Kind.ATTESTATION_INVALID, one.first, message, one.last)
        self._next = next(self._groups, None)

    def _pass_by(self, first: int | None) -> None:
        """Report registrations before this position that no attestation covers."""
        while self._waiting and (first is None or self._waiting[-1].position < first):
            message = "no attestation is over the registration of this recording key, so it registers nothing"
            self._findings.add(Kind.NOT_ATTESTED, self._waiting.pop().position, message)

    def _check(self, group: Group, position: int, body: bytes) -> None:
        one = group.attestation
        numbered = self._lines[position - one.first] in one.numbered
        if self._digest(group, position) != line_digest(unnumbered(body) if numbered else body):
            message = "its attestation is over another event"
            self._findings.add(Kind.ATTESTATION_INVALID, position, message)
        elif self._holds:
            name = self._names.get(one.key, "")
            self.report.attested += 1
            self.report.by_key[name] = self.report.by_key.get(name, 0) + 1

    def _digest(self, group: Group, position: int) -> bytes:
        """Return the digest that a group has of the event at a position."""
        return group.digests[self._lines[position - group.attestation.first] - 1]

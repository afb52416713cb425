"""Check who recorded which events: docs/formats/recording.md. A recording process signs each group of events.

A key is judged by position: it must be registered before the group, or by the group if it is the first of the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.proof.findings import Kind
from ledger.proof.tlog.note import VerifierKey

PREFIX = b"advice-ledger/recording/v1\n"
STREAM = "recording-keys"
# The end of the body of a registration: these members are last in its canonical JSON.
REGISTRATION = b'"stream":"recording-keys","type":"recording-key.registered"}'
NO_KEY_YET = "no recording key of this ledger attests these events: they were recorded before the first one"
SESSION_BYTES = 16
DIGEST_BYTES = 32


class Attestation(NamedTuple):
    """The attestation of the events at positions `first` to `last`. Lines count from 1.

    `numbered`: lines whose stream got its number when it was recorded. `replayed`: lines that were recorded before, and
    their digests.
    """

    first: int
    last: int
    key: bytes
    session: bytes
    serial: int
    signature: bytes
    numbered: frozenset[int]
    replayed: dict[int, bytes]


class Fault(NamedTuple):
    """Describe what is wrong with the attestation of the events at positions `first` to `last`."""

    kind: Kind
    first: int
    last: int
    message: str


@dataclass
class RecordingKey:
    """A registered key: the position of its registration, and that of the key that replaced it."""

    registered: int
    replaced: int | None = None


class Registration(NamedTuple):
    """The public keys in an event that registers a key: the new key, and the key that it replaces."""

    key: VerifierKey
    replaces: VerifierKey | None


def statement(origin: str, session: bytes, serial: int, digests: Sequence[bytes]) -> bytes:
    """Return the statement that is signed: section 2."""
    numbers = serial.to_bytes(8, "big") + len(digests).to_bytes(4, "big")
    return b"".join((PREFIX, origin.encode(), b"\n", session, numbers, *digests))


def line_digest(body: bytes) -> bytes:
    """Return the digest of a line, of its body as it was sent: 32 bytes."""
    return sha256(body).digest()


def unnumbered(body: bytes) -> bytes:
    """Return the body as it was sent: without the number that its stream was given."""
    end = body.rfind(b'","type":"')
    return body[:end].rstrip(b"0123456789") + body[end:]


def read_registration(body: bytes) -> Registration | None:
    """Return the keys that a body registers; None if it is no registration."""
    if not body.endswith(REGISTRATION):
        return None
    try:
        data = orjson.loads(body)["data"]
        replaces = data.get("replaces")
        return Registration(VerifierKey.parse(data["key"]), None if replaces is None else VerifierKey.parse(replaces))
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


class AttestationChecker:
    """`take` each event in order, with the attestation that begins there; then `finish`."""

    def __init__(self, origin: str) -> None:
        self.keys: dict[bytes, RecordingKey] = {}
        # The highest serial so far, by key and session.
        self.serials: dict[tuple[bytes, bytes], int] = {}
        self._origin = origin
        self._group: Attestation | None = None
        self._digests: list[bytes] = []
        # Registrations in the group, with their positions.
        self._registrations: list[tuple[int, Registration]] = []

    def register(self, position: int, registration: Registration) -> None:
        """Add a key whose registration holds."""
        replaced = None if registration.replaces is None else self.keys.get(registration.replaces.public)
        if replaced is not None and replaced.replaced is None:
            replaced.replaced = position
        self.keys.setdefault(registration.key.public, RecordingKey(position))

    def take(self, position: int, body: bytes, attestation: Attestation | None) -> Sequence[Fault]:
        """Check the next event. Return the faults of the group that it ends, or of the group before."""
        faults: Sequence[Fault] = ()
        if attestation is not None:
            faults = self.finish()
            self._group, self._digests, self._registrations = attestation, [], []
        group = self._group
        if group is None:
            if self.keys or body.endswith(REGISTRATION):
                message = "no recording key of this ledger attests this event"
                return [Fault(Kind.NOT_ATTESTED, position, position, message)]
            return faults
        line = self._next_line(group)
        self._digests.append(line_digest(unnumbered(body) if line in group.numbered else body))
        registration = read_registration(body)
        if registration is not None:
            self._registrations.append((position, registration))
        if position == group.last:
            self._group = None
            self._next_line(group)
            message = self.judge(group, self._digests, self._registrations)
            if message:
                return [*faults, Fault(Kind.ATTESTATION_INVALID, group.first, group.last, message)]
        return faults

    def finish(self) -> Sequence[Fault]:
        """Return a fault if the last group has no end."""
        group, self._group = self._group, None
        if group is None:
            return ()
        message = f"an attestation of the events up to position {group.last} has not all of these events"
        return [Fault(Kind.ATTESTATION_INVALID, group.first, group.last, message)]

    def _next_line(self, group: Attestation) -> int:
        """Add the digests of the replays before the next event; return the line of that event."""
        while (line := len(self._digests) + 1) in group.replayed:
            self._digests.append(group.replayed[line])
        return line

    def judge(
        self, group: Attestation, digests: Sequence[bytes], registrations: Sequence[tuple[int, Registration]]
    ) -> str:
        """Return what is wrong with a whole group; empty if it holds. If it holds, its registered keys become known.

        `digests` are those of all its lines; `registrations` are those in the group, with their positions.
        """
        key = self.keys.get(group.key)
        begins = not self.keys and any(each.key.public == group.key for _, each in registrations)
        if key is None and not begins:
            return "its attestation is by a key that was not registered before"
        if key is not None and key.replaced is not None:
            return f"its attestation is by a key that was replaced at position {key.replaced}"
        session = group.key, group.session
        last = self.serials.get(session, 0)
        if group.serial <= last:
            return f"its attestation has serial {group.serial}, and one of serial {last} of its session stands before"
        try:
            signed = statement(self._origin, group.session, group.serial, digests)
            Ed25519PublicKey.from_public_bytes(group.key).verify(group.signature, signed)
        except (InvalidSignature, ValueError, OverflowError):
            return "its attestation is not over these events of this ledger"
        self.serials[session] = group.serial
        for position, registration in registrations:
            self.register(position, registration)
        return ""

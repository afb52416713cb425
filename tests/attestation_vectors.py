"""Vectors of attestations in bundles: docs/formats/bundle.md, section 13. All values are fixed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.proof.bundle.attestations import Group, encode_group
from ledger.proof.findings import Kind
from ledger.proof.format.canonical import canonical
from ledger.proof.recording.attestation import Attestation, line_digest, statement, unnumbered
from ledger.tlog.signing_keys import RecordingKey
from tests.ledger.proof.chains import ORIGIN
from tests.vector_parts import Vector, vector

FIRST, SECOND, THIEF = (
    RecordingKey(f"{ORIGIN}/recording", Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))
    for seed in (10, 11, 12)
)
SESSION = bytes(15) + b"\1"

# Position and body of an event.
Event = tuple[int, bytes]


def attestation_vectors() -> Iterator[Vector]:
    """A key at 1, events at 2 to 4 in one group with a replay, another key at 5, and an event at 6 by that."""
    keys = [(1, _registration(FIRST)), (5, _registration(SECOND, replaces=FIRST.verifier.text))]
    events = [(2, _body("a")), (3, _body("request-7")), (4, _body("b")), (6, _body("c"))]
    first = group_of(FIRST, 1, 1, [keys[0][1]])
    three = group_of(FIRST, 2, 2, [body for _, body in events[:3]], numbered=[2], replayed={1: b"again"})
    rotated, last = group_of(FIRST, 3, 5, [keys[1][1]]), group_of(SECOND, 1, 6, [events[3][1]])
    groups = [first, three, rotated, last]
    yield _vector("all events", keys, groups, events)
    yield _vector("one event of a group", keys, groups, events[1:2])
    yield _vector(
        "an event before the first key", [(2, keys[0][1])], [group_of(FIRST, 1, 2, [keys[0][1]])], [(1, b"{}")]
    )
    at_6 = events[3:]
    for name, of_6 in (
        ("by a key that is replaced", group_of(FIRST, 4, 6, [events[3][1]])),
        ("by a key that nobody registered", group_of(THIEF, 1, 6, [events[3][1]])),
        ("lifted from another position", _with(rotated, first=6, last=6)),
        ("of another ledger", group_of(SECOND, 1, 6, [events[3][1]], origin="elsewhere")),
    ):
        yield _vector(name, keys, [first, rotated, of_6], at_6, Kind.ATTESTATION_INVALID, 6)
    yield _vector("none for the last event", keys, [first, rotated], at_6, Kind.NOT_ATTESTED, 6)
    yield _vector("without the second key", keys[:1], [first, rotated, last], at_6, Kind.ATTESTATION_INVALID, 6)
    for name, changed, position in (
        ("a serial that does not rise", _with(three, serial=1), 2),
        ("a number too many", _with(three, numbered=frozenset()), 3),
    ):
        yield _vector(name, keys[:1], [first, changed], events[:3], Kind.ATTESTATION_INVALID, position)


def _registration(key: RecordingKey, **more: str) -> bytes:
    data: Any = {"key": key.verifier.text, **more}
    return canonical({"data": data, "stream": "recording-keys", "type": "recording-key.registered"})


def _body(stream: str) -> bytes:
    return canonical({"stream": stream, "type": "a.b"})


def group_of(
    key: RecordingKey,
    serial: int,
    first: int,
    bodies: Sequence[bytes],
    numbered: Sequence[int] = (),
    replayed: dict[int, bytes] | None = None,
    origin: str = ORIGIN,
) -> Group:
    """The attestation of these bodies, and of replays by line. `numbered` counts the bodies from 1."""
    new = iter(line_digest(unnumbered(body) if at in numbered else body) for at, body in enumerate(bodies, 1))
    old = {line: line_digest(body) for line, body in (replayed or {}).items()}
    digests = tuple(old[line] if line in old else next(new) for line in range(1, len(bodies) + len(old) + 1))
    signature = key.attest(statement(origin, SESSION, serial, digests))
    lines = [line for line in range(1, len(digests) + 1) if line not in old]
    given = frozenset(lines[at - 1] for at in numbered)
    last = first + len(bodies) - 1
    return Group(Attestation(first, last, key.verifier.public, SESSION, serial, signature, given, old), digests)


def _with(group: Group, **members: Any) -> Group:
    return replace(group, attestation=group.attestation._replace(**members))


def _vector(
    name: str,
    keys: Sequence[Event],
    groups: Sequence[Group],
    events: Sequence[Event],
    kind: Kind | None = None,
    position: int = 0,
) -> Vector:
    return vector(
        name,
        kind,
        ledger=ORIGIN,
        keys=[[at, body.decode()] for at, body in keys],
        attestations=[encode_group(group).decode() for group in groups],
        events=[[at, body.decode()] for at, body in events],
        position=position,
    )

"""Bundles with attestations, each for one check: docs/formats/bundle.md, section 13, and section 7, step 13."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.attestations import Group, encode_group
from ledger.proof.bundle.selection import Selection
from ledger.proof.findings import Kind
from ledger.proof.format.canonical import canonical
from ledger.proof.format.events import EventRow
from ledger.proof.format.hashes import genesis_hash
from ledger.proof.tlog.merkle import inclusion_proof, leaf_hashes
from ledger.proof.tlog.tiles import reader
from ledger.tlog.signing_keys import SigningKey
from ledger.tlog.tree import encode_tile
from tests.attestation_vectors import FIRST, SECOND, THIEF, group_of
from tests.bundle_vectors_zip import Check
from tests.ledger.proof.bundle.bundles import Case, line_of, make_bundle
from tests.ledger.proof.chains import ORIGIN, START_US, rehashed

KEYS = "recording-keys"
INVALID, MISSING, DAMAGED = Kind.ATTESTATION_INVALID, Kind.NOT_ATTESTED, Kind.DAMAGED
Change = Callable[[dict[str, Any]], object]


def attested_vectors(key: SigningKey) -> Iterator[Check]:
    """A recording key at position 1, events of request-1 at 2 and 3, and the key that takes its place at 4."""
    events = _events()
    bodies = [event.body for event in events]
    registered, first, second, replaced = (
        group_of(FIRST, serial, serial, [body]) for serial, body in enumerate(bodies, 1)
    )
    groups = [registered, first, second, replaced]
    entries = [_entry(events, at) for at in (1, 4)]

    def made(
        groups: Sequence[Group] = groups, entries: Sequence[dict[str, Any]] = entries, first: int = 1, last: int = 4
    ) -> Case:
        selection = Selection("positions", first_position=first, last_position=last)
        case = Case.read(make_bundle(4, selection, key, lambda each: first <= each.position <= last, events=events))
        members: Any = {"events": list(entries)}
        case.files[bundle.RECORDING_KEYS] = canonical(members)
        case.files[bundle.ATTESTATIONS] = b"".join(map(encode_group, groups))
        return case

    def lined(change: Change) -> Case:
        case = made()
        lines = [json.loads(line) for line in case.files[bundle.ATTESTATIONS].splitlines()]
        change(lines[1])
        texts = [canonical(line) + b"\n" for line in lines]
        case.files[bundle.ATTESTATIONS] = b"".join(texts)
        return case

    stranger = group_of(THIEF, 1, 2, [bodies[1]])
    other_entry = [entries[0], _entry(events, 3)]
    cut = [entries[0], entries[1] | {"inclusion": entries[1]["inclusion"][:-1]}]
    alone = made()
    del alone.files[bundle.ATTESTATIONS]
    for name, case, kind, position, words in (
        ("all", made(), None, 0, ""),
        ("of one event", made([registered, first, replaced], entries, 2, 2), None, 0, ""),
        ("without that of an event", made([registered, second, replaced]), MISSING, 2, ""),
        ("by a key that nobody registered", made([registered, stranger, second, replaced]), INVALID, 2, ""),
        ("over another event", made([registered, group_of(FIRST, 2, 2, [b"{}"]), second, replaced]), INVALID, 2, ""),
        ("of a serial that does not rise",
         made([registered, first, group_of(FIRST, 2, 3, [bodies[2]]), group_of(FIRST, 4, 4, [bodies[3]])]), INVALID, 3,
         ""),
        ("with another signature", lined(lambda line: line.update(signature="00" * 64)), INVALID, 2, ""),
        ("with another member", lined(lambda line: line.update(x=1)), DAMAGED, 0, "attestation"),
        ("without a member", lined(lambda line: line.pop("serial")), DAMAGED, 0, "attestation"),
        ("with a digest too many", lined(lambda line: line.update(digests=line["digests"] * 2)), DAMAGED, 0, "lines"),
        ("one twice", made([registered, first, first, second, replaced]), DAMAGED, 0, "after those before"),
        ("without that of a key", made(groups[:3], entries, 2, 3), MISSING, 4, ""),
        ("without a key that is selected", made(groups, entries[:1]), MISSING, 4, ""),
        ("with a key that is another event", made(groups[:3], other_entry, 1, 3), INVALID, 3, ""),
        ("with a key, one hash of its proof too few", made(groups, cut, 1, 3), INVALID, 4, ""),
        ("alone missing", alone, DAMAGED, 0, ""),
    ):  # fmt: skip
        yield Check(f"attestations, {name}", case.write(), kind, position, words)


def _events() -> list[EventRow]:
    events: list[EventRow] = []
    for position, (stream, version, event_type, data) in enumerate((
        (KEYS, 1, "recording-key.registered", {"key": FIRST.verifier.text}),
        ("request-1", 1, "portfolio.requested", {}),
        ("request-1", 2, "recommendation.opened", {}),
        (KEYS, 2, "recording-key.registered", {"key": SECOND.verifier.text, "replaces": FIRST.verifier.text}),
    ), 1):  # fmt: skip
        identifier = str(UUID(int=position))
        members: Any = {
            "actor": {"id": "clerk", "kind": "human", "role": "advisor"},
            "data": data,
            "id": identifier,
            "schema": 1,
            "stream": stream,
            "type": event_type,
        }
        before = events[-1].hash if events else genesis_hash(ORIGIN)
        body = canonical(members)
        row = EventRow(position, identifier, stream, version, event_type, START_US, before, b"", body, None, None)
        events.append(rehashed(row))
    return events


def _entry(events: Sequence[EventRow], at: int) -> dict[str, Any]:
    """An event of `recording-keys` with its proof of inclusion."""
    leaves = leaf_hashes(event.hash for event in events)
    proof = inclusion_proof(
        at - 1, len(leaves), reader(len(leaves), lambda tiles: [encode_tile(leaves) for _ in tiles])
    )
    return {"event": line_of(events[at - 1]), "inclusion": [each.hex() for each in proof]}

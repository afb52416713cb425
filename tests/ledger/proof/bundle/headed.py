"""Bundles of a client or a request with the record of where streams end, made of values without a database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256

from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.heads import TYPE, Heads, Leaf, client_key, key_of, stream_key
from ledger.proof.bundle.selection import Selection
from ledger.proof.format.canonical import JSON, canonical
from ledger.proof.format.events import EventLine, EventRow
from ledger.proof.format.hashes import commitment, genesis_hash
from ledger.proof.tlog.merkle import inclusion_proof, leaf_hashes
from ledger.proof.tlog.tiles import reader
from ledger.tlog.heads.tree import HeadsTree, build
from ledger.tlog.signing_keys import SigningKey
from ledger.tlog.tree import encode_tile
from tests.ledger.proof.bundle.bundles import Case, make_bundle
from tests.ledger.proof.chains import ORIGIN, body_of, event_at, rehashed

BLINDING = sha256(b"blinding").digest()


def client_of(stream: int) -> str:
    """Each of three clients has every third stream."""
    return f"client-{(stream - 1) % 3 + 1}"


def recorded(streams: Sequence[int], hidden: Sequence[int] = ()) -> list[EventRow]:
    """One event of `request-N` for each number, then the record of where these end, without the `hidden` ones."""
    events: list[EventRow] = []
    for stream in streams:
        events.append(_event(events, stream, streams[: len(events) + 1].count(stream)))
    return [*events, _record(events[-1], tree([each for each in streams if each not in hidden]).root)]


def _event(before: Sequence[EventRow], stream: int, version: int) -> EventRow:
    """The next event, of this stream."""
    position = len(before) + 1
    fields = {"client_id": client_of(stream)}
    event = event_at(position, before[-1].hash if before else genesis_hash(ORIGIN))
    salts = {"client_id": sha256(b"%d" % position).hexdigest()}
    sealed = {name: commitment(name, bytes.fromhex(salts[name]), canonical(value)) for name, value in fields.items()}
    name = f"request-{stream}"
    return rehashed(
        event._replace(
            stream=name,
            version=version,
            body=body_of(position, name, sealed=sealed),
            salts=canonical(salts),  # type: ignore[arg-type]
            fields=canonical(fields),  # type: ignore[arg-type]
        )
    )


def _record(last: EventRow, root: bytes) -> EventRow:
    position = last.position + 1
    salt = sha256(b"salt").digest()
    sealed = {"blinding": commitment("blinding", salt, canonical(BLINDING.hex()))}
    data = {"as_of": last.position, "root": root.hex()}
    return rehashed(
        last._replace(
            position=position,
            stream="stream-heads",
            version=1,
            type=TYPE,
            prev_hash=last.hash,
            body=body_of(position, "stream-heads", type=TYPE, data=data, sealed=sealed),
            salts=canonical({"blinding": salt.hex()}),
            fields=canonical({"blinding": BLINDING.hex()}),
        )
    )


def tree(streams: Sequence[int], wanted: bytes | None = None) -> HeadsTree:
    """The tree of these events."""
    heads: dict[int, JSON] = {stream: [f"request-{stream}", streams.count(stream)] for stream in sorted(set(streams))}
    clients: dict[str, list[JSON]] = {}
    for stream, head in heads.items():
        clients.setdefault(client_of(stream), []).append(head)
    entries = [(stream_key(f"request-{stream}"), canonical([head])) for stream, head in heads.items()]
    # The numbers of streams have one digit, so that they are in the order of their names.
    entries += [(client_key(client), canonical(owned)) for client, owned in clients.items()]
    return build(sorted(entries), BLINDING, wanted)


def headed_case(
    streams: Sequence[int], selection: Selection, key: SigningKey, hidden: Sequence[int] = (), then: Sequence[int] = ()
) -> Case:
    """The bundle of a client or a request, with the record; the checkpoint covers all, the record too.

    `then`: streams of one event each after the record, which go on with those of before.
    """
    events = recorded(streams, hidden)
    for stream in then:
        events.append(_event(events, stream, streams.count(stream) + 1))
    size = len(events)
    leaves = leaf_hashes(event.hash for event in events)
    owned = {
        f"request-{stream}"
        for stream in streams
        if stream == selection.request or client_of(stream) == selection.client
    }
    data = make_bundle(size, selection, key, lambda event: event.stream in owned, events=events)
    wanted = key_of(selection)
    found = tree([each for each in streams if each not in hidden], wanted)
    event = events[len(streams)]
    line = EventLine(
        event.position, event.version, event.recorded_at_us, event.prev_hash, event.hash, event.body, b"", b"", ()
    )
    inclusion = inclusion_proof(len(streams), size, reader(size, lambda tiles: [encode_tile(leaves) for _ in tiles]))
    heads = Heads(
        line,
        tuple(inclusion),
        Leaf(
            tuple((name, version) for name, version in json.loads(found.value or b"[]")),
            found.salt,
            tuple(found.path),
        ),
    )
    case = Case.read(data)
    case.files[bundle.HEADS] = heads.encode()
    return case


def without(case: Case, *positions: int) -> Case:
    """The case without these events, whose maker made the counts of sealed fields fit."""
    case.lines = [line for line in case.lines if line["position"] not in positions]
    manifest = case.manifest
    manifest.fields = {}
    for line in case.lines:
        for name in json.loads(line["body"])["sealed"]:
            bundle.count_field(manifest.fields, f"{json.loads(line['body'])['type']}.{name}", "disclosed")
    case.files[bundle.MANIFEST] = manifest.encode()
    return case

"""Bundles of a client with several identifiers; for tests/bundle_vectors_selection.py.

client-2 was merged into client-1, client-3 is an alias of client-2, and client-4 is somebody else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256

from ledger.proof.bundle import manifest
from ledger.proof.bundle.selection import Selection
from ledger.proof.findings import Kind
from ledger.proof.format.canonical import canonical
from ledger.proof.format.events import EventRow
from ledger.proof.format.hashes import commitment, genesis_hash
from ledger.tlog.signing_keys import SigningKey
from tests.ledger.proof.bundle.bundles import Case, make_bundle
from tests.ledger.proof.chains import ORIGIN, START_US, body_of, event_at, rehashed

SIZE = 6
Made = tuple[str, bytes, Kind | None, int]


def name_vectors(key: SigningKey) -> Iterator[Made]:
    """Name, bundle, and kind and position of the first finding."""
    mismatch, one = Kind.CLIENT_MISMATCH, ("client-2", "client-3")

    def made(numbers: str, also: tuple[str, ...], start_us: int = 0, client: str | None = "client-1") -> bytes:
        selection = Selection("client", client=client, also=also)
        if start_us:
            selection = replace(selection, from_us=START_US, until_us=START_US + start_us)
        return make_bundle(SIZE, selection, key, lambda event: event.stream[-1] in numbers, events=chain())

    yield "a client under three identifiers", made("123", one), None, 0
    yield "a client under the identifier that was merged", made("123", ("client-1", "client-3"), 0, "client-2"), None, 0
    yield "a client, and an identifier that nothing links with it", made("1234", (*one, "client-4")), mismatch, 0
    yield "a client, without the identifier between two", made("13", ("client-3",)), mismatch, 0
    yield "a client, and an identifier without a stream", made("12", one), mismatch, 0
    yield "a client, and another identifier that is not named", made("123", ("client-2",)), mismatch, 4
    yield "a client under three identifiers, within a window", made("123", one, 9000), None, 0
    whole = made("123", one)
    for name, also in (
        ("its other identifiers out of order", ["client-3", "client-2"]),
        ("another identifier twice", ["client-2", "client-2"]),
        ("its own identifier as another one", ["client-1", "client-2"]),
        ("no other identifier in a list of them", []),
    ):
        case = Case.read(whole)
        text = json.loads(case.files[manifest.MANIFEST])
        text["selection"]["also"] = also
        case.files[manifest.MANIFEST] = canonical(text)
        yield f"a client, {name}", case.write(careful=False), Kind.DAMAGED, 0


def chain() -> list[EventRow]:
    """Registrations, a merge, an alias, and a request of the client that remains."""
    events: list[EventRow] = []
    for stream, version, kind, data, named in (
        ("client-1", 1, "client.registered", {}, "client-1"),
        ("client-2", 1, "client.registered", {}, "client-2"),
        ("client-2", 2, "client.merged", {"into": 1}, None),
        ("client-3", 1, "client.aliased", {"of": 2}, "client-3"),
        ("client-4", 1, "client.registered", {}, "client-4"),
        ("request-1", 1, "portfolio.requested", {}, "client-1"),
    ):
        position, sealed, salts, fields = len(events) + 1, {}, None, None
        if named is not None:
            salt = sha256(b"%d" % position).digest()
            sealed = {"sealed": {"client_id": commitment("client_id", salt, canonical(named))}}
            salts, fields = canonical({"client_id": salt.hex()}), canonical({"client_id": named})
        body = body_of(position, stream, type=kind, data=data, **sealed)
        before = events[-1].hash if events else genesis_hash(ORIGIN)
        event = event_at(position, before)._replace(stream=stream, version=version, type=kind, body=body)
        events.append(rehashed(event._replace(salts=salts, fields=fields)))
    return events

"""Bundles with members that not each bundle has: cosignatures, timestamps, where streams end; for bundle_vectors.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.selection import Selection
from ledger.proof.findings import Kind
from ledger.proof.format.canonical import canonical
from ledger.proof.tlog.note import parse as parse_note
from ledger.tlog.signing_keys import SigningKey
from tests.ledger.proof.bundle.bundles import Case
from tests.ledger.proof.bundle.headed import headed_case, without
from tests.vector_parts import TIME_S, WITNESS, flipped

# Name, bundle, kind and position of the first finding, and members that the vector has besides.
Beside = tuple[str, bytes, Kind | None, int, dict[str, Any]]
STREAMS = (1, 2, 1, 4, 3, 4, 1)


def beside_vectors(whole: bytes, key: SigningKey) -> Iterator[Beside]:
    """All of them. `whole` is a range of four events."""
    yield from _endorsed(whole)
    yield from _with_heads(key)


def _endorsed(whole: bytes) -> Iterator[Beside]:
    """By a witness that the reader trusts; and with something that has the digest of a timestamp, and is none."""
    by: dict[str, Any] = {"witnesses": [WITNESS.verifier.text]}

    def cosign(case: Case) -> None:
        note = parse_note(case.files[bundle.CHECKPOINT])
        case.files[bundle.CHECKPOINT] = note.add([WITNESS.cosign(note.text, TIME_S)]).encode()

    def stamp(case: Case, *, changed: bool = False) -> None:
        digest = sha256(bundle.as_signed(case.files[bundle.CHECKPOINT])).digest()
        cosign(case)
        case.files[bundle.stamp_name(1)] = b"\x04\x20" + (flipped(digest) if changed else digest)
        manifest = case.manifest
        manifest.timestamps = ("https://tsa.example/",)
        case.files[bundle.MANIFEST] = manifest.encode()

    def changed(how: Callable[[Case], None]) -> bytes:
        case = Case.read(whole)
        how(case)
        return case.write()

    yield "cosigned by a witness", changed(cosign), None, 0, by
    yield "cosigned, for somebody without a witness's key", changed(cosign), None, 0, {}
    yield "not cosigned", whole, Kind.TOO_FEW_WITNESSES, 0, by
    yield "cosigned, with a timestamp", changed(stamp), None, 0, by
    yield "a timestamp of something else", changed(partial(stamp, changed=True)), Kind.BAD_TIMESTAMP, 0, {}


def _with_heads(key: SigningKey) -> Iterator[Beside]:
    """Of client-1, which has request-1 and request-4, with the record of where streams ended, at position 8."""
    client, request = Selection("client", client="client-1"), headed_case(STREAMS, Selection("request", request=4), key)
    mismatch = Kind.HEADS_MISMATCH

    def made(*taken_out: int, hidden: Sequence[int] = ()) -> Case:
        return without(headed_case(STREAMS, client, key, hidden), *taken_out)

    def forged(change: Callable[[dict[str, Any]], object], *taken_out: int) -> Case:
        case = made(*taken_out)
        heads = json.loads(case.files[bundle.HEADS])
        change(heads)
        case.files[bundle.HEADS] = canonical(heads)
        return case

    unlike = forged(lambda heads: heads.update(json.loads(request.files[bundle.HEADS])))
    elsewhere = forged(lambda heads: heads["inclusion"].reverse())
    shorter = forged(lambda heads: heads["streams"].pop(), 4, 6)
    none = made()
    del none.files[bundle.HEADS]
    for name, case, wrong, position, complete in (
        ("a client, with where its streams end", made(), None, 0, True),
        ("a client, without where its streams end", none, None, 0, None),
        ("a request, with where its stream ends", request, None, 0, True),
        ("a client, the end of a stream left out", made(7), Kind.TRUNCATED, 3, False),
        ("a client, a stream left out", made(4, 6), Kind.DELETED, 0, False),
        ("a client, a stream left out of the record, too", shorter, mismatch, 8, False),
        ("a client, with the leaf of a stream", unlike, mismatch, 8, False),
        ("a client, with a record that the log does not have", elsewhere, mismatch, 8, False),
        ("a client, with a false record", made(hidden=[4]), mismatch, 8, False),
        (
            "a client, with streams out of order",
            forged(lambda heads: heads["streams"].reverse()),
            Kind.DAMAGED,
            0,
            None,
        ),
    ):
        yield name, case.write(), wrong, position, {"complete": complete}

"""Write the members `recording-keys` and `attestations` of a bundle: docs/formats/bundle.md, section 13."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from psycopg import sql

from ledger.database import Connection
from ledger.export.bundle_writer import BundleWriter
from ledger.export.key_members import recording_keys_member
from ledger.proof.bundle.attestations import Group, encode_group
from ledger.proof.bundle.manifest import ATTESTATIONS, RECORDING_KEYS
from ledger.proof.recording.attestation import DIGEST_BYTES, STREAM
from ledger.store.attested import read_attestation
from ledger.store.copy import columns, copy_rows, number

GROUPS = sql.SQL((Path(__file__).parent / "attestations.sql").read_text("utf-8"))


def add_recording(conn: Connection, which: sql.Composed, size: int, writer: BundleWriter) -> None:
    """Add both members, if the ledger has recording keys. `conn` is in a transaction with one snapshot."""
    keys = recording_keys_member(conn, size)
    if keys is None:
        return
    writer.add(RECORDING_KEYS, keys)
    with writer.stream(ATTESTATIONS) as member:
        for line in _lines(conn, which, size):
            member.write(line)


def _lines(conn: Connection, which: sql.Composed, size: int) -> Iterator[bytes]:
    """Yield the lines for the selected events up to the size of the checkpoint. `conn` is busy until the end.

    An attestation that no append can have written is left out: its events then count as not attested.
    """
    statement = GROUPS.format(which=which, size=sql.Literal(size), keys=sql.Literal(STREAM)).as_bytes(conn)
    for row in copy_rows(conn, statement):
        position, text, stored, unnumbered = columns(row)
        group = _group(number(position), text or b"", stored or b"", unnumbered or b"")
        if group is not None:
            yield encode_group(group)


def _group(position: int, text: bytes, stored: bytes, unnumbered: bytes) -> Group | None:
    """Put the digests of new events and of replays in the order of the lines; None if they do not form a group."""
    attestation = read_attestation(position, text)
    new = attestation.last - attestation.first + 1
    if not attestation.key or len(stored) != new * DIGEST_BYTES:
        return None
    digests = []
    at = 0
    for line in range(1, new + len(attestation.replayed) + 1):
        replayed = attestation.replayed.get(line)
        source = unnumbered if line in attestation.numbered else stored
        digests.append(source[at : at + DIGEST_BYTES] if replayed is None else replayed)
        at += 0 if replayed else DIGEST_BYTES
    return Group(attestation, tuple(digests))

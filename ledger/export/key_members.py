"""Write the members `signing-keys` and `recording-keys` of a bundle: docs/formats/bundle.md, sections 12 and 13."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import orjson
from psycopg import sql

from ledger.database import Connection
from ledger.export.log_parts import fetch_tiles
from ledger.proof.acts.checker import OF_KEYS
from ledger.proof.acts.keys import SUBJECT
from ledger.proof.bundle.proven_events import MOST_KEY_EVENTS, ProvenEvent, encode_proven
from ledger.proof.format.events import EventLine
from ledger.proof.recording.attestation import STREAM
from ledger.proof.tlog.merkle import inclusion_proof
from ledger.proof.tlog.tiles import reader
from ledger.store.copy import copy_rows, event

EVENTS = sql.SQL((Path(__file__).parent / "events.sql").read_text("utf-8"))
SIGNATURE = b'"signature":{'
OF_STREAM = sql.SQL("e.stream = {}")
OF_SUBJECTS = sql.SQL("e.stream = ANY ({}) AND e.type = ANY ({})")


def signers_of(body: bytes) -> set[str]:
    """Return the subject of a signed act; an empty set if the body is not a signed act."""
    if SIGNATURE not in body:
        return set()
    try:
        content = orjson.loads(body)
        return {str(content["actor"]["id"])} if "signature" in content else set()
    except (ValueError, LookupError, TypeError):  # append() accepts no such body: the auditor's program reports it
        return set()


def signing_keys_member(conn: Connection, signers: Iterable[str], size: int) -> bytes | None:
    """Return the member with the keys of these subjects, up to the size of the checkpoint; None without any.

    `conn` is in a transaction with one snapshot.
    """
    streams = sorted(f"{SUBJECT}{name}" for name in signers)
    if not streams:
        return None
    return _proven(conn, OF_SUBJECTS.format(sql.Literal(streams), sql.Literal(sorted(OF_KEYS))), size)


def recording_keys_member(conn: Connection, size: int) -> bytes | None:
    """Return the member with the registrations of recording keys, up to the size of the checkpoint; None without any.

    `conn` is in a transaction with one snapshot.
    """
    return _proven(conn, OF_STREAM.format(sql.Literal(STREAM)), size)


def _proven(conn: Connection, which: sql.Composed, size: int) -> bytes | None:
    statement = EVENTS.format(which=which, size=sql.Literal(size)).as_bytes(conn)
    rows = [event(data).event for data in copy_rows(conn, statement)][:MOST_KEY_EVENTS]
    tiles = reader(size, lambda wanted: fetch_tiles(conn, wanted))
    events = [
        ProvenEvent(
            EventLine(
                row.position,
                row.version,
                row.recorded_at_us,
                row.prev_hash,
                row.hash,
                row.body,
                b"",
                b"",
                (),
            ),
            tuple(inclusion_proof(row.position - 1, size, tiles)),
        )
        for row in rows
    ]
    return encode_proven(events) if events else None

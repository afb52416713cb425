"""Attacks on a ledger by the owner of its database: a superuser with triggers disabled; and a log to attack."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ledger.database import Connection
from ledger.export.bundle import Disclosure, write_bundle
from ledger.proof.bundle.selection import Selection
from ledger.proof.tlog.trust import Trust
from ledger.store.envelope import NewEvent
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey
from ledger.verify.database import verify_chain
from ledger.verify.report import ChainReport
from ledger.verify.trusted_checkpoints import NamedNote, TrustedCheckpoints
from tests.conftest import Template, ledger_copy
from tests.ledger.tlog.logs import sign
from tests.support import append, connect, failed, new, requested
from tests.tampering import TABLES, tamper

# From position `at` on, each event with the hash that it has after what stands before it; and the head after the last.
REHASH = """
    DO $$
    DECLARE
        link bytea;
        one  events;
    BEGIN
        FOR one IN SELECT * FROM events WHERE position >= {at} ORDER BY position LOOP
            SELECT coalesce((SELECT hash FROM events WHERE position = one.position - 1), genesis_hash(h.origin))
            INTO link FROM head h;
            UPDATE events
            SET prev_hash = link, hash = event_hash(
                link, position, version, (extract(epoch FROM recorded_at) * 1000000)::bigint, body)
            WHERE position = one.position;
        END LOOP;
    END
    $$
"""
SET_HEAD = """
    UPDATE head SET (position, hash, recorded_at) =
        (SELECT position, hash, recorded_at FROM events ORDER BY position DESC LIMIT 1)
"""
CUT = """
    DELETE FROM stream_clients WHERE stream IN (SELECT stream FROM events WHERE position > 15 AND version = 1);
    DELETE FROM sealed_fields WHERE position > 15;
    DELETE FROM events WHERE position > 15;
    UPDATE stream_numbers SET last = (SELECT max(split_part(stream, '-', 2)::bigint) FROM events)
"""
UNSIGN = """
    DELETE FROM cosignatures;
    DELETE FROM checkpoint_timestamps;
    DELETE FROM checkpoints;
    DELETE FROM tiles;
    DELETE FROM partial_tiles
"""
FORGET = "DELETE FROM checkpoints WHERE size > 15"
REWRITE = "UPDATE events SET body = replace(body, '1000.00', '9000.00') WHERE position = 13"


@dataclass
class Log:
    """A ledger, the key that signs it, and the signer's file."""

    url: str
    key: SigningKey
    path: Path

    def record(self, count: int) -> None:
        """Append `count` requests with sealed values."""
        with connect(self.url) as conn:
            append(conn, *(new("request-", requested(f"client-{number}")) for number in range(count)))

    def sign(self) -> bytes:
        """Sign all events; return the newest checkpoint, as an auditor would keep it."""
        sign(self.url, self.key, self.path)
        return self.newest()

    def newest(self) -> bytes:
        """Read the note of the newest checkpoint."""
        with connect(self.url) as conn:
            row = conn.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        assert row is not None
        return bytes(row[0], "utf-8")

    def sign_anew(self) -> bytes:
        """Sign all events as if nothing had been signed before. Only the holder of the key can do that."""
        self.tamper(UNSIGN)
        self.path.unlink()
        return self.sign()

    def bundle(self, selection: Selection, since: bytes | None = None) -> bytes:
        """Export the database as it is with `advice-ledger export`, everything disclosed."""
        out = io.BytesIO()
        with connect(self.url, "verifier") as conn:
            write_bundle(conn, selection, Disclosure(everything=True), out, keys=[self.key.verifier.text], since=since)
        return out.getvalue()

    def tamper(self, *statements: str) -> None:
        """Change the tables as `tests.tampering.tamper` does."""
        tamper(self.url, *statements)

    def audit(self, *held: bytes, witnesses: tuple[WitnessSigningKey, ...] = ()) -> ChainReport:
        """Verify with the log's key and these trusted checkpoints."""
        trusted = Trust((self.key.verifier,), tuple(key.verifier for key in witnesses), len(witnesses))  # type: ignore[misc]
        kept = [NamedNote(f"checkpoint {number}", data) for number, data in enumerate(held, 1)]
        with connect(self.url, "verifier") as conn:
            return verify_chain(conn, trusted=TrustedCheckpoints(trusted, kept))


@contextlib.contextmanager
def superuser(url: str) -> Iterator[Connection]:
    """Connect as a superuser, without triggers."""
    with connect(url) as conn:
        for table in TABLES:
            conn.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER ALL").format(sql.Identifier(table)))
        yield conn


def log_at(url: str, path: Path) -> Log:
    """Make the log of a ledger, with a new key."""
    with connect(url) as conn:
        row = conn.execute("SELECT origin FROM head").fetchone()
    assert row is not None
    return Log(url, SigningKey.generate(row[0]), path)


@contextlib.contextmanager
def restored(server_url: str, template: Template, log: Log) -> Iterator[Log]:
    """Copy the log's database as it is now, to take its place later."""
    name = str(conninfo_to_dict(log.url)["dbname"])
    with ledger_copy(server_url, Template(name, template.search_path), verify=False) as url:
        copied = log.path.with_name("copied")
        copied.write_bytes(log.path.read_bytes())
        yield Log(url, log.key, copied)


def found(report: ChainReport) -> list[tuple[str, int, int]]:
    """Return the kind and range of positions of each finding."""
    return [(one.kind.value, one.position, one.last_position) for one in report.findings]


def rename(origin: str) -> str:
    """Return the statement that renames a ledger."""
    return sql.SQL("UPDATE head SET origin = {}").format(origin).as_string(None)


def cosign(log: Log, line: str) -> None:
    """Store a witness's answer beside the newest checkpoint."""
    with superuser(log.url) as conn:
        conn.execute(
            "INSERT INTO cosignatures (size, witness, line) SELECT max(size), 'w1', %s FROM checkpoints", [line]
        )


def replace_note(log: Log, note: bytes) -> None:
    """Replace the newest checkpoint by another note."""
    with superuser(log.url) as conn:
        conn.execute(
            "UPDATE checkpoints SET note = %s WHERE size = (SELECT max(size) FROM checkpoints)", [note.decode()]
        )


def small(batch: int, number: int) -> NewEvent:
    """Append an event to a stream that has ten."""
    return new(f"s{batch}x{number % 100}", failed())

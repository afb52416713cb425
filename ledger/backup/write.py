"""Write a backup, all of one snapshot: the tables that cannot be derived, as COPY text in a ZIP file."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import BinaryIO

from psycopg import sql

from ledger.backup.manifest import (
    CHUNK_BYTES,
    MEMBER,
    BackupError,
    Manifest,
    Source,
    Table,
    copy_out,
    member_of,
    read_logins,
    read_sources,
)
from ledger.database import Connection
from ledger.store.head import read_head
from ledger.store.snapshot import SNAPSHOT

MIGRATIONS = "SELECT name, sha256 FROM schema_migrations ORDER BY name"

# Called with a table's name, the number of rows done, and the approximate number of all its rows.
OnProgress = Callable[[str, int, int], None]


def write_backup(conn: Connection, file: BinaryIO, on_progress: OnProgress) -> Manifest:
    """Write the ledger to `file`, as of one moment and in flat memory.

    Others may write to the ledger at the same time. `conn` is not in a transaction and may read all tables. Raises
    BackupError if the ledger has no head.
    """
    with conn.transaction(), zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        conn.execute(SNAPSHOT)
        head = read_head(conn)
        if head is None:
            raise BackupError("the ledger has no head, so it cannot be backed up: run advice-ledger verify")
        tables = [_write(conn, archive, source, on_progress) for source in read_sources(conn)]
        [made_at] = conn.execute("SELECT now()").fetchall()[0]
        manifest = Manifest(
            origin=head.origin,
            position=head.position,
            hash=head.hash.hex(),
            recorded_at=head.recorded_at if head.position else None,
            made_at=made_at,
            server_version=conn.info.server_version,
            migrations=dict(conn.execute(MIGRATIONS).fetchall()),
            logins=read_logins(conn),
            tables=tuple(tables),
        )
        archive.writestr(MEMBER, manifest.encode())
    return manifest


def _write(conn: Connection, archive: zipfile.ZipFile, source: Source, on_progress: OnProgress) -> Table:
    digest, rows, size = sha256(), 0, 0
    with archive.open(member_of(source.name), "w", force_zip64=True) as member:
        for chunk in _chunks(conn, copy_out(source.name, source.columns)):
            digest.update(chunk)
            rows += chunk.count(b"\n")  # a newline inside a value is escaped
            size += len(chunk)
            member.write(chunk)
            on_progress(source.name, rows, max(rows, source.about))
    return Table(name=source.name, columns=tuple(source.columns), rows=rows, size=size, sha256=digest.hexdigest())


def _chunks(conn: Connection, query: sql.Composed) -> Iterator[bytes]:
    """Yield the output of COPY in pieces of about CHUNK_BYTES, because the server sends each row alone."""
    with conn.cursor() as cursor, cursor.copy(query) as rows:
        waiting: list[bytes] = []
        waiting_bytes = 0
        for row in rows:
            waiting.append(bytes(row))
            waiting_bytes += len(row)
            if waiting_bytes >= CHUNK_BYTES:
                yield b"".join(waiting)
                waiting, waiting_bytes = [], 0
        if waiting:
            yield b"".join(waiting)

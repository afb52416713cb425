"""Read a backup, check it, and make a ledger from it."""

from __future__ import annotations

import contextlib
import stat
import zipfile
import zlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

from ledger.backup.manifest import (
    CHUNK_BYTES,
    MAX_BYTES,
    MEMBER,
    BackupError,
    DamagedBackup,
    Manifest,
    Table,
    copy_in,
    member_of,
    read_sources,
)
from ledger.backup.write import OnProgress
from ledger.database import Connection, one_line
from schema.migrate import MigrationReport, Restored, migrate


class Backup(contextlib.ExitStack):
    """An open backup; a context manager. Raises BackupError: the file cannot be read, or is damaged."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def __enter__(self) -> Self:
        with self._naming():
            if not stat.S_ISREG(self._path.stat().st_mode):
                raise BackupError(f"{self._path} is not a regular file")
            self._archive = self.enter_context(zipfile.ZipFile(self._path))
            with self._archive.open(MEMBER) as member:
                self.manifest = Manifest.decode(member.read(MAX_BYTES))
        return self

    def check(self, on_progress: OnProgress) -> None:
        """Read everything once and compare it with the digests of the manifest, before a database is changed."""
        for table in self.manifest.tables:
            digest, size = sha256(), 0
            for chunk in self._chunks(table):
                digest.update(chunk)
                size += len(chunk)
                on_progress("checking", size, table.size)
            if (size, digest.hexdigest()) != (table.size, table.sha256):
                raise DamagedBackup(f"{self._path} is damaged: the table {table.name} is not the one of its manifest")

    def restore(self, conn: Connection, on_progress: OnProgress) -> MigrationReport:
        """Make the ledger in one transaction: after an error or a crash, only new roles can be left.

        `conn` is as for `migrate()`. Raises BackupError and MigrationError, also if the database already has a ledger.
        """

        def load() -> None:
            known = {source.name: set(source.columns) for source in read_sources(conn)}
            for table in self.manifest.tables:
                if not known.get(table.name, set()).issuperset(table.columns):
                    raise DamagedBackup(f"{self._path} is damaged: its migrations make no table such as {table.name}")
                self._load(conn, table, on_progress)

        return migrate(conn, restored=Restored(self.manifest.migrations, load))

    def _load(self, conn: Connection, table: Table, on_progress: OnProgress) -> None:
        rows = 0
        try:
            # A migration may have filled this table.
            conn.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)))
            with conn.cursor() as cursor, cursor.copy(copy_in(table.name, table.columns)) as target:
                for chunk in self._chunks(table):
                    target.write(chunk)
                    rows += chunk.count(b"\n")
                    on_progress(table.name, rows, table.rows)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise DamagedBackup(f"{self._path}: the table {table.name} cannot be filled: {one_line(error)}") from error

    def _chunks(self, table: Table) -> Iterator[bytes]:
        with self._naming(table), self._archive.open(member_of(table.name)) as member:
            while chunk := member.read(CHUNK_BYTES):
                yield chunk

    @contextlib.contextmanager
    def _naming(self, table: Table | None = None) -> Iterator[None]:
        """Turn the errors of a file that is unreadable, cut off or not a ZIP file into BackupError."""
        part = f"the table {table.name}" if table else "it is no complete backup"
        try:
            yield
        except DamagedBackup as error:
            raise DamagedBackup(f"{self._path} is damaged: {error}") from error
        except (zipfile.BadZipFile, KeyError, EOFError, RuntimeError, zlib.error) as error:
            raise DamagedBackup(f"{self._path} is damaged: {part}") from error
        except OSError as error:
            raise BackupError(f"{self._path}: {error.strerror}") from error

"""Read and write the manifest of a backup: the content of the file, and the moment it was taken."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from psycopg import sql
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.database import Connection
from schema.database_roles import ROLES

HERE = Path(__file__).parent
TABLES, LOGINS = ((HERE / f"{name}.sql").read_bytes() for name in ("tables", "logins"))
# The tables that a backup leaves out. A restore makes some anew; leaders and claims end with their process. Uses of
# credentials only help administrators, and are counted from the restore on. Old jobs must not run again: their
# messages were sent, and the messages of the last hour are counted from zero.
DERIVED = [
    "schema_migrations",
    "projections",
    "streams_set_aside",
    "request_claims",
    "leaders",
    "credential_uses",
    "jobs",
    "delivery_rates",
]

FORMAT: Literal["advice-ledger/backup/v1"] = "advice-ledger/backup/v1"
# The member with the manifest, the last one of the file.
MEMBER = "manifest.json"
MAX_BYTES = 1 << 20
# The number of bytes that are read, hashed and sent at once.
CHUNK_BYTES = 1 << 20

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class BackupError(Exception):
    """The backup cannot be used. The message says why."""


class DamagedBackup(BackupError):
    """The file is not a complete, unaltered backup."""


class Model(BaseModel):
    """A part of the manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Table(Model):
    """Describe one table: COPY text with these columns; `size` counts its bytes."""

    name: str
    columns: tuple[str, ...]
    rows: int
    size: int
    sha256: Digest


class Manifest(Model):
    """The ledger's name, its head, and its tables, all of one snapshot."""

    format: Literal["advice-ledger/backup/v1"] = FORMAT
    origin: str
    position: int
    hash: Digest
    recorded_at: datetime | None
    made_at: datetime
    server_version: int
    # Name to SHA-256 of each migration that was applied.
    migrations: Annotated[dict[str, str], Field(min_length=1)]
    # Role to the logins that were its members. No passwords.
    logins: dict[str, tuple[str, ...]]
    tables: tuple[Table, ...]

    def encode(self) -> bytes:
        """Return the member's bytes."""
        return self.model_dump_json(indent=2).encode()

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Parse the member's bytes. Raises BackupError."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            raise DamagedBackup(f"its manifest is not one that this version knows: {where}") from error


class Source(NamedTuple):
    """A table of this ledger that a backup holds: its columns, and the approximate number of its rows."""

    name: str
    columns: list[str]
    about: int


def read_sources(conn: Connection) -> list[Source]:
    """Return the tables that a backup holds, in the order in which they can be filled."""
    return [Source(*row) for row in conn.execute(TABLES, {"derived": DERIVED})]


def read_logins(conn: Connection) -> dict[str, tuple[str, ...]]:
    """Return the logins that are members of this ledger's roles, by role."""
    found: dict[str, tuple[str, ...]] = {}
    for role, login in conn.execute(LOGINS, {"roles": list(ROLES)}):
        found[role] = (*found.get(role, ()), login)
    return found


def member_of(table: str) -> str:
    """Return the name of the member with the rows of a table."""
    return f"tables/{table}"


def copy_out(table: str, columns: Sequence[str]) -> sql.Composed:
    """Compose a COPY of these columns to stdout.

    It uses a query, because PostgreSQL refuses COPY of a table with partitions.
    """
    return sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(_names(columns), sql.Identifier(table))


def copy_in(table: str, columns: Sequence[str]) -> sql.Composed:
    """Compose a COPY of these columns from stdin."""
    return sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), _names(columns))


def _names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))

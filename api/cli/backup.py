"""advice-ledger backup: write the whole ledger to one file."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from api.cli.bars import OnProgress, progress
from api.cli.configure import configured, opened
from api.cli.shared import AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, note, say, say_json
from api.cli.streams import naming
from api.postgres.connect import connect
from ledger.backup.manifest import Manifest
from ledger.backup.write import write_backup
from ledger.database import Connection, one_line
from ledger.errors import is_operational

Out = Annotated[
    Path,
    typer.Option("--output", "-o", metavar="FILE", help="The backup to write; an existing file is not overwritten."),
]


def backup(
    output: Out,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Write the whole ledger to one file, from which restore makes it again, also on another version of PostgreSQL.

    It is of one moment; writers go on. It reads as the ledger's verifier, also from a standby. The file holds personal
    data, and only its owner can read it. It does not hold the signing key, the state file or the settings.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    if output.exists():
        raise CannotRun(f"{output} exists already, and is not overwritten")
    with opened(settings) as url, connect(url, "verifier") as conn, progress() as on_progress:
        try:
            manifest = _write(conn, output, on_progress)
        except OSError as error:
            raise CannotRun(f"{output}: {error.strerror}") from error
        except psycopg.errors.InsufficientPrivilege as error:
            # A ledger that an older version migrated may lack a grant.
            if is_operational(error):
                raise
            raise CannotRun(f"{one_line(error)}: run advice-ledger migrate, which grants what is missing") from error
    with naming(f"the backup is complete, in {output}"):
        _show(manifest, output, as_json=as_json)


def _write(conn: Connection, output: Path, on_progress: OnProgress) -> Manifest:
    """Write to a file beside `output`, and rename it once it is complete and on the disk."""
    try:
        handle, name = tempfile.mkstemp(prefix=f"{output.name}.", suffix=".part", dir=output.parent)  # mode 0600
    except ValueError as error:
        raise CannotRun(f"{output}: invalid file name") from error
    part = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            manifest = write_backup(conn, file, on_progress)
            file.flush()
            os.fsync(file.fileno())
        part.rename(output)
    finally:
        part.unlink(missing_ok=True)
    return manifest


def _show(manifest: Manifest, output: Path, *, as_json: bool) -> None:
    size = output.stat().st_size
    if as_json:
        say_json(
            {
                "file": str(output),
                "size": size,
                "origin": manifest.origin,
                "position": manifest.position,
                "hash": manifest.hash,
                "made_at": manifest.made_at,
                "rows": {table.name: table.rows for table in manifest.tables},
            }
        )
        return
    say(f"{output}: ledger {manifest.origin} up to position {manifest.position}, {size / 1e6:.1f} MB")
    say(f"last hash {manifest.hash}")
    note("it holds personal data; it does not hold the signing key, the state file or the settings: keep those apart")

"""A backup is of one moment, and a restore makes exactly the ledger that was backed up, or none."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from psycopg import sql

from ledger.backup.manifest import DERIVED, BackupError, Manifest, read_sources
from ledger.backup.restore import Backup
from ledger.backup.write import write_backup
from ledger.verify.database import verify_chain
from projections.registry import all_models
from schema.errors import EditedMigration, NewerSchema, NotEmpty
from tests.ledger.cases import Ledger, signed_ledger
from tests.support import append, connect, new, requested, scratch_database

TABLES = """
    SELECT relname::text FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
"""
MADE_BY_0008 = (
    *("events", "head", "sealed_fields", "stream_clients", "stream_numbers"),
    *("tiles", "partial_tiles", "checkpoints", "cosignatures", "checkpoint_timestamps"),
)
ROWS = sql.SQL("SELECT source::text FROM {} source")


def silent(_name: str, _done: int, _total: int) -> None:
    """Report nothing."""


def backed_up(url: str, path: Path, on_progress: Callable[[str, int, int], None] = silent) -> Manifest:
    """Write a backup to `path`."""
    with connect(url, "verifier") as conn, path.open("wb") as file:
        return write_backup(conn, file, on_progress)


def restore(url: str, path: Path, on_progress: Callable[[str, int, int], None] = silent) -> tuple[str, ...]:
    """Check and restore a backup; return the migrations that were applied."""
    with Backup(path) as backup, connect(url) as conn:
        backup.check(silent)
        return backup.restore(conn, on_progress).applied


def content(url: str) -> dict[str, list[str]]:
    """Return all rows of the tables that a backup has to hold, as text."""
    with connect(url, "owner") as conn:
        return {
            source.name: sorted(row for (row,) in conn.execute(ROWS.format(sql.Identifier(source.name))))
            for source in read_sources(conn)
        }


def has_ledger(url: str) -> bool:
    """Tell whether the database has the schema of a ledger."""
    with connect(url) as conn:
        return conn.execute("SELECT to_regnamespace('ledger') IS NOT NULL").fetchone() == (True,)


@pytest.fixture(scope="module")
def ledger(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A ledger with sealed fields, tiles and a checkpoint, which no test changes."""
    with signed_ledger(server_url, tmp_path_factory.mktemp("key")) as found:
        yield found


@pytest.fixture
def file(ledger: Ledger, tmp_path: Path) -> Path:
    """A backup of that ledger."""
    path = tmp_path / "ledger.backup"
    backed_up(ledger.url, path)
    return path


def test_a_restored_ledger_is_the_one_that_was_backed_up(ledger: Ledger, file: Path, server_url: str) -> None:
    """All rows are the same, the chain holds, and it goes on where it ended."""
    with scratch_database(server_url) as url:
        restore(url, file)
        assert content(url) == content(ledger.url)
        with connect(url, "verifier") as conn:
            report = verify_chain(conn)
        with Backup(file) as backup:
            manifest = backup.manifest
        assert report.ok
        assert report.head_hash is not None
        assert (report.last_position, report.head_hash.hex()) == (manifest.position, manifest.hash)
        with connect(url, "writer") as conn:
            assert append(conn, new("request-", requested()))[0].position == manifest.position + 1


def test_every_table_is_backed_up_or_derived(database_url: str) -> None:
    """A table that a migration adds is in the backup, unless it is listed as derived. Only jobs have a sequence."""
    with connect(database_url, "owner") as conn:
        every = {name for (name,) in conn.execute(TABLES)}
        sources = [source.name for source in read_sources(conn)]
        assert every == {*sources, *DERIVED, *(read_model.name for read_model in all_models())}
        assert set(sources) >= {"head", "events", "sealed_fields", "checkpoints", "cosignatures"}
        assert conn.execute("SELECT relname FROM pg_class WHERE relkind = 'S'").fetchall() == [("jobs_id_seq",)]


def test_a_backup_is_of_one_moment(database_url: str, server_url: str, tmp_path: Path) -> None:
    """Events that are appended while it is written are in no table of it."""
    with connect(database_url, "writer") as writer:
        append(writer, new("request-", requested()))

        def meanwhile(_name: str, _done: int, _total: int) -> None:
            append(writer, new("request-", requested()))

        manifest = backed_up(database_url, tmp_path / "file", meanwhile)
    assert manifest.position == 1
    assert {table.name: table.rows for table in manifest.tables}["sealed_fields"] == 1
    with scratch_database(server_url) as url:
        restore(url, tmp_path / "file")
        with connect(url, "verifier") as conn:
            assert verify_chain(conn).ok


def test_a_ledger_is_not_restored_over_another(database_url: str, file: Path) -> None:
    """Also not over an empty one."""
    before = content(database_url)
    with pytest.raises(NotEmpty, match="a new data folder"):
        restore(database_url, file)
    assert content(database_url) == before


def test_a_restore_that_ends_anywhere_leaves_no_ledger(ledger: Ledger, file: Path, server_url: str) -> None:
    """However far it got, the database has no ledger, and the restore succeeds when it is run again."""
    with scratch_database(server_url) as url:
        for stop in [table for table, rows in content(ledger.url).items() if rows]:

            def fail(table: str, _done: int, _total: int, stop: str = stop) -> None:
                if table == stop:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                restore(url, file, fail)
            assert not has_ledger(url)
        restore(url, file)
        assert content(url) == content(ledger.url)


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Write a backup again, with changed members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def edit_event(members: dict[str, bytes]) -> None:
    """Change one character of one event."""
    members["tables/events"] = members["tables/events"].replace(b"request", b"reqvest", 1)


def remove_table(members: dict[str, bytes]) -> None:
    """Leave a table out."""
    del members["tables/sealed_fields"]


def rename_column(members: dict[str, bytes]) -> None:
    """Name a column that no migration makes."""
    members["manifest.json"] = members["manifest.json"].replace(b'"recorded_at",', b'"recorded",')


def no_manifest(members: dict[str, bytes]) -> None:
    """Replace the manifest."""
    members["manifest.json"] = b"{}"


@pytest.mark.parametrize("change", [edit_event, remove_table, rename_column, no_manifest])
def test_a_damaged_backup_is_named_and_nothing_restored(
    file: Path, server_url: str, change: Callable[[dict[str, bytes]], None]
) -> None:
    """An altered or missing part is found before anything is committed."""
    rewritten(file, change)
    with scratch_database(server_url) as url:
        with pytest.raises(BackupError, match=r"ledger\.backup is damaged"):
            restore(url, file)
        assert not has_ledger(url)


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_file_that_was_cut_off_is_named(file: Path, size: int) -> None:
    """A copy that is not complete is no backup."""
    data = file.read_bytes()
    file.write_bytes(data[:size])
    with pytest.raises(BackupError, match="no complete backup"), Backup(file) as backup:
        backup.check(silent)


def test_flipped_bytes_are_found(file: Path) -> None:
    """A byte that a disk changed, anywhere among the rows, is an error that names the file."""
    data = file.read_bytes()
    for place in range(100, len(data) - 3000, len(data) // 40):
        file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(BackupError, match=r"ledger\.backup is damaged"), Backup(file) as backup:
            backup.check(silent)


def as_of_0008(members: dict[str, bytes]) -> None:
    """Make it the backup that the version with eight migrations would have written."""
    manifest = json.loads(members["manifest.json"])
    manifest["migrations"] = dict(list(manifest["migrations"].items())[:8])
    manifest["tables"] = [table for table in manifest["tables"] if table["name"] in MADE_BY_0008]
    # The migration 0011 added the last column, which has no value.
    [head] = [table for table in manifest["tables"] if table["name"] == "head"]
    assert head["columns"].pop() == "stopped"
    rows = members["tables/head"] = members["tables/head"].replace(b"\t\\N\n", b"\n")
    head |= {"size": len(rows), "sha256": sha256(rows).hexdigest()}
    # The migration 0021 added the last column, a number.
    [clients] = [table for table in manifest["tables"] if table["name"] == "stream_clients"]
    assert clients["columns"].pop() == "position"
    rows = members["tables/stream_clients"] = re.sub(rb"\t[0-9]+\n", b"\n", members["tables/stream_clients"])
    clients |= {"size": len(rows), "sha256": sha256(rows).hexdigest()}
    members["manifest.json"] = json.dumps(manifest).encode()


def test_a_backup_of_an_older_version_is_upgraded(ledger: Ledger, file: Path, server_url: str) -> None:
    """The rows go into the tables of their version; the later migrations are then applied to them."""
    rewritten(file, as_of_0008)
    with scratch_database(server_url) as url:
        assert len(restore(url, file)) > 8
        expected = content(ledger.url)
        # Since which position a client is known is not in so old a backup: 0, always.
        expected["stream_clients"] = [re.sub(r",\d+\)$", ",0)", row) for row in expected["stream_clients"]]
        for table in MADE_BY_0008:
            assert content(url)[table] == expected[table]
        with connect(url, "writer") as conn:
            append(conn, new("request-", requested()))


def change_migrations(change: Callable[[dict[str, str]], None]) -> Callable[[dict[str, bytes]], None]:
    """Return a function that changes the migrations in the manifest of a backup."""

    def changed(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        change(manifest["migrations"])
        members["manifest.json"] = json.dumps(manifest).encode()

    return changed


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda migrations: migrations.update({"9999_later": "0" * 64}), NewerSchema),
        (lambda migrations: migrations.update({"0001_events": "0" * 64}), EditedMigration),
        (lambda migrations: migrations.pop("0003_projections"), EditedMigration),
    ],
    ids=["newer", "edited", "missing"],
)
def test_a_backup_of_another_version_is_refused(
    file: Path, server_url: str, change: Callable[[dict[str, str]], None], error: type[Exception]
) -> None:
    """Of a newer version, or of one with other migrations: nothing is restored."""
    rewritten(file, change_migrations(change))
    with scratch_database(server_url) as url:
        with pytest.raises(error):
            restore(url, file)
        assert not has_ledger(url)

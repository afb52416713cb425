"""The commands of the pages for operators do what the pages say, pasted in order."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from api.postgres.account import give, let_pass, let_read, server_account
from api.postgres.cluster import binaries
from api.postgres.embedded import EmbeddedPostgres
from tests.api.program import cli, serving
from tests.api.served import ASK, ledger_copy
from tests.conftest import Template, roomy
from tests.operated import blocks, run_script
from tests.support import connect, eventually

OLD = Path("/usr/lib/postgresql/15/bin")
OWN_PROGRAMS = "## With PostgreSQL's own programs"
# Servers are initialised, started and copied.
pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the account of the servers can enter."""
    path = Path(tempfile.mkdtemp(prefix="advice-ledger-", dir=roomy()))
    yield path
    shutil.rmtree(path)


def signed(data: Path) -> bytes:
    """Serve a new ledger in this folder for one request; return the newest checkpoint, once nothing more is signed."""
    with serving("--data-dir", data, "--no-worker") as server:
        headers = {"Authorization": f"Bearer {server.tokens()['advisor']}"}
        httpx.post(f"{server.base}/portfolio/recommendations", json=ASK, headers=headers).raise_for_status()
        eventually("a checkpoint", lambda: newest(server.base))
    with serving("--data-dir", data, "--read-only") as server:
        return eventually("the newest checkpoint", lambda: newest(server.base))


def newest(base: str) -> bytes | None:
    """Return the newest checkpoint, if there is one."""
    response = httpx.get(f"{base}/checkpoint")
    return response.content if response.status_code == 200 else None


# Each server listens in a folder of its own alone.
PRIMARY = """
options() { as_server mkdir -p "$1.socket"; echo "-k $PWD/$1.socket -c listen_addresses="; }
pg_ctl() { as_server "$binaries/pg_ctl" -o "$(options "$2")" "$@"; }
make_cluster() {
  initdb --pgdata "$1" --username postgres --auth trust --encoding UTF8 --locale C.UTF-8 --no-sync > /dev/null
  pg_ctl --pgdata "$1" --log "$1.log" --wait start > /dev/null
}
make_cluster db1
createdb --host "$PWD/db1.socket" advice
export ADVICE_LEDGER_DATABASE_URL="host=$PWD/db1.socket dbname=advice user=postgres"
advice-ledger migrate
advice-ledger keys generate --key log.key > ledger.pub
"""
# What others record between a base backup and the loss of the server: two events, and the time between them.
MEANWHILE = """
pg_basebackup --host db1.example --pgdata db2 --checkpoint fast
advice-ledger keys rotate --key log.key
date --utc '+%F %T.%6N+00' > time
advice-ledger keys rotate --key log.key
advice-ledger sign --once --key log.key
pg_ctl --pgdata db1 stop
"""


@dataclass(frozen=True)
class Clusters:
    """A folder for clusters of PostgreSQL, which belongs to their account, and the programs of the first one."""

    folder: Path
    binaries: Path

    def run(self, *scripts: str) -> str:
        """Run scripts after the lines that make a cluster in `db1` with a ledger; return what they print."""
        text = "\n".join([PRIMARY, *scripts])
        for name in ("db1", "db2"):
            text = text.replace(f"{name}.example", str(self.folder / f"{name}.socket"))
        return run_script(text, self.folder, self.binaries, PGUSER="postgres")

    def url(self, name: str) -> str:
        """Return the address of the database on one of the servers."""
        return f"host={self.folder / name}.socket dbname=advice user=postgres"

    def stop(self) -> None:
        """Stop each server that runs."""
        for pid in self.folder.glob("*/postmaster.pid"):
            os.kill(int(pid.read_text().split()[0]), signal.SIGINT)
            eventually("the server stops", lambda pid=pid: not pid.exists())


@contextlib.contextmanager
def clusters_of(folder: Path, programs: Path) -> Iterator[Clusters]:
    """Give the folder to the account of the servers, and stop them at the end."""
    account = server_account(folder / "db1")
    give(folder, account)
    let_pass(folder / "db1", account)
    let_pass(binaries(), account)
    let_read(binaries().parent, account)
    found = Clusters(folder, programs)
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def clusters(folder: Path) -> Iterator[Clusters]:
    """Clusters of the version of the embedded PostgreSQL."""
    with clusters_of(folder, binaries()) as found:
        yield found


def test_backup_and_restore(folder: Path) -> None:
    """The embedded database is backed up, restored elsewhere, verified and signed again."""
    data = folder / "data"
    newest = signed(data)
    (folder / "newest").write_bytes(newest)
    (folder / "ledger.pub").write_text(cli("keys", "show", "--data-dir", data).out)
    shutil.copy2(data / "log.key", folder)
    shutil.copy2(data / "recording.key", folder)
    script = "\n".join(blocks("backup.md", until=OWN_PROGRAMS))
    printed = run_script(script, folder, binaries(), ADVICE_LEDGER_DATA_DIR=str(data))
    assert "verified: the chain holds, and ends as the backup says" in printed
    _, size, *_ = newest.decode().splitlines()
    assert f"a trusted checkpoint covers {size} events" in printed
    with serving("--data-dir", folder / "restored", "--no-worker") as server:
        eventually("it is ready", lambda: httpx.get(f"{server.base}/readyz").status_code == 200)


def dump() -> tuple[str, str, str]:
    """Return the blocks of the page that dump, restore, and drop what was restored without the roles."""
    first, restore, drop = blocks("backup.md", after="### A dump", until="### Back to a point in time")
    return first, restore, drop


def test_a_dump_with_the_roles(clusters: Clusters) -> None:
    """On a server that never had a ledger, all is there after the roles, the dump and migrate."""
    first, restore, _ = dump()
    assert "0 events" in clusters.run(first, "make_cluster db2", restore)
    assert cli("status", "--database-url", clusters.url("db2")).code == 0


def test_a_dump_without_the_roles(clusters: Clusters) -> None:
    """migrate names the owner and says what to do; done so, the ledger is good."""
    first, restore, drop = dump()
    without = "createdb --host db2.example advice; pg_restore --host db2.example --dbname advice advice.dump || true"
    clusters.run(first, "make_cluster db2", without)
    ran = cli("migrate", "--database-url", clusters.url("db2"))
    assert ran.failed_with("belong to postgres and not to ledger_owner", "DROP SCHEMA ledger, ledger_rebuild CASCADE")
    again = "\n".join(line for line in restore.splitlines() if not line.startswith(("createdb", "psql")))
    text = f"{drop}\n{again}".replace("db2.example", str(clusters.folder / "db2.socket"))
    assert "0 events" in run_script(text, clusters.folder, clusters.binaries, PGUSER="postgres")


def test_back_to_a_point_in_time(clusters: Clusters) -> None:
    """The first of two events is there, the second is not, and the signer refuses, as it had signed both."""
    backup = MEANWHILE.strip().splitlines()[0]
    instead = {"/archive": str(clusters.folder / "archive"), backup: MEANWHILE, "2026-01-31 12:00:00+00": "$(cat time)"}
    pages = blocks("backup.md", after="### Back to a point in time", instead=instead)
    printed = clusters.run("as_server mkdir archive", *pages)
    assert "1 event, positions 1 to 1" in printed
    key, url = clusters.folder / "log.key", clusters.url("db2")
    ran = eventually(
        "it takes writes", lambda: promoted(url) and cli("sign", "--once", "--key", key, "--database-url", url)
    )
    assert (ran.code, "an older copy was restored" in ran.err) == (1, True)


def promoted(url: str) -> bool:
    """Tell whether the recovery of a server has ended."""
    with connect(url) as conn:
        return conn.execute("SELECT NOT pg_is_in_recovery()").fetchone() == (True,)


def test_standbys_and_failover(clusters: Clusters) -> None:
    """A standby is made, waited for, and promoted; the chain is there, and signing goes on."""
    promote = "pg_ctl --pgdata db2 promote"
    printed = clusters.run(
        *blocks("standbys.md", instead={promote: f"pg_ctl --pgdata db1 -m immediate stop\n{promote}"})
    )
    assert "acknowledged means: flushed on this server, and flushed on 1 standby of: db2" in printed
    assert "0 events" in printed


def test_a_new_version_of_postgresql(folder: Path) -> None:
    """pg_upgrade from 15 keeps the ledger: it migrates, verifies, and a backup of it goes back to 15."""
    if not (OLD / "pg_upgrade").exists():
        pytest.skip(f"PostgreSQL 15 is not in {OLD}: .ci/run installs it")
    start = "$NEW/pg_ctl --pgdata db2"
    instead = {
        "NEW=/usr/lib/postgresql/18/bin": f"NEW={binaries()}",
        "$OLD/pg_ctl": "pg_ctl",
        "$NEW/initdb": "as_server $NEW/initdb",
        "$NEW/pg_upgrade": "as_server $NEW/pg_upgrade",
        start: 'as_server $NEW/pg_ctl -o "$(options db2)" --pgdata db2',
    }
    with clusters_of(folder, OLD) as clusters:
        pages = blocks("upgrades.md", after="## A new major version of PostgreSQL", instead=instead)
        back = "make_cluster db3\ncreatedb --host $PWD/db3.socket advice\nadvice-ledger backup -o file --database-url "
        printed = clusters.run("advice-ledger keys rotate --key log.key", *pages, f'{back} "{clusters.url("db2")}"')
        assert "1 event, positions 1 to 1" in printed
        restored = cli("restore", folder / "file", "--json", "--database-url", clusters.url("db3"))
        assert (restored.code, restored.json()["position"]) == (0, 1)


def test_a_new_version_of_this_program(server_url: str, template_database: Template, folder: Path) -> None:
    """The commands before and after the installation."""
    script = "\n".join(blocks("upgrades.md", until="## A new major version of PostgreSQL"))
    with ledger_copy(server_url, template_database) as url:
        assert "0 events" in run_script(script, folder, binaries(), ADVICE_LEDGER_DATABASE_URL=url)


def test_the_commands_on_durability_and_disks(folder: Path) -> None:
    """status prints what serve prints when it starts; max_wal_size changes while the server runs."""
    with serving("--data-dir", folder / "data", "--no-worker") as server:
        script = "\n".join([*blocks("durability.md"), *blocks("disk.md")])
        data = str(folder / "data")
        printed = run_script(script, folder, binaries(), ADVICE_LEDGER_DATA_DIR=data, DATA=data)
        [meaning] = re.findall("acknowledged means: .*", printed)
        assert f"\n{meaning} (docs/operate/durability.md)\n" in f"\n{server.err}"
        with EmbeddedPostgres(folder / "data") as postgres, connect(postgres.url) as conn:
            eventually("it changes", lambda: conn.execute("SHOW max_wal_size").fetchone() == ("512MB",))

"""The commands of the pages for operators do what the pages say, pasted in order."""

from __future__ import annotations

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
from tests.api.program import cli, serving
from tests.api.served import ASK, ledger_copy
from tests.conftest import Template, roomy
from tests.operated import run_page
from tests.support import eventually

# Servers are initialised, started and copied.
pytestmark = pytest.mark.slow


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the account of the servers can enter."""
    path = Path(tempfile.mkdtemp(prefix="advice-ledger-", dir=roomy()))
    yield path
    shutil.rmtree(path)


def signed(data: Path) -> bytes:
    """Serve a new ledger in this folder until a checkpoint covers its first event; return that checkpoint."""
    with serving("--data-dir", data, "--no-worker") as server:
        headers = {"Authorization": f"Bearer {server.tokens()['advisor']}"}
        httpx.post(f"{server.base}/portfolio/recommendations", json=ASK, headers=headers).raise_for_status()
        return eventually("a checkpoint", lambda: newest(server.base))


@dataclass(frozen=True)
class Clusters:
    """A folder for clusters of PostgreSQL, which belongs to their account, and the lines that start the first."""

    folder: Path
    binaries: Path

    def page(self, page: str, **instead: str) -> str:
        """Run a page after the lines that make a cluster in `db1` with a ledger; return what it prints."""
        hosts = {f"{name}.example": str(self.folder / f"{name}.socket") for name in ("db1", "db2")}
        return run_page(page, self.folder, self.binaries, instead=hosts | instead, before=PRIMARY, PGUSER="postgres")

    def stop(self) -> None:
        """Stop each server that runs."""
        for pid in self.folder.glob("*/postmaster.pid"):
            os.kill(int(pid.read_text().split()[0]), signal.SIGINT)
            eventually("the server stops", lambda pid=pid: not pid.exists())


# Each server listens in a folder of its own alone.
PRIMARY = """
pg_ctl() {
  as_server mkdir -p "$2.socket"
  as_server "$binaries/pg_ctl" -o "-k $PWD/$2.socket -c listen_addresses=" "$@"
}
initdb --pgdata db1 --username postgres --auth trust --encoding UTF8 --locale C.UTF-8 --no-sync > /dev/null
pg_ctl --pgdata db1 --log db1.log --wait start > /dev/null
createdb --host "$PWD/db1.socket" advice
(
  export ADVICE_LEDGER_DATABASE_URL="host=$PWD/db1.socket dbname=advice user=postgres"
  advice-ledger migrate
  advice-ledger keys generate --key log.key > ledger.pub
  advice-ledger tokens create ann --role advisor
)
"""


@pytest.fixture
def clusters(folder: Path) -> Iterator[Clusters]:
    """The folder, with the embedded server's programs."""
    account = server_account(folder / "db1")
    give(folder, account)
    let_pass(folder / "db1", account)
    let_read(binaries().parent, account)
    found = Clusters(folder, binaries())
    try:
        yield found
    finally:
        found.stop()


def newest(base: str) -> bytes | None:
    """Return the newest checkpoint, if there is one."""
    response = httpx.get(f"{base}/checkpoint")
    return response.content if response.status_code == 200 else None


def test_the_page_on_backups(folder: Path) -> None:
    """The embedded database is backed up, restored elsewhere, verified and signed again."""
    data = folder / "data"
    (folder / "newest").write_bytes(signed(data))
    (folder / "ledger.pub").write_text(cli("keys", "show", "--data-dir", data).out)
    shutil.copy2(data / "log.key", folder)
    printed = run_page("backup.md", folder, binaries(), ADVICE_LEDGER_DATA_DIR=str(data))
    assert "verified: the chain holds, and ends as the backup says" in printed
    assert "a trusted checkpoint covers 1 events" in printed
    with serving("--data-dir", folder / "restored", "--no-worker") as server:
        eventually("it is ready", lambda: httpx.get(f"{server.base}/readyz").status_code == 200)


def test_the_page_on_standbys(clusters: Clusters) -> None:
    """A standby is made, waited for, and promoted; the chain is there, and signing goes on."""
    lost = "pg_ctl --pgdata db1 --mode immediate stop\npg_ctl --pgdata db2 promote"
    printed = clusters.page("standbys.md", **{"pg_ctl --pgdata db2 promote": lost})
    assert "acknowledged means: flushed on this server, and flushed on 1 standby of: db2" in printed
    assert "verified: all of the above holds" in printed


def test_the_page_on_durability(server_url: str, template_database: Template) -> None:
    """The command prints what `serve` prints when it starts."""
    with ledger_copy(server_url, template_database) as url:
        printed = run_page("durability.md", Path(), binaries(), ADVICE_LEDGER_DATABASE_URL=url)
        [meaning] = re.findall("acknowledged means: .*", printed)
        with serving("--no-worker", env={"ADVICE_LEDGER_DATABASE_URL": url}) as server:
            assert f"\n{meaning} (docs/operate/durability.md)\n" in f"\n{server.err}"

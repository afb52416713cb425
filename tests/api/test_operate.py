"""The commands of the pages for operators do what the pages say, pasted in order."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.postgres.cluster import binaries
from tests.api.program import cli, serving
from tests.api.served import ASK
from tests.conftest import roomy
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


def newest(base: str) -> bytes | None:
    """Return the newest checkpoint, if there is one."""
    response = httpx.get(f"{base}/checkpoint")
    return response.content if response.status_code == 200 else None


def test_the_page_on_backups(folder: Path) -> None:
    """The embedded database is backed up, restored elsewhere, verified and signed again."""
    data = folder / "data"
    (folder / "newest").write_bytes(signed(data))
    (folder / "ledger.pub").write_text(cli("keys", "show", "--data-dir", data).out)
    (folder / "log.key").write_bytes((data / "log.key").read_bytes())
    printed = run_page("backup.md", folder, binaries(), ADVICE_LEDGER_DATA_DIR=str(data))
    assert "verified: the chain holds, and ends as the backup says" in printed
    assert "a trusted checkpoint covers 1 events" in printed
    with serving("--data-dir", folder / "restored", "--no-worker") as server:
        eventually("it is ready", lambda: httpx.get(f"{server.base}/readyz").status_code == 200)

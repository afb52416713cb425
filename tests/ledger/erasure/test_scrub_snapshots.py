"""A scrub that swaps a table while somebody reads a snapshot of before: it would not see the rows of the new table."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ledger import short_lock
from ledger.database import Connection
from ledger.erasure import rewrite
from ledger.erasure.rewrite import CLIENTS, Part
from ledger.export import bundle
from ledger.export.bundle import Disclosure, write_bundle
from ledger.proof.bundle.selection import Selection
from ledger.verify import database
from ledger.verify.database import verify_chain
from projections import beside, compare
from projections.portfolio_requests.model import PORTFOLIO_REQUESTS
from tests.ledger.backup.test_backup import backed_up, content, restore
from tests.ledger.cases import Ledger
from tests.ledger.erasure.test_scrub import filled
from tests.ledger.tlog.logs import key_for
from tests.support import connect, scratch_database

EVENTS = 30
PARTS = (Part("sealed_fields_0", 0, None), Part(CLIENTS, 0, None))


class Scrub:
    """Writes both tables anew in a thread of its own. `meet` lets it come as far as it can while others read."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._url = url
        self._tried = threading.Event()
        self._thread = threading.Thread(target=self._run)
        monkeypatch.setattr(short_lock, "sleep", self._pause)

    def meet(self) -> None:
        """Start it, once, and wait until it is done or a reader keeps it waiting."""
        if self._thread.ident is None:
            self._thread.start()
            assert self._tried.wait(30)

    def end(self) -> None:
        """Wait for its end."""
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _pause(self, _seconds: float) -> None:
        self._tried.set()
        threading.Event().wait(0.01)

    def _run(self) -> None:
        try:
            with connect(self._url, "owner") as conn:
                conn.execute("CREATE SCHEMA IF NOT EXISTS ledger_rebuild")
                for part in PARTS:
                    rewrite.rewrite(conn, "ledger", part, lambda _done, _total: None)
        finally:
            self._tried.set()


@pytest.fixture
def scrub(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scrub]:
    """A scrub of a signed ledger with sealed values, which has ended when the test is over."""
    filled(database_url, EVENTS)
    Ledger(database_url, key_for(database_url), tmp_path / "last").sign()
    found = Scrub(database_url, monkeypatch)
    yield found
    found.end()


def test_a_backup_has_all_values(scrub: Scrub, database_url: str, tmp_path: Path, server_url: str) -> None:
    """What it holds is what the ledger has, though the tables are to be swapped when it has begun."""
    backed_up(database_url, tmp_path / "file", lambda *_: scrub.meet())
    with scratch_database(server_url) as url:
        restore(url, tmp_path / "file")
        assert content(url) == content(database_url)
        with connect(url) as conn:
            assert verify_chain(conn).ok


def verifies(url: str) -> bool:
    """Verify the chain."""
    with connect(url, "verifier") as conn:
        return verify_chain(conn).ok


def exports(url: str) -> bool:
    """Export all events with all values."""
    with connect(url, "verifier") as conn:
        selection = Selection("positions", first_position=1, last_position=EVENTS)
        manifest = write_bundle(conn, selection, Disclosure(everything=True), io.BytesIO())
    return manifest.fields["portfolio.requested.client_id"] == {"disclosed": EVENTS, "withheld": 0, "erased": 0}


def compares(url: str) -> bool:
    """Compare a read model with its fold."""
    with connect(url, "verifier") as conn:
        return not compare.check(conn, PORTFOLIO_REQUESTS).findings


def compares_again_and_again(url: str) -> bool:
    """Do so as continuous verification does."""
    with connect(url, "verifier") as conn:
        return not any(beside.compare_read_models(conn))


@pytest.mark.parametrize(
    ("module", "name", "work"),
    [
        (database, "read_head", verifies),
        (bundle, "rotations_of", exports),
        (compare, "_check", compares),
        (beside, "_first_difference", compares_again_and_again),
    ],
)
def test_a_reader_misses_no_value(
    scrub: Scrub,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    name: str,
    work: Callable[[str], bool],
) -> None:
    """It has its snapshot, and has read no sealed value yet, when the tables are to be swapped."""
    first = getattr(module, name)

    def meet(conn: Connection, *arguments: Any) -> Any:
        # The snapshot is that of the first query.
        conn.execute("SELECT 1 FROM head")
        scrub.meet()
        return first(conn, *arguments)

    monkeypatch.setattr(module, name, meet)
    assert work(database_url)

"""The first tokens: on a terminal, or in a file of their owner, and never in what others may read."""

from __future__ import annotations

import os
import pty
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.cli import first_tokens
from api.cli.shared import CannotRun
from ledger.domain.subject import ROLES
from tests.subjects import revoke, subject
from tests.support import connect

BASE = "http://127.0.0.1:8000"


def made(url: str) -> int:
    """Count the credentials of a ledger."""
    with connect(url) as conn:
        return len(conn.execute("SELECT FROM events WHERE type = 'credential.issued'").fetchall())


def test_a_terminal_shows_them(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal there are export lines, and no file."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        first_tokens.ensure_tokens(database_url, BASE, tmp_path / "data", local=True)
        shown = os.read(master, 100_000).decode()
    os.close(master)
    assert shown.count("=alt_") == len(ROLES)
    assert "export ADVISOR=alt_" in shown
    assert not (tmp_path / "data").exists()


def test_elsewhere_a_file_keeps_them(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal the file has them, a file that is there already stays, and only the owner can read either."""
    (tmp_path / "tokens.sh").write_text("of another ledger")
    first_tokens.ensure_tokens(database_url, BASE, tmp_path, local=True)
    kept = tmp_path / "tokens-2.sh"
    assert kept.read_text().count("=alt_") == len(ROLES)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert (tmp_path / "tokens.sh").read_text() == "of another ledger"
    said = capsys.readouterr()
    assert "alt_" not in said.out + said.err
    assert f"\n. {kept}\n" in said.out


def test_tokens_that_cannot_be_kept_are_not_made(database_url: str, tmp_path: Path) -> None:
    """If the file cannot be written, the ledger has no tokens, so that the next start makes them."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotRun, match="start on a terminal"):
        first_tokens.ensure_tokens(database_url, BASE, tmp_path / "file", local=True)
    assert made(database_url) == 0
    first_tokens.ensure_tokens(database_url, BASE, tmp_path, local=True)
    assert made(database_url) == len(ROLES)


def test_of_two_first_starts_at_once_one_makes_them(database_url: str, tmp_path: Path) -> None:
    """Servers that start together on a fresh ledger register each subject once, and keep one file of tokens."""

    def start(_nth: int) -> None:
        first_tokens.ensure_tokens(database_url, BASE, tmp_path, local=True)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, range(4)))
    assert made(database_url) == len(ROLES)
    assert [file.name for file in tmp_path.iterdir()] == ["tokens.sh"]


def test_a_ledger_whose_credentials_have_ended_gets_no_others(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once there were credentials, a start makes none by itself, and says how to."""
    subject(database_url, "ann", "advisor")
    revoke(database_url, "ann")
    first_tokens.ensure_tokens(database_url, BASE, tmp_path, local=True)
    assert "advice-ledger subjects add NAME --role ROLE --token" in capsys.readouterr().err
    assert made(database_url) == 1

"""The signer in a server: one leads, the cadence holds, a broken connection is no end, and a refusal is one."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ledger.database import Connection
from ledger.tlog.sign import signer_thread as thread_module
from ledger.tlog.sign.signer import Signer
from ledger.tlog.sign.signer_thread import SignerThread, SigningConfig
from ledger.tlog.signing_keys import SigningKey
from tests.api.served import served
from tests.ledger.tlog.logs import fill, key_for, sign
from tests.support import connect, eventually, refused
from tests.tampering import tamper


@pytest.fixture
def key(database_url: str) -> SigningKey:
    """A key for the test's ledger."""
    return key_for(database_url)


@contextlib.contextmanager
def running(url: str, key: SigningKey, path: Path, **cadence: Any) -> Iterator[SignerThread]:
    """A thread that signs, every 20 ms unless it is said otherwise."""
    thread = SignerThread(url, SigningConfig(key, path, **{"every_s": 0.02, **cadence}))
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()
        assert not thread.is_alive()


def sizes(url: str) -> list[int]:
    """Return the sizes of all checkpoints."""
    with connect(url) as conn:
        return [row[0] for row in conn.execute("SELECT size FROM checkpoints ORDER BY size").fetchall()]


@pytest.fixture
def looks_again(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that waits until a thread has looked at the head three times more."""
    looks = itertools.count(1)
    latest = 0
    real_head = thread_module.head

    def counted(conn: Connection) -> int:
        nonlocal latest
        latest = next(looks)
        return real_head(conn)

    def wait() -> None:
        before = latest
        eventually("the signer looks again", lambda: latest > before + 3)

    monkeypatch.setattr(thread_module, "head", counted)
    return wait


def test_the_signer_follows_the_head(
    database_url: str, key: SigningKey, tmp_path: Path, looks_again: Callable[[], None]
) -> None:
    """New events are signed soon; nothing is signed twice."""
    with running(database_url, key, tmp_path / "last") as thread:
        for size in (1, 2, 3):
            fill(database_url, 1)
            eventually("a checkpoint", lambda size=size: sizes(database_url)[-1:] == [size])
        assert thread.status.state == "leads"
        looks_again()
    assert sizes(database_url) == [1, 2, 3]
    assert vars(thread.status)["state"] == "stopped"


def test_checkpoints_come_after_the_time_or_the_number_of_events(
    database_url: str, key: SigningKey, tmp_path: Path, looks_again: Callable[[], None]
) -> None:
    """With an hour between checkpoints the first comes at once, the next when enough events wait, and not before."""
    with running(database_url, key, tmp_path / "last", every_s=3600, events=5):
        fill(database_url, 1)
        eventually("the first", lambda: sizes(database_url) == [1])
        fill(database_url, 4)
        looks_again()
        assert sizes(database_url) == [1]
        fill(database_url, 1)
        eventually("the second", lambda: sizes(database_url) == [1, 6])


def test_a_follower_takes_over(
    database_url: str, key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads share one file: one leads, the other follows and continues where the first ended."""
    monkeypatch.setattr(thread_module, "FOLLOW_S", 0.05)
    path = tmp_path / "last"
    with running(database_url, key, path) as first:
        eventually("a leader", lambda: first.status.state == "leads")
        with running(database_url, key, path) as second:
            eventually("a follower", lambda: second.status.state == "follows")
            fill(database_url, 1)
            eventually("a checkpoint", lambda: sizes(database_url) == [1])
            first.stop()
            eventually("another leader", lambda: second.status.state == "leads")
            fill(database_url, 1)
            eventually("a checkpoint", lambda: sizes(database_url) == [1, 2])


def test_the_signer_connects_again_and_goes_on(database_url: str, key: SigningKey, tmp_path: Path) -> None:
    """Each time its connection is cut, it comes back and goes on."""
    with running(database_url, key, tmp_path / "last"), connect(database_url) as conn:
        for size in (1, 2, 3):
            fill(database_url, 1)
            eventually("a checkpoint", lambda size=size: sizes(database_url)[-1:] == [size])
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'advice-ledger signer'"
            )
        fill(database_url, 1)
        eventually("a checkpoint", lambda: sizes(database_url) == [1, 2, 3, 4])


@pytest.mark.parametrize("stops", [True, False])
def test_a_refusal_ends_it(
    database_url: str, key: SigningKey, tmp_path: Path, caplog: pytest.LogCaptureFixture, stops: bool
) -> None:
    """A refusal is logged once, with what to do, and ends the thread; events are recorded only if so configured."""
    path = tmp_path / "last"
    fill(database_url, 3)
    sign(database_url, key, path)
    path.unlink()
    fill(database_url, 1)
    with (
        caplog.at_level(logging.INFO, "ledger.tlog.sign.signer_thread"),
        running(database_url, key, path, stops_appends=stops) as thread,
    ):
        thread.join(10)
        assert thread.status.state == "refused"
        assert "docs/operate/tlog.md" in (thread.status.error or "")
        with refused("AL010") if stops else contextlib.nullcontext():
            fill(database_url, 1)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "PRIVATE" not in caplog.text
    assert thread.status.state == "refused"
    assert sizes(database_url) == [3]


NULL_HASH = "ALTER TABLE events ALTER hash DROP NOT NULL"
NO_CHECK = "ALTER TABLE events DROP CONSTRAINT events_hash_check"
DAMAGE = {
    "no head": ("head is gone", "DELETE FROM head"),
    "no hash where it was signed": ("position 3", NULL_HASH, "UPDATE events SET hash = NULL WHERE position = 3"),
    "no hash in what is new": ("0 events", NULL_HASH, "UPDATE events SET hash = NULL WHERE position > 3"),
    "a short hash where it was signed": ("position 3", NO_CHECK, "UPDATE events SET hash = '\\x00' WHERE position = 3"),
    "a short hash in what is new": (
        "1 event with",
        NO_CHECK,
        "UPDATE events SET hash = '\\x00' WHERE position = 5",
    ),
}


@pytest.mark.tampers
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_gone_is_a_refusal(
    database_url: str, key: SigningKey, tmp_path: Path, damage: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Without a head, or with no whole hash where there has to be one, it is refused by name, and no program error."""
    message, *statements = damage
    fill(database_url, 3)
    sign(database_url, key, tmp_path / "last")
    fill(database_url, 2)
    tamper(database_url, *statements)
    with running(database_url, key, tmp_path / "last") as thread:
        thread.join(10)
        assert thread.status.state == "refused"
        assert message in (thread.status.error or "")
    assert [record.exc_info for record in caplog.records if record.name == "ledger.tlog.sign.signer_thread"] == [None]


@pytest.mark.tampers
def test_a_lost_head_shows(database_url: str, key: SigningKey, tmp_path: Path) -> None:
    """The reasons of /readyz have what the signer found, also where there is no row to answer from."""
    fill(database_url, 3)
    with served(database_url, tokens={}, signing=SigningConfig(key, tmp_path / "last", every_s=0.02)) as api:
        eventually("a checkpoint", lambda: sizes(database_url) == [3])
        tamper(database_url, "DELETE FROM head")
        eventually("the reason", lambda: "the ledger's head is gone" in str(api.get("/readyz", None).json()["reasons"]))


def test_what_nobody_foresaw_is_said(
    database_url: str, key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the program ends the thread as a refusal does, in its status: it never says that it leads."""

    def fails(*_: Any) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(Signer, "_published", fails)
    with running(database_url, key, tmp_path / "last") as thread:
        thread.join(10)
        assert thread.status.state == "refused"
        assert "ZeroDivisionError in fails, line " in (thread.status.error or "")


def test_a_file_that_cannot_be_written_is_tried_again(database_url: str, key: SigningKey, tmp_path: Path) -> None:
    """A folder that is a file is a trouble with a name, not an end: it is tried again until it works."""
    blocked = tmp_path / "folder"
    blocked.write_text("")
    fill(database_url, 1)
    with running(database_url, key, blocked / "last") as thread:
        eventually("trouble", lambda: thread.status.state == "failing")
        assert str(blocked) in (thread.status.error or "")
        blocked.unlink()
        eventually("a checkpoint", lambda: sizes(database_url) == [1])


def test_a_database_without_the_role_is_named_by_the_signer(database_url: str, key: SigningKey, tmp_path: Path) -> None:
    """A database that does not serve the signer is complained of, and the thread stops when it is told to."""
    nowhere = psycopg.conninfo.make_conninfo(database_url, dbname="nowhere")
    with running(nowhere, key, tmp_path / "last") as thread:
        eventually("trouble", lambda: thread.status.state == "failing")
        assert "nowhere" in (thread.status.error or "")


def test_the_key_is_in_no_representation(key: SigningKey, tmp_path: Path) -> None:
    """No representation of the settings shows the key."""
    secret = key.reveal().split("+", 4)[4]
    signing = SigningConfig(key, tmp_path)
    assert secret not in repr(signing) + str(signing) + repr(key)

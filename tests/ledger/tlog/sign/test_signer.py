"""Each checkpoint extends the one before, whatever the database holds; no crash loses a signed one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.database import Connection
from ledger.proof.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.proof.tlog.merkle import leaf_hashes, root_of
from ledger.tlog.sign.errors import (
    OtherLedger,
    Rewritten,
    RolledBack,
    SigningRefused,
    StateDamaged,
    StateMissing,
    StateTaken,
    TileDiffers,
)
from ledger.tlog.sign.last_signed import LastSigned
from ledger.tlog.sign.signer import Signer
from ledger.tlog.sign.state_file import Signed, StateFile
from ledger.tlog.signing_keys import SigningKey, sign_checkpoint
from ledger.tlog.tree import tiles_of
from tests.support import append, connect, new
from tests.tampering import tamper

ORIGIN = "ledger.example/test"
KEY = SigningKey.generate(ORIGIN)


@pytest.fixture
def ledger(database_url: str) -> str:
    """An empty ledger of our origin."""
    return database_url


@pytest.fixture
def key(ledger: str) -> SigningKey:
    """A key for the ledger."""
    with connect(ledger) as conn:
        row = conn.execute("SELECT origin FROM head").fetchone()
    assert row is not None
    return SigningKey.generate(row[0])


@contextlib.contextmanager
def signing(url: str, key: SigningKey, path: Path) -> Iterator[Signer]:
    """A signer, while the block runs."""
    with connect(url, "signer") as conn, LastSigned(path, None, key.verifier).held() as file:
        yield Signer(conn, key, file, stops_appends=False)


def fill(conn: Connection, count: int) -> None:
    """Append events."""
    append(conn, *(new("s") for _ in range(count)))


def leaves(conn: Connection, size: int) -> list[bytes]:
    """Leaf hashes of the events up to a position."""
    rows = conn.execute("SELECT hash FROM events WHERE position <= %s ORDER BY position", [size]).fetchall()
    return leaf_hashes([bytes(row[0]) for row in rows])


def check_log(url: str, key: SigningKey) -> None:
    """Every checkpoint is the signed root of its events; the stored tiles are those of the newest."""
    with connect(url) as conn:
        rows: list[Any] = conn.execute("SELECT size, note FROM checkpoints ORDER BY size").fetchall()
        for size, note in rows:
            found = open_checkpoint(note.encode(), key.verifier.name, [key.verifier]).checkpoint
            assert (found.size, found.root) == (size, root_of(leaves(conn, size)))
        if rows:
            check_tiles(conn, rows[-1][0])


def check_tiles(conn: Connection, size: int) -> None:
    """The stored tiles are those of a tree of this size, computed anew."""
    level, row, wanted = 0, leaves(conn, size), {}
    while row:
        wanted.update({(level, n // 256): b"".join(row[n : n + 256]) for n in range(0, len(row), 256)})
        row = [root_of(row[n : n + 256]) for n in range(0, len(row) - 255, 256)]
        level += 1
    query = "SELECT level, number, hashes FROM tiles UNION ALL SELECT level, number, hashes FROM partial_tiles"
    stored = {(level, number): bytes(hashes) for level, number, hashes in conn.execute(query)}
    assert len(wanted) == len(list(tiles_of(size)))
    short = {place: hashes for place, hashes in wanted.items() if place[0] or len(hashes) == 8192}
    assert stored == short


def test_it_signs_what_is_there(ledger: str, key: SigningKey, tmp_path: Path) -> None:
    """An empty ledger has nothing to sign; then each step signs what is new, and no more than that."""
    with connect(ledger) as conn, signing(ledger, key, tmp_path / "last") as signer:
        assert signer.step() is None
        fill(conn, 3)
        signed = signer.step()
        assert signed is not None
        assert signed.size == 3
        assert signer.step() is None
        fill(conn, 700)
        sizes = []
        while (found := signer.step(most=300)) is not None:
            sizes.append(found.size)
        assert sizes == [303, 603, 703]
    check_log(ledger, key)


def test_the_log_is_that_of_its_events_however_it_grows(
    server_url: str, template_database: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However the chain grows and in whatever steps it is signed, by whom, the log is that of its events."""
    from tests.conftest import ledger_copy

    @settings(max_examples=12, suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.lists(st.tuples(st.integers(1, 600), st.integers(1, 700), st.booleans()), min_size=1, max_size=5))
    def check(growth: list[tuple[int, int, bool]]) -> None:
        path = tmp_path_factory.mktemp("log") / "last"
        with ledger_copy(server_url, template_database) as url, connect(url) as conn:
            origin = conn.execute("SELECT origin FROM head").fetchall()[0][0]
            mine = SigningKey.generate(origin)
            for count, most, all_of_it in growth:
                fill(conn, count)
                with signing(url, mine, path) as signer:
                    while signer.step(most) is not None and all_of_it:
                        pass
            check_log(url, mine)

    check()


@pytest.mark.parametrize("step", ["_store", "write", "_publish"])
@pytest.mark.parametrize("late", [False, True])
def test_a_crash_at_any_step(
    ledger: str, key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, late: bool
) -> None:
    """Dying before or after any step, a signer leaves what the next one goes on from; nothing is signed twice."""

    class Died(Exception):
        pass

    owner = StateFile if step == "write" else Signer
    original = getattr(owner, step)

    def dies(*args: Any) -> None:
        if late:
            original(*args)
        raise Died

    path = tmp_path / "last"
    with connect(ledger) as conn:
        fill(conn, 300)
        with signing(ledger, key, path) as signer:
            signer.step()
        fill(conn, 300)
        with monkeypatch.context() as patch, signing(ledger, key, path) as signer:
            patch.setattr(owner, step, dies)
            with pytest.raises(Died):
                signer.step()
        fill(conn, 10)
        with signing(ledger, key, path) as signer:
            while signer.step() is not None:
                pass
        sizes = [row[0] for row in conn.execute("SELECT size FROM checkpoints ORDER BY size")]
    signed_before_dying = (step, late) in {("write", True), ("_publish", False), ("_publish", True)}
    assert sizes == ([300, 600, 610] if signed_before_dying else [300, 610])
    check_log(ledger, key)


@pytest.fixture
def state_file(ledger: str, key: SigningKey, tmp_path: Path) -> Path:
    """A ledger of 20 events, signed; where the signer's file is."""
    path = tmp_path / "last"
    with connect(ledger) as conn, signing(ledger, key, path) as signer:
        fill(conn, 20)
        signer.step()
    return path


def refused(url: str, key: SigningKey, path: Path, kind: type[SigningRefused]) -> str:
    """The message with which signing is refused; nothing is signed, and the file stays."""
    before = path.read_bytes() if path.exists() else None
    with connect(url) as conn:
        count = conn.execute("SELECT count(*) FROM checkpoints").fetchall()
        with signing(url, key, path) as signer, pytest.raises(kind) as caught:
            signer.step()
        assert conn.execute("SELECT count(*) FROM checkpoints").fetchall() == count
    assert (path.read_bytes() if path.exists() else None) == before
    return str(caught.value)


@pytest.mark.tampers
def test_an_older_copy_is_refused(ledger: str, key: SigningKey, state_file: Path) -> None:
    """With fewer events than were signed nothing is signed, and the message names both numbers."""
    tamper(
        ledger,
        "DELETE FROM events WHERE position > 15",
        "UPDATE head SET position = 15, hash = (SELECT hash FROM events WHERE position = 15)",
    )
    message = refused(ledger, key, state_file, RolledBack)
    assert "15 events" in message
    assert "20" in message
    # Written on until it is as long as before: the event at the seam gives it away.
    with connect(ledger) as conn:
        fill(conn, 10)
    assert "position 20" in refused(ledger, key, state_file, Rewritten)


@pytest.mark.tampers
def test_events_that_do_not_link_are_refused(ledger: str, key: SigningKey, state_file: Path) -> None:
    """A new event that does not follow the signed one, or the one before it, is not signed over."""
    with connect(ledger) as conn:
        fill(conn, 5)
    tamper(ledger, "UPDATE events SET prev_hash = sha256('x') WHERE position = 23")
    assert "position 23" in refused(ledger, key, state_file, Rewritten)
    tamper(ledger, "DELETE FROM events WHERE position = 22")
    refused(ledger, key, state_file, Rewritten)


@pytest.mark.tampers
def test_another_tile_is_refused(ledger: str, key: SigningKey, state_file: Path) -> None:
    """A stored tile that is not what the events make is named, and not written over."""
    tamper(ledger, "INSERT INTO tiles VALUES (0, 0, repeat('x', 8192)::bytea)")
    with connect(ledger) as conn:
        fill(conn, 300)
    assert "tile/0/000" in refused(ledger, key, state_file, TileDiffers)


def test_the_file_is_needed(ledger: str, key: SigningKey, state_file: Path) -> None:
    """Without the file, or with an older one, nothing is signed: the database alone is not believed."""
    with connect(ledger) as conn:
        fill(conn, 5)
    newest = state_file.read_bytes()
    with signing(ledger, key, state_file) as signer:
        signer.step()
    kept = state_file.read_bytes()
    state_file.unlink()
    refused(ledger, key, state_file, StateMissing)
    state_file.write_bytes(newest)
    refused(ledger, key, state_file, StateMissing)
    state_file.write_bytes(kept)
    with connect(ledger) as conn, signing(ledger, key, state_file) as signer:
        fill(conn, 1)
        assert signer.step() is not None


@given(st.data())
@settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
def test_a_damaged_file_is_refused(data: st.DataObject) -> None:
    """A changed byte, a cut or other JSON is StateDamaged or still says the same; never another exception."""
    edge = {0: b"".join(leaf_hashes([b"x" * 32]))}
    root = root_of(leaf_hashes([b"x" * 32]))
    note = sign_checkpoint(Checkpoint(ORIGIN, 1, root), KEY).encode().decode()
    raw = bytearray(Signed(1, root, b"x" * 32, note, edge).encode())
    good = Signed.decode(bytes(raw), ORIGIN, [KEY.verifier])
    at = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        raw[at] = data.draw(st.integers(0, 255))
    else:
        del raw[at:]
    with contextlib.suppress(StateDamaged):
        found = Signed.decode(bytes(raw), ORIGIN, [KEY.verifier])
        assert (found.size, found.root, found.edge) == (good.size, good.root, good.edge)


def test_another_key_is_refused(ledger: str, state_file: Path) -> None:
    """A key of another origin signs nothing here; one of the same name finds a file that it did not sign."""
    other = SigningKey.generate("somewhere.else")
    assert "somewhere.else" in refused(ledger, other, state_file.with_name("other"), OtherLedger)
    with connect(ledger) as conn:
        origin = conn.execute("SELECT origin FROM head").fetchall()[0][0]
    refused(ledger, SigningKey.generate(origin), state_file, StateDamaged)


def test_one_process_at_a_time(ledger: str, key: SigningKey, state_file: Path) -> None:
    """The file has one holder, and the database one leader; a file that changed under a holder is not written over."""
    with signing(ledger, key, state_file) as signer:
        assert signer.lead()
        with pytest.raises(StateTaken), signing(ledger, key, state_file):
            pass
        with signing(ledger, key, state_file.with_name("copy")) as second:
            assert not second.lead()
        assert signer.step() is None
        state_file.write_bytes(state_file.read_bytes() + b"\n")
        with connect(ledger) as conn:
            fill(conn, 1)
        with pytest.raises(StateTaken):
            signer.step()


@pytest.mark.tampers
def test_a_refused_checkpoint_is_not_published(ledger: str, key: SigningKey, state_file: Path) -> None:
    """A checkpoint that only the file has is published only if the database has its events, not in an older copy."""
    tamper(
        ledger,
        "DELETE FROM events WHERE position > 15",
        "UPDATE head SET position = 15, hash = (SELECT hash FROM events WHERE position = 15)",
        "DELETE FROM checkpoints",
    )
    refused(ledger, key, state_file, RolledBack)
    with connect(ledger) as conn:
        assert conn.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)

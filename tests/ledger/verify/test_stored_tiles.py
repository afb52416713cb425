"""`verify` without options compares the stored tiles of the transparency log with the events."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.verify.database import verify_chain
from ledger.verify.report import ChainReport
from ledger.verify.roots import Roots
from ledger.verify.stored_tiles import StoredTiles
from tests.api.program import cli
from tests.ledger.tlog.logs import all_tiles, fill, hashes, key_for, sign
from tests.support import connect
from tests.tampering import tamper

LENGTH = 700
WRONG: dict[str, tuple[str, int]] = {
    "a tile of level 0": ("UPDATE tiles SET hashes = repeat('x', 8192)::bytea WHERE number = 1", 257),
    "one hash of it": ("UPDATE tiles SET hashes = overlay(hashes PLACING sha256('') FROM 3201) WHERE number = 0", 101),
    "its last hash": ("UPDATE tiles SET hashes = overlay(hashes PLACING sha256('') FROM 8161) WHERE number = 1", 512),
    "two tiles exchanged": (
        "UPDATE tiles SET number = number + 10; UPDATE tiles SET number = 11 - number WHERE level = 0",
        1,
    ),
    "a tile deleted": ("DELETE FROM tiles WHERE number = 1", 257),
    "all tiles deleted": ("DELETE FROM tiles", 1),
    "a tile behind the last event": (
        "INSERT INTO tiles SELECT level, 2, hashes FROM tiles WHERE number = 1",
        LENGTH + 1,
    ),
    "a tile of a level that the tree does not have": (
        "INSERT INTO tiles SELECT 1, 0, hashes FROM tiles WHERE number = 1",
        LENGTH + 1,
    ),
    "a partial tile": ("UPDATE partial_tiles SET hashes = substring(hashes FROM 1 FOR 32) || sha256('x')", 1),
    "the partial tiles deleted": ("DELETE FROM partial_tiles", 1),
}


@pytest.fixture
def signed(database_url: str, tmp_path: Path) -> str:
    """A ledger with two full tiles, and a partial one above them, all signed."""
    fill(database_url, LENGTH)
    sign(database_url, key_for(database_url), tmp_path / "last")
    return database_url


def check(url: str) -> ChainReport:
    """Verify with the rights of the verifier's role alone."""
    with connect(url, "verifier") as conn:
        return verify_chain(conn)


@pytest.mark.tampers
@pytest.mark.parametrize(("statement", "position"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_tile_is_named_with_the_first_event_below_it(signed: str, statement: str, position: int) -> None:
    """Each way in which tiles can be wrong is one finding, and nothing else is one."""
    tamper(signed, statement)
    assert [(one.step, one.kind.value, one.position) for one in check(signed).findings] == [
        (10, "proof-mismatch", position)
    ]


@pytest.mark.tampers
def test_the_command_names_a_wrong_tile_without_options(signed: str) -> None:
    """Exit code 1 with the position; before, 0 and the number of tiles that were compared."""
    ran = cli("verify", "--database-url", signed)
    assert (ran.code, "1 checkpoint and 2 tiles of the database were compared with the events" in ran.out) == (0, True)
    tamper(signed, WRONG["one hash of it"][0])
    ran = cli("verify", "--database-url", signed)
    assert (ran.code, "proof-mismatch at position 101: tile/0/000 is not what the events make" in ran.out) == (1, True)


@pytest.mark.tampers
def test_a_rewrite_explains_its_tiles(signed: str) -> None:
    """An event that was deleted is one finding: the tiles of the true history are not a second one."""
    tamper(signed, "DELETE FROM events WHERE position = 300")
    assert {one.kind.value for one in check(signed).findings} == {"deleted"}


@pytest.mark.tampers
def test_tiles_show_what_was_cut_off_with_its_checkpoints(signed: str) -> None:
    """Nobody kept a checkpoint, and the tiles are left: they have more events than there are."""
    cut = "DELETE FROM events WHERE position > 500; DELETE FROM checkpoints"
    head = "UPDATE head SET (position, hash) = (SELECT position, hash FROM events ORDER BY position DESC LIMIT 1)"
    tamper(signed, cut, head)
    assert ("proof-mismatch", 501) in [(one.kind.value, one.position) for one in check(signed).findings]


@pytest.mark.tampers
def test_tiles_that_are_not_signed_yet_are_right_as_well(signed: str) -> None:
    """A signer that died after writing tiles left them without a checkpoint: they are compared, and none is missing."""
    fill(signed, 200)
    with connect(signed) as conn:
        content = all_tiles(hashes(conn))[0, 2]
        conn.execute("INSERT INTO tiles VALUES (0, 2, %s)", [content])
    assert check(signed).findings == ()
    tamper(signed, "UPDATE tiles SET hashes = overlay(hashes PLACING sha256('') FROM 1) WHERE number = 2")
    assert [(one.kind.value, one.position) for one in check(signed).findings] == [("proof-mismatch", 513)]


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.sets(st.integers(1, LENGTH)))
def test_the_sum_does_not_depend_on_the_batches(signed: str, at: set[int]) -> None:
    """Checkpoints of any sizes cut the events into batches of any lengths; the tiles are the same."""
    with connect(signed, "verifier") as conn, conn.transaction():
        tiles = StoredTiles(conn)
        roots = Roots(at, tiles)
        recorded = hashes(conn)
        for position, digest in enumerate(recorded, 1):
            roots.add(position, digest)
        roots.finish()
        assert tiles._sum == sum(tiles._stored_terms(conn))

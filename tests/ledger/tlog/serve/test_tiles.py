"""Tiles and proofs are those of the events, at any signed size, in one query for each proof."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.database import conninfo
from ledger.proof.tlog.merkle import check_consistency, check_inclusion, leaf_hash, leaf_hashes, root_of
from ledger.proof.tlog.tiles import EntryBundle, Tile, decode_entries
from ledger.tlog.serve import tiles as reads
from ledger.tlog.serve.tiles import needs
from ledger.tlog.sign.signed_checkpoints import SignedCheckpoints
from tests.conftest import Template, ledger_copy
from tests.ledger.tlog.logs import all_tiles, fill, hashes, key_for, sign
from tests.support import connect

T = TypeVar("T")
SIZES = [1, 255, 256, 257, 700, 1000]


@pytest.fixture(scope="module")
def signed_ledger(
    server_url: str, template_database: Template, tmp_path_factory: Any
) -> Iterator[tuple[str, list[bytes]]]:
    """A ledger that was signed at each of SIZES, with 5 events after the last; and the hashes of its events."""
    path: Path = tmp_path_factory.mktemp("log") / "last"
    with ledger_copy(server_url, template_database) as url:
        key = key_for(url)
        for before, size in zip([0, *SIZES], SIZES, strict=False):
            fill(url, size - before)
            assert sign(url, key, path) == size
        fill(url, 5)
        with connect(url) as conn:
            yield url, hashes(conn)


def asked(url: str, work: Callable[[Any], Awaitable[T]]) -> T:
    """Return what `work` reads as the role reader."""

    async def run() -> T:
        async with await psycopg.AsyncConnection.connect(conninfo(url, "reader"), autocommit=True) as conn:
            return await work(conn)

    return asyncio.run(run())


def test_every_tile_at_every_width(signed_ledger: tuple[str, list[bytes]]) -> None:
    """Each tile, as wide as the newest tree has it and at each smaller width, is what the events make."""
    url, entries = signed_ledger
    wanted = {
        Tile(level, number, width): content[: 32 * width]
        for (level, number), content in all_tiles(entries[: SIZES[-1]]).items()
        for width in range(1, len(content) // 32 + 1)
    }
    assert len(wanted) == 1000 + 3
    found = asked(url, lambda conn: reads.contents(conn, list(wanted)))
    assert found == list(wanted.values())
    assert max(map(needs, wanted)) == SIZES[-1]


@pytest.mark.parametrize(("number", "width"), [(0, 256), (0, 1), (3, 232), (3, 7)])
def test_a_bundle_has_the_hashes_at_its_positions(
    signed_ledger: tuple[str, list[bytes]], number: int, width: int
) -> None:
    """A bundle has the hashes of the events at its positions, as entries."""
    url, entries = signed_ledger
    bundle = EntryBundle(number, width)
    found = decode_entries(bundle, asked(url, lambda conn: reads.entries(conn, bundle)))
    assert found == entries[256 * number : 256 * number + width]


@settings(max_examples=60)
@given(st.data())
def test_proofs_of_any_two_sizes(signed_ledger: tuple[str, list[bytes]], data: st.DataObject) -> None:
    """Inclusion at any position in any tree up to the newest one, and consistency of any two, are shown."""
    url, entries = signed_ledger
    size = data.draw(st.integers(1, SIZES[-1]))
    position = data.draw(st.integers(1, size))
    leaves = leaf_hashes(entries)
    root, old = root_of(leaves[:size]), root_of(leaves[:position])
    proof = asked(url, lambda conn: reads.inclusion(conn, position, size))
    check_inclusion(leaf_hash(entries[position - 1]), position - 1, size, proof, root)
    check_consistency(position, size, old, root, asked(url, lambda conn: reads.consistency(conn, position, size)))


def test_one_query_for_a_proof(signed_ledger: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tiles a proof needs, they are fetched together, each once."""
    fetched: list[list[Tile]] = []
    original = reads.contents

    async def counted(conn: Any, tiles: Any) -> list[bytes]:
        fetched.append(list(tiles))
        return await original(conn, tiles)

    monkeypatch.setattr(reads, "contents", counted)
    asked(signed_ledger[0], lambda conn: reads.inclusion(conn, 300, 1000))
    assert len(fetched) == 1
    assert len(fetched[0]) == len(set(fetched[0])) > 1


def test_the_newest_checkpoint_has_its_cosignatures(signed_ledger: tuple[str, list[bytes]]) -> None:
    """The note is the last signed one, followed by the cosignatures of that size alone."""
    url, entries = signed_ledger
    with connect(url) as conn:
        [(note,)] = conn.execute("SELECT note FROM checkpoints WHERE size = 1000").fetchall()
        add = "INSERT INTO cosignatures (size, witness, line) VALUES (%s, %s, %s)"
        for size, witness in ((1000, "b"), (1000, "a"), (700, "c")):
            conn.execute(add, [size, witness, f"line of {witness}\n"])
    found = asked(url, reads.published)
    assert found == reads.PublishedCheckpoint(1000, f"{note}line of b\nline of a\n")
    assert asked(url, lambda conn: reads.published(conn, position=7)) == replace(found, event=entries[6])
    tile = all_tiles(entries)[0, 2]
    assert asked(url, lambda conn: reads.published(conn, position=7, tile=2)) == replace(
        found, event=entries[6], tile=tile
    )
    assert asked(url, lambda conn: reads.published(conn, position=2000, tile=3)) == found
    assert asked(url, lambda conn: reads.published(conn, 1000)) == found
    assert asked(url, lambda conn: reads.published(conn, 999)) is None


def test_before_the_first_checkpoint(database_url: str) -> None:
    """Nothing is covered, however many events there are."""
    fill(database_url, 3)
    assert asked(database_url, reads.published) is None
    assert asked(database_url, SignedCheckpoints(None).covered) == 0

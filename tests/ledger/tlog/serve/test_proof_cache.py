"""Proofs from kept tiles are those that the database's tiles make, whatever was kept, in as few queries as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest

from ledger.database import conninfo
from ledger.proof.tlog.merkle import check_inclusion, leaf_hash, leaf_hashes, root_of
from ledger.proof.tlog.tiles import Tile
from ledger.tlog.serve import tiles as reads
from ledger.tlog.serve.proof_cache import ProofCache
from tests.conftest import Template, ledger_copy
from tests.ledger.tlog.logs import fill, hashes, key_for, sign
from tests.support import connect

T = TypeVar("T")
SIZE = 700


@pytest.fixture(scope="module")
def signed_ledger(server_url: str, template_database: Template, tmp_path_factory: Any) -> Iterator[str]:
    """A ledger that is signed up to SIZE, with 5 events more."""
    path: Path = tmp_path_factory.mktemp("log") / "last"
    with ledger_copy(server_url, template_database) as url:
        fill(url, SIZE)
        assert sign(url, key_for(url), path) == SIZE
        fill(url, 5)
        yield url


def asked(url: str, work: Callable[[Any], Awaitable[T]]) -> T:
    """Return what `work` reads as the role reader."""

    async def run() -> T:
        async with await psycopg.AsyncConnection.connect(conninfo(url, "reader"), autocommit=True) as conn:
            return await work(conn)

    return asyncio.run(run())


def check(url: str, proofs: ProofCache, size: int, positions: Sequence[int]) -> None:
    """Each proof leads from the event that the database has to the root of its first `size` events."""

    async def run(conn: Any) -> list[tuple[reads.PublishedCheckpoint | None, list[bytes]]]:
        return [await proofs.inclusion(conn, position) for position in positions]

    found = asked(url, run)
    with connect(url) as conn:
        entries = hashes(conn)
    root = root_of(leaf_hashes(entries[:size]))
    for position, (published, proof) in zip(positions, found, strict=True):
        assert published is not None
        assert (published.size, published.event) == (size, entries[position - 1])
        check_inclusion(leaf_hash(entries[position - 1]), position - 1, size, proof, root)


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[list[Tile]]:
    """The tiles of each query for tiles alone, as they are asked for."""
    found: list[list[Tile]] = []
    original = reads.contents

    async def counted(conn: Any, tiles: Any) -> list[bytes]:
        found.append(list(tiles))
        return await original(conn, tiles)

    monkeypatch.setattr(reads, "contents", counted)
    return found


@pytest.mark.parametrize("most", [1, 512])
def test_proofs_hold_at_any_position_however_few_tiles_are_kept(signed_ledger: str, most: int) -> None:
    """An event's proof holds wherever it is, however few tiles are kept."""
    proofs = ProofCache(most)
    check(signed_ledger, proofs, SIZE, [*range(1, SIZE, 7), 255, 256, 257, 511, 512, 513, SIZE])
    assert len(proofs._kept) <= most


def test_one_query_for_most_proofs(signed_ledger: str, fetched: list[list[Tile]]) -> None:
    """Once the tiles above are known, the event's own comes with the checkpoint, and nothing else is asked for."""
    proofs = ProofCache()
    check(signed_ledger, proofs, SIZE, [1])
    assert fetched == [[Tile(1, 0, 2), Tile(0, 2, 188)]]
    check(signed_ledger, proofs, SIZE, [300, 2, 700, 512])
    assert len(fetched) == 1


def test_only_wider_tiles_of_a_growing_log_are_fetched_again(
    server_url: str, template_database: Template, tmp_path: Path, fetched: list[list[Tile]]
) -> None:
    """After a new checkpoint only what became wider is asked for again, and no proof is of an older tree.

    The wider tile takes the place of the narrower one, and proofs in older trees are made from it.
    """
    proofs = ProofCache()
    with ledger_copy(server_url, template_database) as url:
        key = key_for(url)
        before = 0
        for size in (1, 255, 256, 257, 513):
            fill(url, size - before)
            before = size
            assert sign(url, key, tmp_path / "last") == size
            fetched.clear()
            check(url, proofs, size, sorted({1, -(-size // 2), size}))
            assert Tile(0, 0) not in [tile for tiles in fetched for tile in tiles]
        assert sorted(proofs._kept) == [(0, 0), (0, 1), (0, 2), (1, 0)]
        fetched.clear()
        with connect(url) as conn:
            entries = hashes(conn)
        for size in (255, 256, 257):
            for position in (1, size):
                _, proof = asked(url, partial(proofs.inclusion, position=position, size=size))
                root = root_of(leaf_hashes(entries[:size]))
                check_inclusion(leaf_hash(entries[position - 1]), position - 1, size, proof, root)
        assert fetched == []


def test_tiles_of_another_history_make_no_proof(
    signed_ledger: str, server_url: str, template_database: Template, tmp_path: Path
) -> None:
    """Tiles kept of a history that is not there any more make no proof, also where all sizes are the same."""
    proofs = ProofCache()
    check(signed_ledger, proofs, SIZE, [1, 300, SIZE])
    with ledger_copy(server_url, template_database) as url:
        fill(url, SIZE)
        assert sign(url, key_for(url), tmp_path / "last") == SIZE
        check(url, proofs, SIZE, [1, 2, 300, SIZE])


def test_what_is_not_covered(signed_ledger: str, database_url: str) -> None:
    """There is no proof of an event beyond the checkpoint, of a missing event, or before the first checkpoint."""
    proofs = ProofCache()
    check(signed_ledger, proofs, SIZE, [SIZE])
    for position in (SIZE + 1, SIZE + 1000):
        published, proof = asked(signed_ledger, partial(proofs.inclusion, position=position))
        assert (published is not None and published.size, proof) == (SIZE, [])
    assert asked(database_url, lambda conn: ProofCache().inclusion(conn, 1)) == (None, [])

"""Kept tiles are those that were put in, within a bound of bytes, and none outlives a history that was taken back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.proof.tlog.tiles import EntryBundle, Tile
from ledger.tlog.serve.tile_cache import TileCache

BOUND = 1000
ADDRESSES = st.builds(Tile, st.integers(0, 2), st.integers(0, 5), st.integers(1, 256)) | st.builds(
    EntryBundle, st.integers(0, 5), st.integers(1, 256)
)
KEEPS = st.tuples(ADDRESSES, st.binary(max_size=BOUND + 10))


@given(st.lists(KEEPS, max_size=40))
def test_no_content_but_the_last_one_kept_and_no_more_bytes_than_the_bound(
    steps: list[tuple[Tile | EntryBundle, bytes]],
) -> None:
    """Whatever is kept: the cache has the last content of an address or none, and at most BOUND bytes in all."""
    cache, last = TileCache(BOUND), {}
    for address, content in steps:
        cache.keep(address, content)
        last[address] = content
        found = {key: cache.get(key) for key in last}
        assert all(value is None or value == last[key] for key, value in found.items())
        assert sum(len(value) for value in found.values() if value is not None) <= BOUND
        assert (found[address] is None) == (len(content) > BOUND)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_a_smaller_checkpoint_than_before_empties_the_cache(sizes: list[int]) -> None:
    """Tiles stay while published checkpoints grow or stand still, and are gone once one is smaller."""
    tile, before = Tile(0, 0, 1), 0
    for size in sizes:
        cache = TileCache(BOUND)
        cache.published(before)
        cache.keep(tile, b"x" * 32)
        cache.published(size)
        assert (cache.get(tile) is None) == (size < before)
        before = size


def test_the_tile_that_was_read_longest_ago_goes_first() -> None:
    """A tile that readers keep on asking for stays."""
    cache = TileCache(64)
    first, second, third = (Tile(0, index, 1) for index in range(3))
    cache.keep(first, bytes(32))
    cache.keep(second, bytes(32))
    assert cache.get(first) is not None
    cache.keep(third, bytes(32))
    assert [cache.get(tile) is not None for tile in (first, second, third)] == [True, False, True]

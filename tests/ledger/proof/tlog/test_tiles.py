"""ledger/proof/tlog/tiles.py: paths, which tiles there are, what they hold, and growth that leaves no hash out."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.proof.tlog.merkle import (
    MAX_SIZE,
    Node,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    root_at,
    root_of,
)
from ledger.proof.tlog.tiles import (
    WIDTH,
    EntryBundle,
    Fetch,
    Tile,
    TileError,
    TileFlaw,
    decode_entries,
    decode_tile,
    node_in_tile,
    reader,
    tile_of,
    width_at,
)
from ledger.tlog.serve.tile_path import parse_path
from ledger.tlog.tree import Growth, Row, encode_entries, encode_tile, grow, new_tiles, node_in_rows, rows_of, tiles_of
from tests.ledger.proof.tlog.merkle_twin import Store

SIZE = 70_000
ENTRIES = [b"%032d" % i for i in range(SIZE)]
LEAVES = leaf_hashes(ENTRIES)


class Tiles:
    """Full tiles and the partial edge, kept as a log would keep them."""

    def __init__(self) -> None:
        self.size = 0
        self.full: dict[Tile, bytes] = {}
        self.edge: dict[int, bytes] = {}

    def extend(self, leaves: list[bytes]) -> Growth:
        grown = grow(self.size, self.edge, leaves)
        assert [tile for tile, _ in grown.tiles] == list(new_tiles(self.size, grown.size))
        for tile, content in grown.tiles:
            assert len(content) == 32 * tile.width
            if tile.width == WIDTH:
                assert tile not in self.full, "a full tile is written once"
                self.full[tile] = content
                self.edge.pop(tile.level, None)
            else:
                self.edge[tile.level] = content
        self.size = grown.size
        return grown

    def fetch(self, tiles: list[Tile]) -> list[bytes]:
        return [self.full.get(Tile(tile.level, tile.index)) or self.edge[tile.level] for tile in tiles]

    def fetch_at(self) -> Fetch:
        """Reads tiles at the width asked for, from full ones too, and sees that none is asked for twice."""

        def fetch(tiles: object) -> list[bytes]:
            assert isinstance(tiles, list)
            assert len(set(tiles)) == len(tiles)
            return [content[: 32 * tile.width] for tile, content in zip(tiles, self.fetch(tiles), strict=True)]

        return fetch


@pytest.fixture(scope="module")
def tiles() -> Tiles:
    """A tree of SIZE leaves that grew in uneven batches."""
    tiles, at = Tiles(), 0
    for batch in (1, 254, 1, 1, 255, 1024, 3, 65_000, SIZE):
        tiles.extend(LEAVES[at : at + batch])
        at += batch
    return tiles


PATHS = [
    ("tile/0/000", Tile(0, 0)),
    ("tile/0/000.p/1", Tile(0, 0, 1)),
    ("tile/0/999.p/255", Tile(0, 999, 255)),
    ("tile/1/x001/x234/067", Tile(1, 1_234_067)),
    ("tile/3/x123/x456/078.p/2", Tile(3, 123_456_078, 2)),
    ("tile/2/x001/000", Tile(2, 1000)),
    ("tile/6/126", Tile(6, 126)),
    ("tile/6/127.p/255", Tile(6, 127, 255)),
    ("tile/7/000.p/127", Tile(7, 0, 127)),
    ("tile/entries/000", EntryBundle(0)),
    ("tile/entries/x003/x057/500.p/17", EntryBundle(3_057_500, 17)),
]


@pytest.mark.parametrize(("path", "tile"), PATHS, ids=[path for path, _ in PATHS])
def test_a_path_and_its_tile_are_the_same(path: str, tile: Tile | EntryBundle) -> None:
    """A path and its tile are one and the same thing."""
    assert tile.path == path
    assert parse_path(path) == tile


BAD_PATHS = """
/tile/0/000 tile/0/000/ tile/0/0 tile/0/00 tile/0/0000 tile/0/x000/001 tile/0/x001 tile/0/001/002 tile/0/x1/000 tile/0/
tile/00/000 tile/+1/000 tile/-1/000 tile/01/000 tile/100/000 tile/a/000 tile//000 tile/0/000.p/0 tile/0/000.p/00
tile/0/000.p/01 tile/0/000.p/256 tile/0/000.p/-1 tile/0/000.p/ tile/0/000.p tile/0/000p/1 tile/0/000.p/1/2
tile/0/X001/000 tile/8/0/000 tile/entry/000 tile/entries/x000/000 tile/data/000 tile/0/../000 tile/0/000%2ep/1
tile/0/x1_0/000 TILE/0/000 tile\\0\\000
"""
ARABIC_ZEROS = "\u0660" * 3


@pytest.mark.parametrize(
    "path",
    [*BAD_PATHS.split(), "", "tile/0/000\n", f"tile/0/{ARABIC_ZEROS}", "tile/0/" + "x000/" * 50 + "001"],
    ids=ascii,
)
def test_another_spelling_of_a_path_is_refused(path: str) -> None:
    """Any other spelling is refused as a malformed path."""
    with pytest.raises(TileError) as refusal:
        parse_path(path)
    assert refusal.value.flaw is TileFlaw.PATH


@pytest.mark.parametrize("path", ["tile/8/000", "tile/63/000", "tile/7/000", "tile/6/127", f"tile/0/{'x999/' * 6}999"])
def test_tiles_no_tree_has(path: str) -> None:
    """A well-formed path to hashes beyond 2^63 - 1 leaves is refused by that name."""
    with pytest.raises(TileError) as refusal:
        parse_path(path)
    assert refusal.value.flaw is TileFlaw.RANGE


@given(st.text("tile/enrsxp.0123456789-", max_size=40) | st.sampled_from([path for path, _ in PATHS]), st.data())
def test_any_text_is_a_path_or_refused(path: str, data: st.DataObject) -> None:
    """Any text is either a path or refused by name, and what is accepted is written back the same."""
    at = data.draw(st.integers(0, len(path)))
    mutated = path[:at] + data.draw(st.text(max_size=2)) + path[at + data.draw(st.integers(0, 2)) :]
    with suppress(TileError):
        assert parse_path(mutated).path == mutated


def test_which_tiles_a_size_needs() -> None:
    """The example of tlog-tiles: 70,000 leaves, and 256."""
    partial = [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert [tile for tile in tiles_of(70_000) if tile.width < WIDTH] == partial
    assert sum(1 for tile in tiles_of(70_000) if tile.level == 0) == 274
    assert list(tiles_of(256)) == [Tile(0, 0), Tile(1, 0, 1)]
    assert list(tiles_of(0)) == []
    assert next(tiles_of(MAX_SIZE)) == Tile(0, 0)
    assert (width_at(0, 273, 70_000), width_at(0, 274, 70_000), width_at(0, 0, 70_000)) == (112, 0, 256)


@given(st.integers(0, 200_000), st.integers(0, 70_000))
def test_new_tiles_are_what_changed(old: int, more: int) -> None:
    """The tiles to write are those of the new tree that the old one did not have at that width."""
    known = set(tiles_of(old))
    assert list(new_tiles(old, old + more)) == [tile for tile in tiles_of(old + more) if tile not in known]


def test_growth_keeps_every_hash(tiles: Tiles) -> None:
    """However the batches fell, the tiles hold exactly the nodes of levels 0, 8 and 16, and the root is the tree's."""
    store = Store()
    rows: list[Row] = store.edge.extend(LEAVES)
    assert tiles.size == SIZE
    for tile in tiles_of(SIZE):
        row = next(row for row in rows if row.level == 8 * tile.level)
        first = WIDTH * tile.index
        assert decode_tile(tile, tiles.fetch([tile])[0]) == row.hashes[first : first + tile.width]
    assert grow(SIZE, tiles.edge, []) == Growth(SIZE, store.edge.root(), [])


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, SIZE])
def test_proofs_from_tiles(tiles: Tiles, size: int) -> None:
    """Roots and proofs of any size up to the present are made from tiles, each fetched once."""
    read = reader(size, tiles.fetch_at())
    root = root_at(size, read)
    assert root == root_of(LEAVES[:size])
    for index in {0, size // 3, size // 2, size - 1}:
        check_inclusion(LEAVES[index], index, size, inclusion_proof(index, size, read), root)
    for old in {1, -(-size // 3), -(-size // 2), size}:
        check_consistency(old, size, root_of(LEAVES[:old]), root, consistency_proof(old, size, read))


def test_every_node_is_in_its_tile(tiles: Tiles) -> None:
    """Each complete node of a tree, at every level, is computed from the one tile that covers it."""
    store = Store()
    store.extend(LEAVES[:1500])
    read = reader(1500, tiles.fetch_at())
    nodes = list(store.nodes)
    assert read(nodes) == store.read(nodes)
    with pytest.raises(ValueError, match="does not have"):
        tile_of(Node(0, 1500), 1500)
    with pytest.raises(ValueError, match="is not in"):
        node_in_tile(Node(0, 256), Tile(0, 0), LEAVES[:256])


def test_every_node_is_in_the_rows_of_its_tile(tiles: Tiles) -> None:
    """All nodes of a tile computed at once give the same; a node of another tile, or an incomplete one, is refused."""
    store = Store()
    store.extend(LEAVES[:1500])
    places = {node: tile_of(node, 1500) for node in store.nodes}
    fetch = tiles.fetch_at()
    rows = {tile: rows_of(tile, fetch([tile])[0]) for tile in places.values()}
    assert [node_in_rows(node, tile, rows[tile]) for node, tile in places.items()] == store.read(list(places))
    last = Tile(0, 5, 220)
    for node in (Node(0, 1500), Node(2, 375), Node(0, 1279), Node(7, 11), Node(8, 5), Node(0, 5)):
        with pytest.raises(ValueError, match="is not in"):
            node_in_rows(node, last, rows[last])


def test_a_tile_of_another_length_is_refused() -> None:
    """A tile of any other length than its width says is refused by name, also where it is read or grown from."""
    tile = Tile(0, 0, 3)
    assert decode_tile(tile, encode_tile(LEAVES[:3])) == LEAVES[:3]
    for content in (b"", b"\0" * 95, b"\0" * 97, b"\0" * 128):
        for attempt in (
            lambda content=content: decode_tile(tile, content),
            lambda content=content: rows_of(tile, content),
            lambda content=content: root_at(3, reader(3, lambda _: [content])),
            lambda content=content: grow(3, {0: content}, LEAVES[:1]),
        ):
            with pytest.raises(TileError) as refusal:
                attempt()
            assert refusal.value.flaw is TileFlaw.CONTENT
    with pytest.raises(TileError):
        grow(3, {}, LEAVES[:1])
    for bad in ([], [b"short"], LEAVES[:257]):
        with pytest.raises(ValueError, match="a tile is made of"):
            encode_tile(bad)


def test_entries_hash_to_the_tile_of_level_0(tiles: Tiles) -> None:
    """Entries of a bundle hash to the level 0 tile; ours take 34 bytes each, the length first."""
    bundle = EntryBundle(273, 112)
    content = encode_entries(ENTRIES[273 * WIDTH :])
    assert len(content) == 112 * 34
    assert content[:2] == b"\x00\x20"
    entries = decode_entries(bundle, content)
    assert encode_tile([leaf_hash(entry) for entry in entries]) == tiles.edge[0]
    for bad in ([], [b""] * 257, [b"\0" * 65_536]):
        with pytest.raises(ValueError, match="a bundle is made of"):
            encode_entries(bad)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.data())
def test_a_changed_entry_bundle_is_refused(entries: list[bytes], data: st.DataObject) -> None:
    """A bundle decodes to what was encoded; cut, lengthened or misread as another width it is refused by name."""
    content, bundle = encode_entries(entries), EntryBundle(0, len(entries))
    assert decode_entries(bundle, content) == entries
    cut = data.draw(st.integers(0, len(content) - 1))
    for bad, width in ((content[:cut], bundle.width), (content + b"\0", bundle.width), (content, bundle.width + 1)):
        with pytest.raises(TileError) as refusal:
            decode_entries(EntryBundle(0, width), bad)
        assert refusal.value.flaw is TileFlaw.BUNDLE


@given(st.binary(max_size=200), st.integers(1, 6))
def test_any_bytes_are_a_bundle_or_refused_by_name(content: bytes, width: int) -> None:
    """Any bytes are a bundle, and then the encoding of its entries, or are refused by name."""
    with suppress(TileError):
        assert encode_entries(decode_entries(EntryBundle(0, width), content)) == content

"""The tree of stream heads is the one that the format defines, and its paths prove what they say and no more."""

from __future__ import annotations

import hmac
import tracemalloc
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from ledger.proof.bundle.heads import BITS, client_key, leaf, root_over, stream_key
from ledger.tlog.heads.tree import Entry, build

BLINDING = bytes(range(32))
KEYS = st.binary(min_size=32, max_size=32) | st.sampled_from(
    # Keys that part late.
    [bytes(31) + bytes([last]) for last in range(8)] + [b"\xff" * 31 + bytes([last]) for last in (0, 1, 128, 255)]
)
ENTRIES = st.dictionaries(KEYS, st.binary(max_size=5), min_size=1, max_size=40).map(lambda made: sorted(made.items()))


def bit(key: bytes, depth: int) -> int:
    """A bit of a key, counted from the first one."""
    return key[depth // 8] >> (7 - depth % 8) & 1


def naive(entries: list[Entry], prefix: str = "") -> bytes:
    """The definition: docs/formats/bundle.md, section 11, with plain hashing."""
    if not entries:
        place = len(prefix).to_bytes(2, "big") + int(prefix.ljust(256, "0"), 2).to_bytes(32, "big")
        return hmac.new(BLINDING, b"empty" + place, "sha256").digest()
    if len(entries) == 1:
        key, value = entries[0]
        return sha256(b"\0" + key + hmac.new(BLINDING, b"salt" + key, "sha256").digest() + value).digest()
    halves = [[one for one in entries if bit(one[0], len(prefix)) == side] for side in (0, 1)]
    left, right = (naive(half, prefix + str(side)) for side, half in enumerate(halves))
    return sha256(b"\1" + left + right).digest()


@given(ENTRIES)
def test_it_is_the_tree_of_the_definition(entries: list[Entry]) -> None:
    """Built in one pass, with one path in memory, it has the root of the recursive definition."""
    assert build(entries, BLINDING).root == naive(entries)


@given(ENTRIES, st.data())
def test_each_leaf_is_proven_and_no_other(entries: list[Entry], data: st.DataObject) -> None:
    """The path of each leaf leads to the root; with another value, key, salt, sibling or length it does not."""
    key, value = data.draw(st.sampled_from(entries))
    tree = build(entries, BLINDING, key)
    assert tree.value == value
    assert root_over(key, leaf(key, tree.salt, value), tree.path) == tree.root
    at = data.draw(st.integers(0, BITS - 1))
    other = (int.from_bytes(key, "big") ^ 1 << at).to_bytes(32, "big")
    wrong = [
        (key, leaf(key, tree.salt, value + b"x"), tree.path),
        (key, leaf(other, tree.salt, value), tree.path),
        (other, leaf(other, tree.salt, value), tree.path),
        (key, leaf(key, bytes(32), value), tree.path),
    ]
    if len(tree.path) < BITS:
        wrong.append((key, leaf(key, tree.salt, value), [*tree.path, bytes(32)]))
    if tree.path:
        nth = data.draw(st.integers(0, len(tree.path) - 1))
        wrong += [
            (key, leaf(key, tree.salt, value), [*tree.path[:nth], bytes(32), *tree.path[nth + 1 :]]),
            (key, leaf(key, tree.salt, value), tree.path[1:]),
        ]
    for forged in wrong:
        assert root_over(*forged) != tree.root


@given(ENTRIES, KEYS)
def test_a_key_that_is_not_there_has_no_path(entries: list[Entry], key: bytes) -> None:
    """It has no value, whatever path leads to its place."""
    tree = build(entries, BLINDING, key)
    assert (tree.value is None) == (key not in dict(entries))


def test_neighbours_look_like_noise() -> None:
    """With another blinding each hash of a path is another one: it can be compared with no guess of a neighbour."""
    entries = sorted((client_key(f"client-{number}"), b"[]") for number in range(300))
    one, other = (build(entries, blinding, entries[7][0]).path for blinding in (BLINDING, bytes(32)))
    assert len(one) == len(other) > 4
    assert set(one).isdisjoint(other)


def test_a_client_and_a_stream_of_one_name_have_two_places() -> None:
    """The keys name the kind."""
    assert stream_key("request-1") != client_key("request-1")


def test_memory_does_not_grow() -> None:
    """Ten times the leaves take no more memory."""

    def peak(count: int) -> int:
        entries = (((number << 240).to_bytes(32, "big"), b"x") for number in range(count))
        tracemalloc.start()
        build(entries, BLINDING, (5 << 240).to_bytes(32, "big"))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(10)
    assert peak(20_000) < peak(2_000) + 20_000

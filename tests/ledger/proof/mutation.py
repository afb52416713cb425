"""Hostile input for the parsers of texts: a corpus of mutations of a good one, and random ones for hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import ParamSpec

from hypothesis import strategies as st

from ledger.proof.errors import EvidenceError

P = ParamSpec("P")

PIECES = (b"\n", b"\n\n", b" ", b"+", b"=", b"0", b"-1", b"\x00", b"\xff", b"\xc2\xa0", b"\xe2\x80\x94 ", b"A" * 50)


def flaw_of(attempt: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> StrEnum | None:
    """The name under which a call is refused, None if it is not. Any other exception is a failure."""
    try:
        attempt(*args, **kwargs)
    except EvidenceError as error:
        return error.flaw
    return None


def corpus(good: bytes) -> Iterator[bytes]:
    """Each byte changed, dropped or doubled, pieces put in everywhere, each prefix, lines dropped, doubled, swapped."""
    return (bad for bad in _all_mutations(good) if bad != good)


def _all_mutations(good: bytes) -> Iterator[bytes]:
    for at in range(len(good)):
        head, tail = good[:at], good[at + 1 :]
        yield head
        yield head + tail
        yield head + good[at : at + 1] * 2 + tail
        for byte in (good[at] ^ 1, good[at] ^ 0x20, good[at] ^ 0x80, 0, 10):
            yield head + bytes([byte]) + tail
        for piece in PIECES:
            yield head + piece + good[at:]
    yield from _line_corpus(good.split(b"\n"))
    yield good + good
    yield good.replace(b"\n", b"\r\n")


def _line_corpus(lines: list[bytes]) -> Iterator[bytes]:
    for at in range(len(lines)):
        yield b"\n".join(lines[:at] + lines[at + 1 :])
        yield b"\n".join([*lines[: at + 1], *lines[at:]])
        for other in range(at):
            swapped = lines.copy()
            swapped[at], swapped[other] = swapped[other], swapped[at]
            yield b"\n".join(swapped)


def mutated(good: bytes) -> st.SearchStrategy[bytes]:
    """The good input with a few stretches replaced by random or telling bytes."""
    piece = st.sampled_from(PIECES) | st.binary(max_size=8)
    edit = st.tuples(st.integers(0, len(good)), st.integers(0, 20), piece)
    return st.lists(edit, min_size=1, max_size=4).map(lambda edits: _edited(good, edits))


def _edited(good: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for at, length, piece in edits:
        good = good[:at] + piece + good[at + length :]
    return good

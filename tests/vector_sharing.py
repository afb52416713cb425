"""Write a bundle of docs/vectors as parts of another one: most differ in a few bytes (docs/vectors/README.md)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.vector_parts import Vector

# Stretches shorter than this are written out.
WINDOW = 24
# One byte this often is written as the byte and a count.
RUN = re.compile(rb"(.)\1{4095,}", re.DOTALL)
# A bundle that shares less with each of the others is written whole.
MOST_OF_WHOLE = 0.45

Part = list[int] | list[Any] | str


def share(vectors: Iterable[Vector]) -> Iterator[Vector]:
    """Yield the vectors, each `bundle` (bytes) in base64, or as `parts` of an earlier one that is named by `of`."""
    bases: dict[str, tuple[bytes, dict[bytes, int]]] = {}
    for one in vectors:
        data = one.pop("bundle")
        whole = base64.b64encode(data).decode()
        near = max(bases, key=lambda name: _shared(bases[name][1], data), default=None)
        parts = None if near is None else list(_parts(*bases[near], data))
        if parts is None or len(str(parts)) > MOST_OF_WHOLE * len(whole):
            windows = {data[at : at + WINDOW]: at for at in range(len(data) - WINDOW, -1, -1)}
            bases[one["name"]] = data, windows
            yield one | {"bundle": whole}
        else:
            yield one | {"of": near, "parts": parts}


def bundle_of(one: Vector, vectors: Mapping[str, Vector]) -> bytes:
    """Return the bundle of a vector; `vectors` are all by name."""
    if "bundle" in one:
        return base64.b64decode(one["bundle"])
    base = base64.b64decode(vectors[one["of"]]["bundle"])
    return b"".join(_bytes(part, base) for part in one["parts"])


def _bytes(part: Part, base: bytes) -> bytes:
    if isinstance(part, str):
        return base64.b64decode(part)
    first, count = part
    return base64.b64decode(first) * count if isinstance(first, str) else base[first : first + count]


def _shared(windows: Mapping[bytes, int], data: bytes) -> int:
    """Count stretches of the data that are in a base, of the first 256 KiB."""
    return sum(data[at : at + WINDOW] in windows for at in range(0, min(len(data), 1 << 18), WINDOW))


def _parts(base: bytes, windows: Mapping[bytes, int], data: bytes) -> Iterator[Part]:
    at = 0
    for run in RUN.finditer(data):
        yield from _stretches(base, windows, data[at : run.start()])
        yield [base64.b64encode(run[1]).decode(), run.end() - run.start()]
        at = run.end()
    yield from _stretches(base, windows, data[at:])


def _stretches(base: bytes, windows: Mapping[bytes, int], data: bytes) -> Iterator[Part]:
    at = literal = 0
    while at < len(data):
        start = windows.get(data[at : at + WINDOW])
        if start is None:
            at += 1
            continue
        if literal < at:
            yield base64.b64encode(data[literal:at]).decode()
        length = WINDOW
        while data[at + length : at + length + 1] == base[start + length : start + length + 1] != b"":
            length += 1
        yield [start, length]
        at = literal = at + length
    if literal < len(data):
        yield base64.b64encode(data[literal:]).decode()

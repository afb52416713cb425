"""Compare a text that was made again with the given one, piece by piece."""

from __future__ import annotations

from collections.abc import Iterable


def first_difference(made: Iterable[bytes], found: Iterable[bytes]) -> int | None:
    """Return where two texts differ, from 0, or None. One that ends early differs where it ends."""
    at, left, right, others = 0, b"", b"", iter(found)
    for piece in made:
        left += piece
        while len(right) < len(left) and (chunk := next(others, None)) is not None:
            right += chunk
        common = min(len(left), len(right))
        if left[:common] != right[:common]:
            return at + next(index for index in range(common) if left[index] != right[index])
        at, left, right = at + common, left[common:], right[common:]
        if left:
            return at
    return at if right or any(others) else None

"""Process many items: those with one key in order, those with different keys at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def grouped(
    items: Sequence[T], key: Callable[[T], Hashable], work: Callable[[list[T]], Awaitable[Sequence[R]]]
) -> list[R]:
    """Call `work` once for the items of each key, and return the results of the items in the order of `items`."""
    numbers: dict[Hashable, list[int]] = {}
    for number, item in enumerate(items):
        numbers.setdefault(key(item), []).append(number)
    results: dict[int, R] = {}

    async def one(of_key: list[int]) -> None:
        results.update(zip(of_key, await work([items[number] for number in of_key]), strict=True))

    await asyncio.gather(*map(one, numbers.values()))
    return [results[number] for number in range(len(items))]

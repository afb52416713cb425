"""Turns in the event loop: work is unchanged by being measured, and takes its share of the time at most."""

from __future__ import annotations

import asyncio

import pytest

from api import pace
from api.pace import UNTIL_REST_S, Pace


class Clocks:
    """A clock that sleeps move on, and the processor time of a thread that work moves on; both in seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = self.used_s = 0.0
        monkeypatch.setattr(pace, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(pace, "thread_time", lambda: self.used_s)
        real = asyncio.sleep

        async def sleep(seconds: float) -> None:
            self.now_s += seconds
            await real(0)

        monkeypatch.setattr(asyncio, "sleep", sleep)

    def work(self, seconds: float) -> None:
        """Use the processor."""
        self.now_s += seconds
        self.used_s += seconds


@pytest.mark.parametrize("piece_s", [0.0001, 0.001, 0.05])
def test_pieces_of_any_size_take_their_share_of_the_time(monkeypatch: pytest.MonkeyPatch, piece_s: float) -> None:
    """A tenth, and what may be used before the first rest and in the last piece; all get their turn, in order."""
    clocks = Clocks(monkeypatch)
    done: list[int] = []

    async def caller(turns: Pace, number: int) -> None:
        await turns.turn()
        clocks.work(piece_s)
        done.append(number)

    async def main() -> float:
        turns = Pace(0.1)
        await asyncio.gather(*(turns.measured(caller(turns, number)) for number in range(300)))
        await turns.close()
        return turns.used_s

    used_s = asyncio.run(main())
    assert done == list(range(300))
    assert used_s == pytest.approx(300 * piece_s)
    assert used_s <= clocks.now_s * 0.1 + UNTIL_REST_S + 2 * piece_s


def test_measured_work_ends_as_it_would_without() -> None:
    """With its result, its error, or a cancellation, which it may handle."""

    async def result() -> str:
        await asyncio.sleep(0)
        return "result"

    async def error() -> None:
        await asyncio.sleep(0)
        raise KeyError("error")

    async def handles() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "cancelled"
        raise AssertionError("it waits for ever")

    async def main() -> None:
        turns = Pace()
        assert await turns.measured(result()) == "result"
        with pytest.raises(KeyError):
            await turns.measured(error())
        task = asyncio.create_task(turns.measured(handles()))
        await asyncio.sleep(0)
        task.cancel()
        assert await task == "cancelled"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await turns.measured(asyncio.Event().wait())

    asyncio.run(main())

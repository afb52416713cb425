"""Tails: followers that read on together hear of each event, whoever leaves, and leave nothing behind."""

from __future__ import annotations

import asyncio
from typing import cast

from api.event_feed import EventFeed, Follower
from ledger.store.readers import Readers


async def _finds_all(_after: int, upto: int) -> tuple[bool, int]:
    return True, upto


def test_a_follower_that_comes_when_the_last_one_leaves_hears_of_the_next_event() -> None:
    """The read of those who left is cancelled then, but has not ended yet."""

    async def main() -> None:
        feed = EventFeed(cast(Readers, None))
        leaves, stays = Follower(), Follower()
        with feed.tail("filters", 0, leaves, _finds_all):
            await asyncio.sleep(0)
        with feed.tail("filters", 0, stays, _finds_all) as tail:
            await asyncio.sleep(0)
            feed._moved(1)
            async with asyncio.timeout(5):
                await stays.wait(tail)
            assert tail.has_news
        assert feed.tails == 0
        await feed.pace.close()

    asyncio.run(main())


def test_followers_that_come_and_go_while_nothing_happens_leave_nothing_behind() -> None:
    """A quiet ledger keeps no list of those who waited."""

    async def main() -> None:
        feed = EventFeed(cast(Readers, None))
        for number in range(10):
            with feed.tail("filters", 0, Follower(), _finds_all) as tail:
                if number:  # the first one leaves before its read has begun
                    await asyncio.sleep(0)
            assert tail.task is not None
            await asyncio.wait({tail.task})
        assert (feed.tails, len(feed._waiting)) == (0, 0)

    asyncio.run(main())

"""Read consistently on a standby: wait until it has replayed everything that it had received when the read began.

With a synchronous standby, that is everything that was acknowledged before (docs/operate/standbys.md).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from ledger.database import AsyncConnection
from ledger.errors import Unavailable

STANDBY = (Path(__file__).parent / "sql/standby.sql").read_bytes()
POLL_S = 0.005


class Standby(NamedTuple):
    """The replication state of a standby: whether it is receiving, and the bytes of write-ahead log received and
    replayed."""

    receives: bool
    received: int
    replayed: int

    @property
    def behind_bytes(self) -> int:
        """Return the number of bytes received and not replayed."""
        return max(0, self.received - self.replayed)


async def read_standby(conn: AsyncConnection) -> Standby | None:
    """Return the state of a standby; None on a primary."""
    row = await (await conn.execute(STANDBY, prepare=True)).fetchone()
    return None if row is None else Standby(*row)


async def wait_for_replay(conn: AsyncConnection, *, patience_s: float) -> None:
    """Wait until a standby has replayed everything that it had received at the time of the call. Return at once on a
    primary.

    Raises Unavailable if it does not within `patience_s`, or receives nothing: then it cannot know what it lacks.
    """
    standby = await read_standby(conn)
    target = 0 if standby is None else standby.received
    deadline = monotonic() + patience_s
    while standby is not None and (standby.replayed < target or not standby.receives):
        if not standby.receives:
            raise Unavailable(
                "the database is a standby that receives nothing from its primary, so it may lack events; ask with "
                "consistency=eventual"
            )
        if monotonic() > deadline:
            raise Unavailable(
                f"the database is a standby, and has {standby.behind_bytes} bytes to replay; try again, or ask with "
                "consistency=eventual"
            )
        await asyncio.sleep(POLL_S)
        standby = await read_standby(conn)

"""Which checkpoint readers are shown where witnesses are asked: the newest that has its quorum, if not long ago.

The newest of all is a moment ahead of any cosignature: who relies on witnesses would never see one that has them while
events come. Where a newer one has waited for its quorum for MOST_BEHIND_S, a witness is down, and the newest is shown.
Never one that is smaller than what was shown before: a reader would take that for a log that was rolled back.
"""

from __future__ import annotations

from ledger.database import AsyncConnection
from ledger.tlog.quorum import QUORUM_STATE, WitnessPolicy

MOST_BEHIND_S = 60.0

WAITING = """
    SELECT extract(epoch FROM clock_timestamp() - created_at)::float8
    FROM checkpoints WHERE size > %s ORDER BY size LIMIT 1
"""


class CheckpointSelector:
    """Of one ledger, for one event loop."""

    def __init__(self, policy: WitnessPolicy) -> None:
        self._policy = policy
        self._last = 0

    async def size(self, conn: AsyncConnection) -> int | None:
        """Of the checkpoint to show; None for the newest."""
        if not self._policy.quorum:
            return None
        row = await (await conn.execute(QUORUM_STATE, self._policy.parameters, prepare=True)).fetchone()
        if row is None:
            return None
        newest, witnessed = int(row[0]), int(row[1] or 0)
        if witnessed < newest:
            waiting = await (await conn.execute(WAITING, [witnessed], prepare=True)).fetchone()
            if not witnessed or (waiting is not None and waiting[0] > MOST_BEHIND_S):
                witnessed = newest
        # Beyond the newest after a restored database alone; then there is nothing to keep to.
        self._last = witnessed if self._last > newest else max(self._last, witnessed)
        return self._last

"""Choose the checkpoint to publish: the newest with a quorum, or the newest of all if witnesses are down.

The newest checkpoint of all is always a moment ahead of its cosignatures. A reader who relies on witnesses would
therefore never see a cosigned checkpoint while events come. If a newer checkpoint has waited for its quorum for
MAX_BEHIND_S, a witness is down, and the newest of all is published. The published size never falls: a reader would
conclude that the log was rolled back.
"""

from __future__ import annotations

from pathlib import Path

from ledger.database import AsyncConnection
from ledger.tlog.quorum import QUORUM_STATE, WitnessPolicy

MAX_BEHIND_S = 60.0

WAITING = Path(__file__).with_name("waiting.sql").read_text("utf-8")


class CheckpointSelector:
    """Choose the checkpoint of one ledger. For one event loop."""

    def __init__(self, policy: WitnessPolicy) -> None:
        self._policy = policy
        self._last = 0

    async def size(self, conn: AsyncConnection) -> int | None:
        """Return the size of the checkpoint to publish; None for the newest."""
        if not self._policy.quorum:
            return None
        row = await (await conn.execute(QUORUM_STATE, self._policy.parameters, prepare=True)).fetchone()
        if row is None:
            return None
        newest, witnessed = int(row[0]), int(row[1] or 0)
        if witnessed < newest:
            waiting = await (await conn.execute(WAITING, [witnessed], prepare=True)).fetchone()
            if not witnessed or (waiting is not None and waiting[0] > MAX_BEHIND_S):
                witnessed = newest
        # The newest checkpoint is below the last one only if the database was restored. Then the size may fall.
        self._last = witnessed if self._last > newest else max(self._last, witnessed)
        return self._last

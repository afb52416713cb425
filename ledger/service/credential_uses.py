"""Note when credentials were last used: in memory, and once a minute in the table `credential_uses`.

These times are not part of the chain, cost a request nothing, and give no right. A crash loses at most a minute of
them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic

from ledger.errors import LedgerError
from ledger.store.readers import Readers

NOTE = "SELECT note_uses(%s, %s, %s)"
# The seconds between two writes.
NOTE_S = 60.0
MOST_KEPT = 10_000

Key = tuple[str, int]


@dataclass
class CredentialUses:
    """Keep the uses of credentials by this process.

    `noting` connects in the role writer; None in a process that only reads.
    """

    noting: Readers | None
    _last: dict[Key, datetime] = field(default_factory=dict)
    _next_s: float = field(default_factory=lambda: monotonic() + NOTE_S)

    def note(self, subject: str, credential: int, at: datetime) -> None:
        """Note that a credential is used now."""
        if len(self._last) < MOST_KEPT or (subject, credential) in self._last:
            self._last[subject, credential] = at

    def last(self, subject: str, credential: int) -> datetime | None:
        """Return the last use that is not written yet, or None."""
        return self._last.get((subject, credential))

    async def store_due(self) -> None:
        """Write the uses to the table if a minute is over."""
        if monotonic() >= self._next_s:
            self._next_s = monotonic() + NOTE_S
            await self.store()

    async def store(self) -> None:
        """Write the uses to the table. If the database does not answer, keep them for the next time."""
        uses, self._last = self._last, {}
        if self.noting is None or not uses:
            return
        names, numbers = [name for name, _ in uses], [number for _, number in uses]
        try:
            await self.noting.fetch_one(NOTE, [names, numbers, list(uses.values())])
        except LedgerError:
            self._last = {**uses, **self._last}

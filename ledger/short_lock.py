"""Take a lock that readers queue behind: for milliseconds, and again and again until it is free.

Who comes later queues behind the request for such a lock, also where the lock itself is short. So each try gives up
soon, and after a pause there is another one.
"""

from __future__ import annotations

from collections.abc import Callable
from time import sleep

import psycopg

# The lock timeout starts with one millisecond and doubles up to this. With the pauses, all tries take ten minutes.
MOST_PATIENCE_MS = 50
PAUSE_S = 0.02
MOST_PAUSE_S = 1.0
TRIES = 600


class TableBusy(Exception):
    """Others held the table through all tries."""


def until_free(attempt: Callable[[int], None]) -> None:
    """Call `attempt(patience_ms)` until no lock times out in it. It sets that lock timeout itself. Raises TableBusy."""
    for number in range(TRIES):
        try:
            attempt(min(2**number, MOST_PATIENCE_MS))
        except psycopg.errors.LockNotAvailable:
            sleep(min(PAUSE_S * (number + 1), MOST_PAUSE_S))
        else:
            return
    raise TableBusy

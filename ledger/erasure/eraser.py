"""Delete the sealed values of one client, record it, and fold the read models again: one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
from psycopg.types.numeric import Int8

from ledger.database import Connection, connect, replicated
from ledger.errors import from_database
from ledger.store.envelope import Line
from ledger.store.events import Receipt, StoreFailed, parameters, receipts
from ledger.store.recorder import Recorder

ERASE = Path(__file__).with_name("erase.sql").read_bytes()
# A context manager. It waits for the read models and locks them. At the end of the block it folds these streams again,
# in the same transaction.
FoldAgain = Callable[[Connection, Sequence[str]], AbstractContextManager[None]]


class Eraser:
    """Erase clients through connections of the role eraser. `fold_again` keeps the read models up to date."""

    def __init__(self, conninfo: str, fold_again: FoldAgain, recorder: Recorder | None = None) -> None:
        self._conninfo = conninfo
        self._fold_again = fold_again
        self._recorder = recorder
        # The serials of the recorder must rise in the order of transactions.
        self._one = asyncio.Lock()

    async def erase(self, lines: Sequence[Line], seen: int) -> list[Receipt]:
        """Record these events and delete the values in their streams; return a receipt for each event.

        `seen` is the position as of which the client's streams and identifiers were known. A crash at any moment leaves
        all of it done, or nothing. Raises the errors of ledger.errors; after Unavailable the outcome is not known: send
        the same lines again. VersionConflict: look again.
        """
        async with self._one:
            return await asyncio.to_thread(self._erase, lines, seen)

    def _erase(self, lines: Sequence[Line], seen: int) -> list[Receipt]:
        try:
            with connect(self._conninfo) as conn, replicated(conn):
                return self._in_transaction(conn, lines, seen)
        except psycopg.Error as error:
            known = from_database(error)
            raise known or StoreFailed(f"the database refused the erasure (SQLSTATE {error.sqlstate})") from error

    def _in_transaction(self, conn: Connection, lines: Sequence[Line], seen: int) -> list[Receipt]:
        given = {**parameters(lines, recorder=self._recorder), "seen": Int8(seen)}
        streams = [line.stream for line in lines]
        with conn.transaction(), self._fold_again(conn, streams):
            row = conn.cursor(binary=True).execute(ERASE, given).fetchone()
        return receipts(lines, row)

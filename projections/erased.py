"""Provide the functions of the read models that an erasure needs: all identifiers of a client, and its rows folded
again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ledger.database import AsyncConnection, Connection
from ledger.errors import Unavailable
from projections.client_names import names_of_number
from projections.clients.model import CLIENTS
from projections.engine import STEP_AFTER_STEP, fold_again, report
from projections.reads import wait_until_caught_up
from projections.registry import all_models

# In the order of names, so that two erasures never wait for each other. A running step of the projector is waited for.
LOCK = "SELECT name, position, digest FROM projections ORDER BY name FOR UPDATE"


@contextmanager
def read_models_folded_again(conn: Connection, streams: Sequence[str]) -> Iterator[None]:
    """Lock the read models; fold these streams again when the block ends, up to where each read model stands.

    Runs in the caller's transaction: after it, no row is left that was made of what the block deleted. Raises
    Unavailable, and the caller has to roll back, if a read model was made by another version of the program.
    """
    positions = {name: (int(position), digest) for name, position, digest in conn.execute(LOCK)}
    yield
    conn.execute(STEP_AFTER_STEP, prepare=False)
    for read_model in all_models():
        position, digest = positions.get(read_model.name, (0, None))
        if digest != read_model.digest:
            raise Unavailable(
                f"the read model {read_model.name} is not that of this version: run advice-ledger migrate; try again"
            )
        report(fold_again(conn, read_model, streams, position))


async def family(conn: AsyncConnection, number: int, patience_s: float) -> tuple[int, list[int]]:
    """Return the numbers of all identifiers that share a client with this one, after the position as of which they are
    known.

    Raises Unavailable if the read model of clients does not catch up in time.
    """
    seen = await wait_until_caught_up(conn, CLIENTS, patience_s=patience_s)
    return seen, [name.client for name in await names_of_number(conn, number)]

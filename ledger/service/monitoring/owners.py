"""The clients of portfolios that inputs are recorded for in bulk: in the scope of the actor, and not erased."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ledger.domain.client import Client, stream_of
from ledger.domain.monitoring.portfolio import Definition, Portfolio
from ledger.errors import NotFound
from ledger.service.execute import Executor, unknown
from ledger.service.monitoring.streams import read_states
from ledger.store.envelope import Actor
from ledger.store.readers import Readers


async def clients_of(readers: Readers, names: Sequence[str]) -> list[int]:
    """Return the numbers of the clients that these portfolios belong to."""
    states = await readers.run(lambda conn: read_states(conn, names))
    return sorted({one.definition.client for one in states.values() if one.definition is not None})


async def lineages_of(executor: Executor, actor: Actor, portfolios: Iterable[Portfolio]) -> dict[int, list[Client]]:
    """Return what the actor's scope is asked with, by the number of the client; nothing without a scope."""
    clients = {one.definition.client for one in portfolios if one.definition is not None}
    return {number: await executor.lineage(number) for number in (clients if actor.scope is not None else ())}


def owner_of(
    actor: Actor, definition: Definition, lineages: Mapping[int, Sequence[Client]]
) -> tuple[str, dict[str, int]]:
    """Return the identifier of the client, and the preconditions that keep it in the actor's scope.

    Raises NotFound `portfolio-unknown` out of scope, and `client-unknown` after an erasure.
    """
    limits: dict[str, int] = {}
    if actor.scope is not None:
        lineage = lineages[definition.client]
        if not actor.scope.includes(lineage):
            raise unknown("portfolio-unknown")
        limits = {stream_of(one.number): one.version for one in lineage}
    if definition.client_id is None:
        raise NotFound("client-unknown", "the identifier of the portfolio's client was erased")
    return definition.client_id, limits

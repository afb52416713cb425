"""Repeat erasures that a restore from an older backup undid: docs/use/erasure.md.

The list has the erasures that two subjects made, with their certificates. A client is known by its number and by the
hash of the first event in the stream of that number. Holds and retention are judged again: if either refuses, the
refusal is not recorded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from ledger.domain import erasure
from ledger.domain.client import number_of, stream_of
from ledger.erasure.kept import KeptErasure
from ledger.errors import NotFound, Refused
from ledger.service.erasures import ErasureCommands, Found
from ledger.store.envelope import Actor
from schema.events import Reapplied, RequestErasure
from schema.states import ErasureState

FIRST = "SELECT hash FROM events WHERE stream = %s AND version = 1"
# The outcomes for one number of an erased client in this ledger.
Outcome = Literal["erased already", "not here", "erased again", "refused"]


@dataclass(frozen=True)
class Reapplication:
    """The outcome for one number of a client.

    `why`: the reason of a refusal; `event`: the `client.erased` that repeats the erasure.
    """

    client: int
    outcome: Outcome
    event: int | None = None
    why: str | None = None


@dataclass(frozen=True)
class Reapplier:
    """Repeat erasures as one actor. It may be killed, and run again.

    `catch_up` brings the read model of clients up to the head, because after a restore perhaps no server runs to do
    it.
    """

    erasures: ErasureCommands
    actor: Actor
    catch_up: Callable[[], Awaitable[None]]

    async def reapply(self, kept: KeptErasure) -> list[Reapplication]:
        """Repeat an erasure, for the numbers of its client that came back. Raises Unavailable."""
        return [await self._of_number(kept, number) for number in _number_order(kept)]

    async def _of_number(self, kept: KeptErasure, number: int) -> Reapplication:
        row = await self.erasures.executor.readers.fetch_one(FIRST, [stream_of(number)])
        if row is None or row[0] != kept.clients[number]:
            return Reapplication(number, "not here")
        try:
            return Reapplication(number, "erased again", await self._erase(kept, number))
        except NotFound:
            return Reapplication(number, "not here")
        except Refused as error:
            if error.code == "client-erased":
                return Reapplication(number, "erased already")
            return Reapplication(number, "refused", why=str(error))

    async def _erase(self, kept: KeptErasure, number: int) -> int:
        """Return the position of `client.erased`. Raises Refused, NotFound or Unavailable."""
        lost, data = _lost(kept), kept.certified.erased.body["data"]
        await self.catch_up()
        found = await self.erasures.look(self.actor, number)
        _check(found, kept.clients)
        waiting = _waiting(found)
        if waiting is None:
            body = RequestErasure(reason=data["reason"], reference=data.get("reference"))
            waiting = (await self.erasures.request(self.actor, number, body, reapplies=lost)).position
            await self.catch_up()
        return (await self.erasures.confirm(self.actor, waiting, reapplies=lost)).position


def _number_order(kept: KeptErasure) -> list[int]:
    """Return the numbers with the client's own number first: others were merged into it, and are erased with it."""
    own = number_of(kept.certified.stream)
    return sorted(kept.clients, key=lambda number: (number != own, number))


def _check(found: Found, clients: Mapping[int, bytes]) -> None:
    """Raise Refused if the client may not be erased now, or if more would be erased than was erased."""
    if others := sorted(set(found.numbers) - set(clients)):
        raise Refused(
            "other-identifiers",
            f"it is one client with {', '.join(map(str, others))} now, which was not erased: request that erasure anew",
        )
    if found.forbidden is not None:
        raise Refused("erasure-forbidden", erasure.reasons(found.forbidden))


def _waiting(found: Found) -> int | None:
    """Return the waiting erasure of this client: of an earlier run that was killed, or from before the backup."""
    waiting = (one.id for one in found.erasures.values() if one.state(found.contents.now) is ErasureState.WAITING)
    return next(waiting, None)


def _lost(kept: KeptErasure) -> Reapplied:
    done = kept.certified
    data = done.erased.body["data"]
    first = data.get("reapplies") or {"requested_by": done.requested.by, "erased_by": done.erased.by}
    return Reapplied(
        event=done.erased.position, hash=kept.hash, requested_by=first["requested_by"], erased_by=first["erased_by"]
    )

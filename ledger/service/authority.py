"""Judge from the chain who may act: at the start of a command, and again if its subject has changed since."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ledger.domain import agent as agents
from ledger.domain import subject
from ledger.domain.subject import SubjectState
from ledger.errors import Refused
from ledger.store.envelope import Actor, NewEvent
from ledger.store.readers import Readers


def utc_now() -> datetime:
    """Return the time by the clock of this program."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Authority:
    """Judge subjects by their streams, and expiry by `clock`, when a command arrives and when it is judged again."""

    readers: Readers
    clock: Callable[[], datetime] = utc_now

    async def state(self, name: str) -> SubjectState:
        """Return the state of a subject, read after this call began. Raises Unavailable or StreamUnreadable."""
        history, former = await self.readers.streams(subject.stream_of(name), agents.stream_of(name))
        return subject.fold(history, former)

    async def judge(self, actor: Actor) -> Actor:
        """Return the actor as judged now, if it may still act in its role with its credential.

        Actors without a credential are not judged. Raises Refused as `subject.check` does, and `busy` if the subject
        may now act on other clients.
        """
        if actor.judged is None:
            return actor
        state = await self.state(actor.id)
        now = self.clock()
        subject.check(state, actor.role, actor.credential, now)
        assigned = actor.scope is not None and actor.scope.assigned
        scope = subject.scope_of(state, actor.id, actor.role, assigned, now if actor.scope is None else actor.scope.at)
        if scope != actor.scope:
            raise Refused("busy", "the clients of this subject have just changed; try again")
        return replace(actor, judged=state.version)


def judged_as(actor: Actor, events: Sequence[NewEvent]) -> list[NewEvent]:
    """Return the events of a batch with the actor as judged, for those that belong to the actor.

    A batch may have events in the subject's own stream. Those before an event count for its precondition.
    """
    if actor.judged is None:
        return list(events)
    own, ahead, stamped = subject.stream_of(actor.id), 0, []
    for new in events:
        known = new.actor.id == actor.id and new.actor.judged is not None
        stamped.append(replace(new, actor=replace(actor, judged=actor.judged + ahead)) if known else new)
        ahead += new.stream == own
    return stamped

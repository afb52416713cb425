"""Represent a command with its idempotency key, so that a retry is recognised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.domain.history import RecordedEvent
from ledger.proof.format.canonical import NotCanonical, canonical
from ledger.store.envelope import Actor, NewEvent
from schema.events import Event, ModelCallContentRecorded
from schema.signing_keys import ActSignature


@dataclass(frozen=True)
class Command:
    """A command: its sender, its stream, and the members that it sets in the event.

    A `stream` that ends in "-" is a new stream of that category.

    `event_id` follows from the idempotency key. If the caller sent no key, it is None, and each attempt is a new
    command. `derived` names members of the event that the ledger adds from the state. `causation` is the event that
    the command is about, if no member says so. `signature` is that of the caller over the event.
    """

    actor: Actor
    stream: str
    kind: type[Event]
    members: dict[str, Any]
    event_id: UUID | None = None
    derived: frozenset[str] = frozenset()
    causation: UUID | None = None
    signature: ActSignature | None = None
    # The refusal if the client is not in the actor's scope: the same as for an unknown client.
    unknown: str = "client-unknown"

    @classmethod
    def of_event(cls, actor: Actor, stream: str, event: Event, event_id: UUID | None, *derived: str) -> Command:
        """Make the command whose members are those of `event`."""
        return cls(actor, stream, type(event), event.model_dump(exclude_none=True), event_id, frozenset(derived))

    def is_repeated_by(self, event: RecordedEvent) -> bool:
        """Return True if this command recorded `event`. Erased values are not compared.

        A signature may be another one over the same: what counts is that a command that was signed is on record so.
        """
        stream = event.stream.rstrip("0123456789") if self.stream.endswith("-") else event.stream
        if (stream, event.type) != (self.stream, self.kind.type):
            return False
        if self.causation is not None and event.causation != str(self.causation):
            return False
        if self.signature is not None and "signature" not in event.content:
            return False
        ignored = (self.derived - self.members.keys()) | event.erased
        recorded = {name: value for name, value in event.members.items() if name not in ignored}
        members = {name: value for name, value in self.members.items() if name not in event.erased}
        try:
            return canonical(members) == canonical(recorded)
        except NotCanonical:  # such members are never recorded
            return False


@dataclass(frozen=True)
class CallEvents:
    """A model call that has ended: its start and its end, in the stream of a request or of a trace."""

    stream: str
    started: NewEvent
    ended: NewEvent


@dataclass(frozen=True)
class CallContent:
    """Content of a model call that arrived separately. `started_id` is the id of the call's start, recorded or not."""

    actor: Actor
    started_id: UUID
    event_id: UUID
    event: ModelCallContentRecorded

"""Commands as they were said, so that one that is sent again is known again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.proof.format.canonical import NotCanonical, canonical
from ledger.store.envelope import Actor, NewEvent
from ledger.store.events import Found
from schema.events import Event


@dataclass(frozen=True)
class Said:
    """A command as it was said: by whom, for which stream, and its members, to know it again should it be repeated.

    `event_id` is None where it cannot be repeated. `derived` are members of the event that the state adds; `causation`
    is the event that the command is about, where no member says so.
    """

    actor: Actor
    stream: str
    kind: type[Event]
    members: dict[str, Any]
    event_id: UUID | None = None
    derived: frozenset[str] = frozenset()
    causation: UUID | None = None

    @classmethod
    def event(cls, actor: Actor, stream: str, event: Event, event_id: UUID | None, *derived: str) -> Said:
        """Where what was said is the event itself."""
        return cls(actor, stream, type(event), event.model_dump(exclude_none=True), event_id, frozenset(derived))

    def is_repeated_by(self, found: Found) -> bool:
        """Whether the recorded event is what this command recorded. Erased values are not compared."""
        if (found.at.stream, found.type) != (self.stream, self.kind.type):
            return False
        if self.causation is not None and found.body.get("causation") != str(self.causation):
            return False
        recorded = {**found.body["data"], **found.fields}
        erased = found.body.get("sealed", {}).keys() - found.fields.keys()
        ignored = (self.derived - self.members.keys()) | erased
        said = {name: value for name, value in self.members.items() if name not in erased}
        try:
            return canonical(said) == canonical({name: recorded[name] for name in recorded.keys() - ignored})
        except NotCanonical:  # then it was never recorded
            return False


@dataclass(frozen=True)
class CallEvents:
    """A model call that is over, to be recorded whole: start and end, in the stream of a request or of a trace."""

    stream: str
    started: NewEvent
    ended: NewEvent

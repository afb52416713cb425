"""The policies that this server decides under: the four-eyes policy and the list of reason codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ledger.domain.four_eyes import FourEyes
from ledger.domain.history import RecordedEvent
from ledger.domain.policy import Policy
from ledger.domain.reasons import ReasonCodes
from ledger.store.envelope import Actor, NewEvent, uuid7


@dataclass(frozen=True)
class Policies:
    """Both policies, read and checked."""

    four_eyes: FourEyes
    reasons: ReasonCodes

    @classmethod
    def packaged(cls) -> Policies:
        """Load the policies that come with the program."""
        return cls.of()

    @classmethod
    def of(cls, four_eyes: Path | None = None, reason_codes: Path | None = None) -> Policies:
        """Load the policies from these files, or the packaged ones. Raises BadPolicy."""
        return cls(FourEyes.load(four_eyes), ReasonCodes.load(reason_codes))

    @property
    def all(self) -> tuple[Policy, ...]:
        """The policies in the order that `in_force` expects."""
        return (self.four_eyes.policy, self.reasons.policy)

    def in_force(self, histories: Sequence[Sequence[RecordedEvent]], actor: Actor) -> InForce:
        """Return what must be recorded with a decision. `histories` are the events of the policies' streams."""
        adoptions: list[NewEvent] = []
        preconditions: dict[str, int] = {}
        for policy, history in zip(self.all, histories, strict=True):
            event = policy.adoption(history)
            if event is not None:
                adoptions.append(NewEvent(uuid7(), policy.stream, event, actor, len(history)))
            preconditions[policy.stream] = len(history) + (event is not None)
        return InForce(adoptions, preconditions)


@dataclass(frozen=True)
class InForce:
    """The policy texts to record before a decision, if they are not on record, and the versions to expect then.

    The preconditions keep a server with another policy from adopting its own in between.
    """

    adoptions: list[NewEvent]
    preconditions: dict[str, int]

    def before(self, decision: NewEvent) -> list[NewEvent]:
        """Return the batch: the adoptions, and the decision under these policies."""
        return [*self.adoptions, replace(decision, preconditions=self.preconditions)]

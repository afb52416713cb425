"""The policies that this server decides under: four eyes, and the list of reason codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.domain.four_eyes import FourEyes
from ledger.domain.history import Past
from ledger.domain.policy import Policy
from ledger.domain.reasons import ReasonCodes
from ledger.store.envelope import Actor, NewEvent, uuid7


@dataclass(frozen=True)
class Policies:
    """Both, read and checked."""

    four_eyes: FourEyes
    reasons: ReasonCodes

    @classmethod
    def packaged(cls) -> Policies:
        """Those that come with the program."""
        return cls.of()

    @classmethod
    def of(cls, four_eyes: Path | None = None, reason_codes: Path | None = None) -> Policies:
        """From these files, or the packaged ones. Raises BadPolicy."""
        return cls(FourEyes.load(four_eyes), ReasonCodes.load(reason_codes))

    @property
    def all(self) -> tuple[Policy, ...]:
        """In the order of in_force()."""
        return (self.four_eyes.policy, self.reasons.policy)

    def in_force(self, histories: Sequence[Sequence[Past]], actor: Actor) -> InForce:
        """What a decision under these policies needs, given the histories of their streams."""
        adoptions: list[NewEvent] = []
        preconditions: dict[str, int] = {}
        for one, history in zip(self.all, histories, strict=True):
            event = one.adoption(history)
            if event is not None:
                adoptions.append(NewEvent(uuid7(), one.stream, event, actor, len(history)))
            preconditions[one.stream] = len(history) + (event is not None)
        return InForce(adoptions, preconditions)


@dataclass(frozen=True)
class InForce:
    """The texts to record before a decision, where they are not on record yet, and the versions to find after that.

    The preconditions keep a server with another policy from getting its own in between.
    """

    adoptions: list[NewEvent]
    preconditions: dict[str, int]

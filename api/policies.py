"""The policies that this server decides under: four eyes, and the list of reason codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.commands.four_eyes import FourEyes
from ledger.commands.past import Past
from ledger.commands.policy import Policy
from ledger.commands.reasons import ReasonCodes
from ledger.envelope import Actor, NewEvent, uuid7


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
        """In the order of adoptions()."""
        return (self.four_eyes.policy, self.reasons.policy)

    def adoptions(self, histories: Sequence[Sequence[Past]], actor: Actor) -> list[NewEvent]:
        """Their texts, to be recorded before a decision, given the histories of their streams."""
        found = zip(self.all, histories, strict=True)
        return [
            NewEvent(uuid7(), one.stream, event, actor, len(history))
            for one, history in found
            if (event := one.adoption(history)) is not None
        ]

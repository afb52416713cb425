"""Load the policies that this server decides under: four eyes, reason codes, signed acts, access, and retention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ledger.domain.access_policy import AccessPolicy
from ledger.domain.four_eyes import FourEyes
from ledger.domain.history import RecordedEvent
from ledger.domain.policy import Policy
from ledger.domain.reasons import ReasonCodes
from ledger.domain.retention import Retention
from ledger.domain.signed_acts import SignedActs
from ledger.store.envelope import Actor, NewEvent, uuid7


@dataclass(frozen=True)
class Policies:
    """The policies, after they were read and checked."""

    four_eyes: FourEyes
    reasons: ReasonCodes
    signed_acts: SignedActs
    access: AccessPolicy
    retention: Retention

    @classmethod
    def packaged(cls) -> Policies:
        """Load the policies that come with the program."""
        return cls.of()

    @classmethod
    def of(
        cls,
        four_eyes: Path | None = None,
        reason_codes: Path | None = None,
        signed_acts: Path | None = None,
        access: Path | None = None,
        retention: Path | None = None,
    ) -> Policies:
        """Load the policies from these files, or the packaged ones. Raises BadPolicy."""
        return cls(
            FourEyes.load(four_eyes),
            ReasonCodes.load(reason_codes),
            SignedActs.load(signed_acts),
            AccessPolicy.load(access),
            Retention.load(retention),
        )

    @property
    def all(self) -> tuple[Policy, ...]:
        """Return the policies that decisions are made under, in the order that `in_force` expects."""
        return (self.four_eyes.policy, self.reasons.policy, self.signed_acts.policy, self.access.policy)

    def in_force(self, histories: Sequence[Sequence[RecordedEvent]], actor: Actor) -> InForce:
        """Return the adoptions to record with a decision. `histories` are the events of the policies' streams."""
        return self._in_force(self.all, histories, actor)

    def signed_acts_in_force(self, history: Sequence[RecordedEvent], actor: Actor) -> InForce:
        """Return the adoptions to record with another act, given the events of the stream of the policy signed-acts."""
        return self._in_force((self.signed_acts.policy,), (history,), actor)

    def access_in_force(self, history: Sequence[RecordedEvent], actor: Actor) -> InForce:
        """Return the adoptions to record with a change by two administrators, given the stream of the policy access."""
        return self._in_force((self.access.policy,), (history,), actor)

    def retention_in_force(self, history: Sequence[RecordedEvent], actor: Actor) -> InForce:
        """Return the adoptions to record with an erasure or its refusal, given the stream of the policy retention."""
        return self._in_force((self.retention.policy,), (history,), actor)

    def _in_force(
        self, policies: Sequence[Policy], histories: Sequence[Sequence[RecordedEvent]], actor: Actor
    ) -> InForce:
        adoptions: list[NewEvent] = []
        preconditions: dict[str, int] = {}
        for policy, history in zip(policies, histories, strict=True):
            # A ledger without a policy of signed acts has no rules, like the packaged policy. The packaged one is
            # recorded only when it ends another one.
            plain = policy is self.signed_acts.policy and not self.signed_acts.rules and not history
            event = None if plain else policy.adoption(history)
            if event is not None:
                adoptions.append(NewEvent(uuid7(), policy.stream, event, actor, len(history)))
            preconditions[policy.stream] = len(history) + (event is not None)
        return InForce(adoptions, preconditions)


@dataclass(frozen=True)
class InForce:
    """The policy texts to record before a decision, if they are not yet on record, and the versions to expect.

    The preconditions keep a server with another policy from adopting its own in between.
    """

    adoptions: list[NewEvent]
    preconditions: dict[str, int]

    def before(self, decision: NewEvent) -> list[NewEvent]:
        """Return the batch: the adoptions, and the decision under these policies."""
        return [*self.adoptions, replace(decision, preconditions={**decision.preconditions, **self.preconditions})]

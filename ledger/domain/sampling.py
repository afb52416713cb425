"""Draw a sample of decisions that anybody can draw again. Pure. docs/formats/samples.md is the specification.

Each decision has as many tickets as its weight. A ticket is a SHA-256 over the seed, the position of the decision and
the ticket's number; the lowest ticket of a decision is its rank, and the decisions with the lowest ranks are chosen. So
the choice depends on the seed and on the weights, and neither on the order of the decisions nor on the time.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import sha256

from ledger.errors import Refused
from schema.samples import Weight

CATEGORY = "sample-"
METHOD = "lowest-tickets/v1"
POPULATION_PREFIX = b"advice-ledger/sample-population/v1\n"
TICKET_PREFIX = b"advice-ledger/sample-ticket/v1\n"
MOST_DECISIONS = 100_000
OVERRIDES = frozenset({"edit", "reject"})


@dataclass(frozen=True)
class Facts:
    """The facts that determine the weight of a decision; `position` is the decision's id."""

    position: int
    outcome: str
    decided_at: datetime
    amount_usd: Decimal | None = None
    risk_profile: str | None = None


@dataclass(frozen=True)
class Member:
    """A decision of the population, with its weight."""

    position: int
    weight: int = 1


@dataclass(frozen=True)
class Population:
    """All decisions that can be chosen, in the order of positions, as of the position `upto`."""

    upto: int
    members: tuple[Member, ...]

    @property
    def digest(self) -> str:
        """The SHA-256 over all positions and weights, in hex."""
        hashed = sha256(POPULATION_PREFIX)
        for member in self.members:
            hashed.update(member.position.to_bytes(8) + member.weight.to_bytes(8))
        return hashed.hexdigest()


def stream_of(number: int) -> str:
    """Return the name of a sample's stream."""
    return f"{CATEGORY}{number}"


def new_seed() -> str:
    """Return a seed that nobody could predict, in hex."""
    return secrets.token_hex(32)


def population(upto: int, decisions: Iterable[Facts], weights: Sequence[Weight]) -> Population:
    """Return the population of these decisions. Raises Refused `population-empty`, `population-too-large`."""
    members = sorted((Member(one.position, weight_of(one, weights)) for one in decisions), key=lambda one: one.position)
    if not members:
        raise Refused("population-empty", "no decision matches: choose another period or other filters")
    if len(members) > MOST_DECISIONS:
        raise Refused(
            "population-too-large", f"more than {MOST_DECISIONS} decisions match: choose a shorter period or filters"
        )
    return Population(upto, tuple(members))


def weight_of(decision: Facts, weights: Sequence[Weight]) -> int:
    """Return the weight of a decision: 1, and the points of each condition that it meets."""
    return 1 + sum(each.points for each in weights if _meets(decision, each))


def _meets(decision: Facts, weight: Weight) -> bool:
    if weight.amount_usd_at_least is not None:
        return decision.amount_usd is not None and decision.amount_usd >= weight.amount_usd_at_least
    if weight.risk_profile is not None:
        return decision.risk_profile == weight.risk_profile
    if weight.decided_before is not None:
        return decision.decided_at < datetime.fromisoformat(weight.decided_before)
    return decision.outcome in OVERRIDES


def draw(members: Iterable[Member], seed: str, size: int) -> list[int]:
    """Return the positions of the chosen decisions, the lowest rank first: `size` of them, or all."""
    key = TICKET_PREFIX + bytes.fromhex(seed)
    ranked = sorted((_rank(key, member), member.position) for member in members)
    return [position for _, position in ranked[:size]]


def _rank(key: bytes, member: Member) -> bytes:
    mine = key + member.position.to_bytes(8)
    return min(sha256(mine + ticket.to_bytes(8)).digest() for ticket in range(member.weight))


def assign(chosen: Sequence[int], reviewers: Sequence[str], acted: Mapping[int, frozenset[str]]) -> list[str]:
    """Return the reviewer of each chosen decision: the reviewers in turn, but nobody for a case in which they acted.

    A reviewer who was skipped is next for the following decision. `acted` has the actors, by decision. Raises Refused
    `no-reviewer`.
    """
    turn, assigned = list(reviewers), []
    for position in chosen:
        assignee = next((name for name in turn if name not in acted.get(position, ())), None)
        if assignee is None:
            raise Refused(
                "no-reviewer",
                f"all reviewers have acted in the case of the decision {position}: name another reviewer",
                decision_id=position,
            )
        turn.remove(assignee)
        turn.append(assignee)
        assigned.append(assignee)
    return assigned

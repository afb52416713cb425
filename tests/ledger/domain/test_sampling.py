"""Drawing samples: the same again, whatever the order; each decision as likely as its weight says; who reviews what."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.sampling import Facts, Member, Population, assign, draw, new_seed, population, weight_of
from ledger.errors import Refused
from schema.samples import Weight

MEMBERS = st.lists(
    st.builds(Member, st.integers(1, 2**53 - 1), st.integers(1, 20)),
    min_size=1,
    max_size=20,
    unique_by=lambda one: one.position,
)
SEEDS = st.binary(min_size=32, max_size=32).map(bytes.hex)
AT = datetime(2026, 3, 1, tzinfo=UTC)


@given(MEMBERS, SEEDS, st.integers(1, 30), st.randoms())
def test_a_draw_depends_on_seed_and_weights_alone(members: list[Member], seed: str, size: int, random: Random) -> None:
    """Any order gives the same; a larger sample begins with the smaller one; each decision is chosen once at most."""
    chosen = draw(members, seed, size)
    shuffled = list(members)
    random.shuffle(shuffled)
    assert draw(shuffled, seed, size) == chosen
    assert draw(members, seed, size + 1)[:size] == chosen
    assert len(set(chosen)) == len(chosen) == min(size, len(members))


@given(MEMBERS, SEEDS)
def test_a_decision_that_is_not_chosen_changes_nothing(members: list[Member], seed: str) -> None:
    """Without it the same others are chosen; so nobody gains by what is not in the sample."""
    chosen = draw(members, seed, 3)
    left = [member for member in members if member.position not in chosen[2:]]
    assert draw(left, seed, 3)[:2] == chosen[:2]


def test_each_decision_is_as_likely_as_its_weight() -> None:
    """Over 3,000 fixed seeds, the share of the first draws is that of the weight, within 5 standard deviations."""
    members = [Member(position, weight) for position, weight in ((3, 1), (4, 1), (9, 2), (10, 4))]
    seeds = [f"{number:064x}" for number in range(3000)]
    first = Counter(draw(members, seed, 1)[0] for seed in seeds)
    for member in members:
        share = member.weight / 8
        deviation = (3000 * share * (1 - share)) ** 0.5
        assert abs(first[member.position] - 3000 * share) < 5 * deviation
    both = Counter(position for seed in seeds for position in draw([Member(3), Member(4), Member(9)], seed, 2))
    assert all(abs(count - 2000) < 5 * (3000 * 2 / 9) ** 0.5 for count in both.values())


def test_weights_are_the_points_of_all_conditions_that_hold() -> None:
    """Amounts count from the limit on; ages before the time; a decision without an amount meets no limit."""
    weights = [
        Weight(points=3, overridden=True),
        Weight(points=5, amount_usd_at_least=Decimal("1000.00")),
        Weight(points=2, risk_profile="aggressive"),
        Weight(points=4, decided_before="2026-03-01T00:00:00Z"),
    ]
    assert weight_of(Facts(1, "approve", AT), weights) == 1
    assert weight_of(Facts(1, "reject", AT, Decimal("999.99"), "balanced"), weights) == 4
    assert weight_of(Facts(1, "edit", AT, Decimal("1000.00"), "aggressive"), weights) == 11
    assert weight_of(Facts(1, "approve", AT.replace(month=2), None, None), weights) == 5


def test_a_population_is_in_order_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is refused, and too many are; the digest changes with each position and weight."""
    facts = [Facts(position, "approve", AT) for position in (9, 3, 5)]
    found = population(12, facts, [])
    assert [member.position for member in found.members] == [3, 5, 9]
    others = (Member(3), Member(5), Member(10)), (Member(3), Member(5, 2), Member(9))
    assert len({found.digest, *(Population(12, other).digest for other in others)}) == 3
    with pytest.raises(Refused, match="no decision matches"):
        population(12, [], [])
    monkeypatch.setattr("ledger.domain.sampling.MOST_DECISIONS", 2)
    with pytest.raises(Refused, match="more than 2"):
        population(12, facts, [])


def test_seeds_are_not_drawn_twice() -> None:
    """Two seeds of the server differ, and each has 32 bytes."""
    one, other = new_seed(), new_seed()
    assert one != other
    assert len(bytes.fromhex(one)) == 32


@given(
    st.lists(st.integers(1, 99), unique=True, max_size=12),
    st.dictionaries(st.integers(1, 99), st.frozensets(st.sampled_from(["ann", "bob", "cyd"]))),
)
def test_reviewers_take_turns_and_get_no_case_of_their_own(chosen: list[int], acted: dict[int, frozenset[str]]) -> None:
    """Nobody gets a case in which they acted; without such cases, no reviewer has two items more than another."""
    reviewers = ["ann", "bob", "cyd"]
    if any(acted.get(position, frozenset()) >= set(reviewers) for position in chosen):
        with pytest.raises(Refused, match="name another reviewer"):
            assign(chosen, reviewers, acted)
        return
    found = assign(chosen, reviewers, acted)
    assert all(name not in acted.get(position, ()) for position, name in zip(chosen, found, strict=True))
    counts = [found.count(name) for name in reviewers]
    if not any(acted.get(position) for position in chosen):
        assert max(counts) - min(counts) <= 1

"""Answers under each schema; sums are exact for all numbers."""

from __future__ import annotations

import itertools
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain import answer_schemas
from ledger.errors import Refused

LARGEST = "999999999999999.999999999999"

plain = st.from_regex(r"\A-?[0-9]{1,15}(\.[0-9]{1,12})?\Z").filter(str.isascii)


def refusal(answer: dict[str, Any], amount: str = "100.00") -> str | None:
    """The field of the refusal under allocations/v1; None where it is taken."""
    try:
        answer_schemas.check(answer_schemas.ALLOCATIONS, answer, Decimal(amount))
    except Refused as error:
        refused = error
    else:
        return None
    assert refused.code == "answer-off-schema"
    assert str(refused.facts["field"]).startswith("recommendation.")
    return str(refused.facts["field"]).removeprefix("recommendation.")


def portfolio(weights: list[str], amounts: list[str] | None = None) -> dict[str, Any]:
    """An answer with these weights, and these amounts (all of 100.00 in the first, where none are given)."""
    sums = amounts or ["100.00", *["0"] * (len(weights) - 1)]
    return {"allocations": [{"weight": w, "amount_usd": a} for w, a in zip(weights, sums, strict=True)]}


@pytest.mark.parametrize(
    "answer", [{}, {"allocations": None}, {"weights": {"cash": "0.3"}}, {"x": [1, 2.5, {"y": "z"}]}]
)
def test_the_schema_any_takes_every_object(answer: dict[str, Any]) -> None:
    """any/v1 takes every object; each of these is refused by allocations/v1."""
    answer_schemas.check(answer_schemas.ANY, answer, Decimal(1))
    assert refusal(answer) == "allocations"


@pytest.mark.parametrize("found", [None, {}, [], "x", 1, [None], ["x"], [[]], [{}]])
def test_allocations_are_a_list_of_objects(found: Any) -> None:
    """Other things, none and too many are refused by name."""
    expected = "allocations[0].weight" if isinstance(found, list) and found else "allocations"
    assert refusal({"allocations": found}) == expected
    many = portfolio(["1", *["0"] * answer_schemas.MAX_ALLOCATIONS])
    assert refusal(many) == "allocations"
    assert refusal({"allocations": many["allocations"][:-1]}) is None


OTHER_KINDS: list[Any] = [1, 1.0, True, None, [], {}]
OTHER_TEXTS = ["", " 1", "1 ", "+1", "1e0", "1.", ".5", "1_0", "NaN", "Infinity", "-", "--1", "1,0", "٣", "1\n"]
TOO_LONG = ["1" * 16, "0." + "0" * 13]
MINUS_ZERO = ["-0", "-0.00"]


@pytest.mark.parametrize("weight", [*OTHER_KINDS, *OTHER_TEXTS, *TOO_LONG, *MINUS_ZERO])
@pytest.mark.parametrize("member", ["weight", "amount_usd"])
def test_numbers_are_plain_decimal_strings(member: str, weight: Any) -> None:
    """A JSON number, or another way to write one, is refused with the place where it stands."""
    answer = portfolio(["0.5", "0.5"])
    answer["allocations"][1][member] = weight
    assert refusal(answer) == f"allocations[1].{member}"
    del answer["allocations"][1][member]
    assert refusal(answer) == f"allocations[1].{member}"


shares = st.lists(st.integers(0, 10**12), min_size=1, max_size=20).filter(any)


def weighed(parts: list[int]) -> list[str]:
    """Weights of twelve decimals in proportion to these, which sum to exactly 1."""
    cuts = [10**12 * sum(parts[:at]) // sum(parts) for at in range(len(parts) + 1)]
    return [written(Fraction(high - low, 10**12)) for low, high in itertools.pairwise(cuts)]


@given(shares)
def test_weights_sum_to_exactly_one(parts: list[int]) -> None:
    """Taken when they sum to 1, and refused when the last of twelve decimals is off."""
    weights = weighed(parts)
    amounts = [written(Fraction(weight) * 100) for weight in weights]
    assert refusal(portfolio(weights, amounts)) is None
    assert refusal(portfolio([*weights, "0.000000000001"], [*amounts, "0"])) == "allocations"


@pytest.mark.parametrize("off", ["0", "0.000000000001"])
def test_sums_are_exact_beyond_28_digits(off: str) -> None:
    """However large the numbers: what cancels out to 1 is 1, and is refused for another reason than its sum."""
    weights = [LARGEST] * 11 + [f"-{LARGEST}"] * 11 + ["1", off]
    assert refusal(portfolio(weights)) == ("allocations[0].amount_usd" if off == "0" else "allocations")


@given(shares, st.integers(1, 10**14))
def test_amounts_sum_to_what_was_asked_about(parts: list[int], cents: int) -> None:
    """To the cent, in any number of parts, each its weight's share rounded down, and the rest in the first."""
    weights, total = weighed(parts), Decimal(cents) / 100
    down = [int(Fraction(weight) * cents) for weight in weights]
    down[0] += cents - sum(down)
    amounts = [f"{Decimal(cent) / 100:.2f}" for cent in down]
    assert refusal(portfolio(weights, amounts), str(total)) is None
    assert refusal(portfolio(weights, amounts), str(total + Decimal("0.01"))) == "allocations"


@given(shares.filter(lambda parts: len(parts) > 1), st.data())
def test_amounts_follow_the_weights(parts: list[int], data: st.DataObject) -> None:
    """Money that sits elsewhere than its weight says is refused, though the sums are right; so is a negative weight."""
    weights = weighed(parts)
    amounts = [Fraction(weight) * 100 for weight in weights]
    there, elsewhere = data.draw(st.permutations(range(len(parts))))[:2]
    moved = Fraction(data.draw(st.integers(100, 10_000)), 100)
    amounts[there] += moved
    amounts[elsewhere] -= moved
    found = refusal(portfolio(weights, [written(amount) for amount in amounts]))
    assert found is not None
    assert found.endswith("].amount_usd")
    assert refusal(portfolio(["1.5", "-0.5"], ["150", "-50"])) == "allocations[1].weight"


def written(value: Fraction) -> str:
    """Write the number as a plain decimal string with twelve decimals."""
    scaled = value * 10**12
    assert scaled.denominator == 1
    sign, digits = "-" if scaled < 0 else "", str(abs(scaled.numerator)).rjust(13, "0")
    return f"{sign}{digits[:-12]}.{digits[-12:]}"


@pytest.mark.parametrize("names", [{"asset_class": "cash"}, {"asset": "x"}, {"asset_class": "cash", "asset": "x"}])
def test_a_class_or_asset_is_in_the_list_once(names: dict[str, str]) -> None:
    """Twice the same is refused with its place; another class, or the same asset in another class, is not the same."""
    answer = portfolio(["0.5", "0.5"], ["50.00", "50.00"])
    for item in answer["allocations"]:
        item.update(names)
    assert refusal(answer) == "allocations[1]"
    answer["allocations"][1]["asset_class"] = "bonds"
    assert refusal(answer) is None

"""What answers have to look like under each schema; sums are exact, whatever the numbers."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.commands import answers
from ledger.errors import Refused

LARGEST = "999999999999999.999999999999"

plain = st.from_regex(r"\A-?[0-9]{1,15}(\.[0-9]{1,12})?\Z").filter(str.isascii)


def refusal(answer: dict[str, Any], amount: str = "100.00") -> str | None:
    """The field of the refusal under allocations/v1; None where it is taken."""
    try:
        answers.check(answers.ALLOCATIONS, answer, Decimal(amount))
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
def test_anything_is_any(answer: dict[str, Any]) -> None:
    """any/v1 takes every object; each of these is refused by allocations/v1."""
    answers.check(answers.ANY, answer, Decimal(1))
    assert refusal(answer) == "allocations"


@pytest.mark.parametrize("found", [None, {}, [], "x", 1, [None], ["x"], [[]], [{}]])
def test_allocations_are_a_list_of_objects(found: Any) -> None:
    """Other things, none and too many are refused by name."""
    expected = "allocations[0].weight" if isinstance(found, list) and found else "allocations"
    assert refusal({"allocations": found}) == expected
    many = portfolio(["1", *["0"] * answers.MAX_ALLOCATIONS])
    assert refusal(many) == "allocations"
    assert refusal({"allocations": many["allocations"][:-1]}) is None


OTHER_KINDS: list[Any] = [1, 1.0, True, None, [], {}]
OTHER_TEXTS = ["", " 1", "1 ", "+1", "1e0", "1.", ".5", "1_0", "NaN", "Infinity", "-", "--1", "1,0", "٣", "1\n"]
TOO_LONG = ["1" * 16, "0." + "0" * 13]


@pytest.mark.parametrize("weight", [*OTHER_KINDS, *OTHER_TEXTS, *TOO_LONG])
@pytest.mark.parametrize("member", ["weight", "amount_usd"])
def test_numbers_are_plain_decimal_strings(member: str, weight: Any) -> None:
    """A JSON number, or another way to write one, is refused with the place where it stands."""
    answer = portfolio(["0.5", "0.5"])
    answer["allocations"][1][member] = weight
    assert refusal(answer) == f"allocations[1].{member}"
    del answer["allocations"][1][member]
    assert refusal(answer) == f"allocations[1].{member}"


@given(st.lists(plain, min_size=1, max_size=8))
@example([LARGEST] * 11 + [f"-{LARGEST}"] * 11)
@example([LARGEST] * 200)
def test_weights_sum_to_exactly_one(others: list[str]) -> None:
    """Whatever the weights: taken when they sum to 1, and refused when the last of twelve decimals is off."""
    missing = 1 - sum((Fraction(text) for text in others), Fraction(0))
    # In as many weights as it takes to write it.
    rest: list[str] = []
    while missing:
        part = max(-Fraction(LARGEST), min(Fraction(LARGEST), missing))
        rest.append(written(part))
        missing -= part
    weights = [*others, *rest]
    assert refusal(portfolio(weights)) is None
    for off in ("0.000000000001", "-0.000000000001"):
        assert refusal(portfolio([*weights, off])) == "allocations"
        assert refusal(portfolio([off, *weights])) == "allocations"


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=20))
def test_amounts_sum_to_what_was_asked_about(cents: list[int]) -> None:
    """To the cent, in any number of parts."""
    amounts = [f"{Decimal(cent) / 100:.2f}" for cent in cents]
    weights = ["1", *["0"] * (len(amounts) - 1)]
    total = Decimal(sum(cents)) / 100
    assert refusal(portfolio(weights, amounts), str(total)) is None
    assert refusal(portfolio(weights, amounts), str(total + Decimal("0.01"))) == "allocations"


def written(value: Fraction) -> str:
    """As a plain decimal string with twelve decimals."""
    scaled = value * 10**12
    assert scaled.denominator == 1
    sign, digits = "-" if scaled < 0 else "", str(abs(scaled.numerator)).rjust(13, "0")
    return f"{sign}{digits[:-12]}.{digits[-12:]}"

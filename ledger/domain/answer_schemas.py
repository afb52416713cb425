"""Schemas for the answers of agents, by name and version. Weights and amounts are decimal strings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, localcontext
from typing import Any

from ledger.errors import Refused

ANY = "any/v1"
ALLOCATIONS = "allocations/v1"
PLAIN_DECIMAL = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,12})?", re.ASCII)
MAX_ALLOCATIONS = 10_000
WEIGHT_UNIT, CENT = Decimal("0.0001"), Decimal("0.01")
# Computes exact sums of all numbers that an answer may have. A sum that would be rounded is an error of this program,
# and raises.
EXACT = Context(prec=64, traps=[Inexact, InvalidOperation, Overflow])


class OffSchema(Exception):
    """The answer does not follow its schema. `field` is a path into the answer."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


def check(schema: str, answer: dict[str, Any], amount_usd: Decimal, *, member: str = "recommendation") -> None:
    """Raise Refused `answer-off-schema` with the field of `member` if the answer does not follow its schema."""
    try:
        SCHEMAS[schema](answer, amount_usd)
    except OffSchema as error:
        message = f"{error.field}: {error.reason}"
        raise Refused("answer-off-schema", message, field=f"{member}.{error.field}", reason=error.reason) from None


def _anything(answer: dict[str, Any], amount_usd: Decimal) -> None:
    """Accept any JSON object."""


def _allocations(answer: dict[str, Any], amount_usd: Decimal) -> None:
    """Check `allocations`, a list of objects with `weight` and `amount_usd`.

    The weights are not negative and sum to 1; the amounts sum to the requested amount. Each amount is the share of its
    weight, apart from rounding to units of both.
    """
    allocations = answer.get("allocations")
    if not isinstance(allocations, list) or not 0 < len(allocations) <= MAX_ALLOCATIONS:
        raise OffSchema("allocations", f"must be a list of 1 to {MAX_ALLOCATIONS} objects")
    _places_once(allocations)
    weights, amounts = list(_decimals(allocations, "weight")), list(_decimals(allocations, "amount_usd"))
    with localcontext(EXACT):
        if sum(weights) != 1:
            raise OffSchema("allocations", f"the weights must sum to 1, and sum to {sum(weights)}")
        if sum(amounts) != amount_usd:
            raise OffSchema("allocations", "the amounts must sum to the requested amount")
        leeway = WEIGHT_UNIT * amount_usd + CENT * len(allocations)
        for number, (weight, amount) in enumerate(zip(weights, amounts, strict=True)):
            if weight < 0:
                raise OffSchema(f"allocations[{number}].weight", "a weight must not be negative")
            if abs(weight * amount_usd - amount) > leeway:
                raise OffSchema(
                    f"allocations[{number}].amount_usd", "must be this weight's share of the requested amount"
                )


def _decimals(allocations: list[Any], name: str) -> Iterable[Decimal]:
    for number, item in enumerate(allocations):
        text = item.get(name) if isinstance(item, dict) else None
        if not isinstance(text, str) or not PLAIN_DECIMAL.fullmatch(text):
            raise OffSchema(f"allocations[{number}].{name}", 'must be a decimal string such as "0.2500"')
        if text.startswith("-") and not Decimal(text):
            raise OffSchema(f"allocations[{number}].{name}", "must not be zero with a minus")
        yield Decimal(text)


def _places_once(allocations: list[Any]) -> None:
    """Refuse an asset class, or an asset in it, that is in the list twice: readers would see the first or the last."""
    seen: set[tuple[object, object]] = set()
    for number, item in enumerate(allocations):
        place = (item.get("asset_class"), item.get("asset")) if isinstance(item, dict) else (None, None)
        if not any(isinstance(name, str) for name in place) or not all(isinstance(name, str | None) for name in place):
            continue
        if place in seen:
            raise OffSchema(f"allocations[{number}]", "its asset class or asset is in the list twice")
        seen.add(place)


SCHEMAS: dict[str, Callable[[dict[str, Any], Decimal], None]] = {ANY: _anything, ALLOCATIONS: _allocations}

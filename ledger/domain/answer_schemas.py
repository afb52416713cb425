"""What an agent's answers have to look like, by name and version. Numbers that matter are decimal strings."""

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
# Room for the sum of all that may be sent, to the last digit: what would be rounded is an error of ours.
EXACT = Context(prec=64, traps=[Inexact, InvalidOperation, Overflow])


class OffSchema(Exception):
    """The answer is not as its schema says: which field of it, and why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


def check(schema: str, answer: dict[str, Any], amount_usd: Decimal, *, member: str = "recommendation") -> None:
    """Raises Refused `answer-off-schema`, naming the field of `member`, where the answer is not as its schema says."""
    try:
        SCHEMAS[schema](answer, amount_usd)
    except OffSchema as found:
        reason = f"{found.field}: {found.reason}"
        raise Refused("answer-off-schema", reason, field=f"{member}.{found.field}", reason=found.reason) from None


def _anything(answer: dict[str, Any], amount_usd: Decimal) -> None:
    """Any JSON object is one."""


def _allocations(answer: dict[str, Any], amount_usd: Decimal) -> None:
    """`allocations`: `weight` and `amount_usd` in each, the weights 1 in all, the amounts the amount asked about.

    No weight is negative, and each amount is its weight's share, but for what rounding to units of either may do.
    """
    found = answer.get("allocations")
    if not isinstance(found, list) or not 0 < len(found) <= MAX_ALLOCATIONS:
        raise OffSchema("allocations", f"a list of 1 to {MAX_ALLOCATIONS} objects is needed")
    weights, amounts = list(_decimals(found, "weight")), list(_decimals(found, "amount_usd"))
    with localcontext(EXACT):
        if sum(weights) != 1:
            raise OffSchema("allocations", f"the weights do not sum to 1: they sum to {sum(weights)}")
        if sum(amounts) != amount_usd:
            raise OffSchema("allocations", "the amounts do not sum to the amount that was asked about")
        leeway = WEIGHT_UNIT * amount_usd + CENT * len(found)
        for number, (weight, amount) in enumerate(zip(weights, amounts, strict=True)):
            if weight < 0:
                raise OffSchema(f"allocations[{number}].weight", "a weight is not negative")
            if abs(weight * amount_usd - amount) > leeway:
                raise OffSchema(f"allocations[{number}].amount_usd", "it is not this weight's share of the amount")


def _decimals(found: list[Any], name: str) -> Iterable[Decimal]:
    for number, item in enumerate(found):
        text = item.get(name) if isinstance(item, dict) else None
        if not isinstance(text, str) or not PLAIN_DECIMAL.fullmatch(text):
            raise OffSchema(f"allocations[{number}].{name}", 'a decimal string such as "0.2500" is needed')
        yield Decimal(text)


SCHEMAS: dict[str, Callable[[dict[str, Any], Decimal], None]] = {ANY: _anything, ALLOCATIONS: _allocations}

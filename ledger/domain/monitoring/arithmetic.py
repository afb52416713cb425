"""Compute exactly: nothing is rounded while a portfolio is judged, and once when a figure is shown.

Portfolios are judged with whole numbers: of parts (10^-12) for quantities, prices and weights, and of shares (10^-36)
for the widths of bands. Policies are read as Decimals.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Clamped, Context, Decimal, Inexact, InvalidOperation, Overflow, Rounded, Underflow
from functools import lru_cache

# More digits than bounded inputs can need: 28 of a quantity, 28 of a price, and 18 of each rate. A result that does not
# fit raises Inexact instead of becoming another number.
EXACT = Context(
    prec=2_000, rounding=ROUND_HALF_EVEN, traps=[Inexact, Rounded, InvalidOperation, Overflow, Underflow, Clamped]
)
# Decimals of a share of the whole that is shipped.
PLACES = 12
# The whole in parts, the whole in shares, and the shares of a part. A width is a share of a share of a target.
WHOLE = 1_000_000_000_000
ALL_SHARES = WHOLE * WHOLE * WHOLE
PART = ALL_SHARES // WHOLE


def parts(text: str) -> int:
    """Return a decimal string as a whole number of parts, 10^-12 each. Raises ValueError if it has more decimals."""
    whole, _, decimals = text.partition(".")
    if len(decimals) > PLACES:
        raise ValueError(f"more than {PLACES} decimals")
    return int(whole + decimals.ljust(PLACES, "0"))


@lru_cache(maxsize=4096)
def shares(width: Decimal) -> int:
    """Return a width or a limit as a whole number of shares, 10^-36 each. Raises ValueError if it has more decimals."""
    numerator, denominator = width.as_integer_ratio()
    found, rest = divmod(numerator * ALL_SHARES, denominator)
    if rest:
        raise ValueError("more than 36 decimals")
    return found


def shipped(numerator: int, denominator: int) -> str:
    """Return numerator / denominator parts as a decimal string, rounded once, half to even. Above 0: `denominator`."""
    quotient, rest = divmod(numerator, denominator)
    twice = rest + rest
    return parts_text(quotient + 1 if twice > denominator or (twice == denominator and quotient & 1) else quotient)


def parts_text(number: int) -> str:
    """Return a number of parts as a decimal string."""
    # zfill() takes half of the time of a format.
    if 0 <= number < WHOLE:
        return "0." + str(number).zfill(PLACES)
    if -WHOLE < number < 0:
        return "-0." + str(-number).zfill(PLACES)
    whole, decimals = divmod(abs(number), WHOLE)
    return f"{'-' if number < 0 else ''}{whole}.{decimals:012d}"

"""Notices of Article 62(1) of Regulation (EU) 2017/565: the value of a managed portfolio fell by 10 %, 20 % and so on.

    step = floor(10 * (base - value) / base)

The base is the value at the start of the reporting period, for each step of that period (ESMA QA 1807). At exactly
90,000 of 100,000 the step is 1. A notice is due when the step is above the highest one told in the period, so the same
threshold crossed again gives none (QA 1812), and a fall over two steps gives one notice that names the higher. Cash
that was added and not invested is taken off the value; securities and invested cash are added to the base (QA 1804).
"""

from __future__ import annotations

from fractions import Fraction


def step(base: Fraction, value: Fraction, cash_added: Fraction = Fraction(0)) -> int:
    """Return how many tenths of the base are lost, 0 to 10 or more. `base` is above zero."""
    return max(0, int(10 * (base - (value - cash_added)) / base))

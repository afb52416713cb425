"""Notices of Article 62(1): each threshold once in a reporting period, from the value at its start."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ledger.domain.monitoring.depreciation import Period, notice, step


def test_each_threshold_is_told_once_in_a_period() -> None:
    """The life A4: crossed again it is not told again; a fall over two steps is one notice; a period begins anew."""
    values = ["90000.01", "90000", "92000", "89000", "79999", "65000", "95000", "60000"]
    period, steps, notices = Period(Decimal(100_000)), [], []
    for value in map(Decimal, values):
        steps.append(step(period.base, value))
        reached, period = notice(period, value)
        notices.append(reached)
    assert steps == [0, 1, 0, 1, 2, 3, 0, 4]
    assert notices == [None, 1, None, None, 2, 3, None, 4]
    assert notice(Period(Decimal(70_000)), Decimal(63_000))[0] == 1
    assert notice(Period(Decimal(100_000)), Decimal(75_000))[0] == 2


@pytest.mark.parametrize(("value", "expected"), [("108000", 1), ("108000.01", 0)])
def test_securities_are_added_to_the_base(value: str, expected: int) -> None:
    """With 20,000 of securities added the base is 120,000."""
    period = Period(Decimal(100_000), 3).adding_securities(Decimal(20_000))
    assert step(period.base, Decimal(value)) == expected
    assert period.told == 3


def test_cash_that_was_not_invested_is_taken_off_the_value() -> None:
    """108,000 with 20,000 of new cash is measured as 88,000."""
    assert step(Decimal(100_000), Decimal(108_000), Decimal(20_000)) == 1

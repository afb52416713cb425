"""Ten years day by day, in small: nothing but inputs, runs and transitions is recorded, and each row has its digest."""

from __future__ import annotations

import asyncio

import pytest
from rich.console import Console

from ledger.database import connect
from tests.bench.bench import Bench, Options
from tests.bench.ten_years import OF_A_RUN, rebuild, run_days

PORTFOLIOS, DAYS, PERIOD = 10, 150, 50
# All events of the runs, by what they are.
COUNTED = """
    SELECT count(*) FILTER (WHERE type LIKE 'monitoring.%'),
           count(*) FILTER (WHERE type IN ('alert.raised', 'alert.closed', 'notification.decided')),
           count(*)
    FROM events WHERE position > (SELECT max(position) FROM events WHERE type = 'holdings.recorded')
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_ledger_grows_by_inputs_runs_and_transitions(server_url: str) -> None:
    """Each day adds its prices, the two events of its run and what changes hands; each portfolio has a row a day."""
    bench = Bench(server_url, Options(), Console(stderr=True))
    with bench.ledger() as url:
        found = asyncio.run(run_days(bench, url, PORTFOLIOS, DAYS, PERIOD))
        with connect(url) as conn:
            runs, changes, events = conn.execute(COUNTED).fetchone() or (0, 0, 0)
            rows = conn.execute("SELECT count(*), count(*) FILTER (WHERE agrees) FROM drift_history").fetchone()
        rebuilt = rebuild(bench, url)
    days = DAYS + 1
    assert (runs, events) == (OF_A_RUN * days, OF_A_RUN * days + changes + days)
    assert rows == (PORTFOLIOS * days, PORTFOLIOS * days)
    assert (rebuilt.rows, rebuilt.differing) == (PORTFOLIOS * days, 0)
    assert changes > 0
    assert [one.days for one in found] == [PERIOD] * (DAYS // PERIOD)
    assert sum(one.events * one.days for one in found) <= OF_A_RUN * days + changes

"""Watch the clients' portfolios: runs on the real prices of each week, and advisors who act on the alerts.

Each run is historical: its time is long past, so it decides whom to tell, but nothing is delivered. An advisor takes
an alert on the day of the run, and brings the portfolio back to its targets. advisor-north trades by the next week,
advisor-south four weeks later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from random import Random
from time import monotonic
from typing import Any

import httpx
from advice_ledger_client import LedgerClient

from api.demo.clients import Client, Profile
from api.demo.market import Quarter, Week, weeks
from api.demo.server import ADMIN, DemoFailed, Site
from schema.states import AlertState

OnProgress = Callable[[str, int, int], None]

# A portfolio gets an alert if a twentieth of it would have to be traded, or if one holding is five points off its
# target.
POLICY: dict[str, Any] = {
    "name": "demo",
    "version": "1",
    "band": {"absolute": "0.05"},
    "unlisted": "0.02",
    "turnover": "0.05",
    "doubtful_factor": "3",
}
# The share of stocks, in ten of them at equal weights. The rest is cash.
STOCKS: dict[Profile, Decimal] = {
    "conservative": Decimal("0.30"),
    "balanced": Decimal("0.60"),
    "aggressive": Decimal("0.90"),
}
HELD = 10
CASH = "USD"
UNIT = Decimal("0.0001")
# The number of weeks from an alert until its advisor has traded.
TRADES_AFTER = {"advisor-north": 1, "advisor-south": 4}
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Watched:
    """The results of the watch. `raised` has the alerts of each quarter, `run` is the run that raised most."""

    runs: int
    portfolios: int
    raised: dict[str, int]
    closed: int
    acknowledged: int
    decisions: int
    rebalanced: int
    run: int
    seconds: float


@dataclass
class _Portfolio:
    """A client's portfolio: its targets, and the number of the week by which its advisor will have traded."""

    client: Client
    targets: dict[str, Decimal]
    trades_in: int | None = None

    @property
    def name(self) -> str:
        return self.client.name.replace("client", "portfolio")

    def at_target(self, week: Week) -> dict[str, str]:
        """Return the positions that have the target weights at the prices of a week."""
        value = self.client.amount_usd(0)
        held = {
            name: (value * weight / week.prices[name]).quantize(UNIT, ROUND_HALF_EVEN)
            for name, weight in self.targets.items()
        }
        cash = value * (1 - sum(self.targets.values(), Decimal(0)))
        return {**{name: str(quantity) for name, quantity in held.items()}, CASH: f"{cash:.2f}"}


@dataclass
class Watch:
    """One watch over the quarters of a demo."""

    site: Site
    people: Mapping[str, LedgerClient]
    seed: str
    on_progress: OnProgress
    done: Counter[str] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)

    def run(self, clients: Sequence[Client], periods: Sequence[Quarter]) -> Watched:
        """Watch a portfolio of each client. Raises ClientError, or DemoFailed if prices are refused."""
        began = monotonic()
        all_weeks = weeks(periods)
        portfolios = {one.name: one for one in self._register(clients, all_weeks[0])}
        most = (0, 0)
        headers = {"Authorization": f"Bearer {self.site.tokens[ADMIN]}", "Content-Type": "text/csv"}
        with httpx.Client(base_url=self.site.url, headers=headers, timeout=TIMEOUT_S) as desk:
            for number, week in enumerate(all_weeks):
                _send_prices(desk, week)
                self._trade(portfolios.values(), number, week)
                run = self.people[ADMIN].post("/monitoring/runs", {"as_of": f"{week.day}T22:00:00Z"})
                self.done.update({name: run[name] for name in ("closed", "decisions")})
                self.raised[week.quarter] += run["raised"]
                if run["raised"]:
                    self._act(portfolios, number)
                most = max(most, (run["raised"], -run["run"]))
                self.on_progress("weeks watched", number + 1, len(all_weeks))
        return Watched(
            runs=len(all_weeks),
            portfolios=len(portfolios),
            raised={period.name: self.raised[period.name] for period in periods},
            closed=self.done["closed"],
            acknowledged=self.done["acknowledged"],
            decisions=self.done["decisions"],
            rebalanced=self.done["rebalanced"],
            run=-most[1] or len(all_weeks),
            seconds=round(monotonic() - began, 1),
        )

    def _register(self, clients: Sequence[Client], first: Week) -> list[_Portfolio]:
        self.people[ADMIN].put("/policies/monitoring/demo", POLICY)
        made = [_portfolio(client, self.seed, sorted(first.prices)) for client in clients]
        for one in made:
            targets = {name: str(weight) for name, weight in one.targets.items()}
            content = {"client_id": one.client.name, "base": CASH, "targets": targets, "rest": CASH, "policy": "demo"}
            advisor = self.people[one.client.advisor]
            advisor.put(f"/portfolios/{one.name}", {**content, "source": "demo"})
            self._hold(one, first.day, one.at_target(first))
        return made

    def _hold(self, one: _Portfolio, day: date, positions: dict[str, str]) -> None:
        content = {"as_of": day.isoformat(), "positions": positions}
        self.people[one.client.advisor].put(f"/portfolios/{one.name}/holdings", content)

    def _trade(self, portfolios: Iterable[_Portfolio], number: int, week: Week) -> None:
        """Bring portfolios whose trades are due in this week back to their targets."""
        for one in portfolios:
            if one.trades_in is not None and one.trades_in <= number:
                self._hold(one, week.day, one.at_target(week))
                one.trades_in = None
                self.done["rebalanced"] += 1

    def _act(self, portfolios: Mapping[str, _Portfolio], number: int) -> None:
        """Have the advisors take the open alerts that nobody has taken."""
        for name, advisor in self.people.items():
            if name not in TRADES_AFTER:
                continue
            for alert in _open_alerts(advisor):
                one = portfolios[alert["portfolio"]]
                if one.client.advisor != name or alert["acknowledged_at"] is not None:
                    continue
                advisor.post(f"/alerts/{alert['id']}/acknowledgements", {"rationale": "Back to the targets."})
                self.done["acknowledged"] += 1
                if one.trades_in is None:
                    one.trades_in = number + TRADES_AFTER[name]


def _portfolio(client: Client, seed: str, stocks: Sequence[str]) -> _Portfolio:
    chance = Random(f"{seed}/portfolio/{client.name}")  # noqa: S311 - no secret
    weight = STOCKS[client.profile] / HELD
    return _Portfolio(client, dict.fromkeys(sorted(chance.sample(list(stocks), HELD)), weight))


def _open_alerts(advisor: LedgerClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = advisor.get("/alerts", state=AlertState.OPEN, limit=200, cursor=cursor)
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def _send_prices(desk: httpx.Client, week: Week) -> None:
    """Record the prices of a week. Raises DemoFailed."""
    lines = ["asset,price,currency", f"{CASH},1,{CASH}"]
    lines += [f"{name},{price},{CASH}" for name, price in week.prices.items()]
    answer = desk.post(f"/prices/{week.day}", params={"source": "skfolio"}, content="\n".join(lines) + "\n")
    if answer.is_error:
        raise DemoFailed(f"the prices of {week.day} were refused: {answer.text[:500]}")

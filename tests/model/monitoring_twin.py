"""Monitoring a second time, with fractions: two assets, bands of one width, and no thought for speed."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

REARM = Fraction(1, 2)
WATCH = Fraction(8, 10)
ASSETS = ("BD", "EQ")


class Found(NamedTuple):
    """What a run finds: the condition, and the drift of each asset as it is shown. No drifts if it is unknown."""

    condition: str
    drifts: dict[str, str]
    rearmed: bool


@dataclass
class TwinAlert:
    """An alert, and what was decided about it."""

    rule: str
    band: str
    state: str = "open"
    told: bool = False
    waits: bool = False
    silenced: bool = False
    close_decided: bool = False


@dataclass
class TwinPortfolio:
    """What is on record of a portfolio."""

    target: Fraction
    # Quantities of EQ by day; there is always one BD.
    held: dict[str, int]
    erased: bool = False
    alerts: list[TwinAlert] = field(default_factory=list)

    def newest(self, rule: str) -> TwinAlert | None:
        """Return the newest alert of a rule."""
        return next((one for one in reversed(self.alerts) if one.rule == rule), None)


@dataclass
class Twin:
    """The portfolios by name, the prices by day and asset as they are known now, and what was recorded."""

    portfolios: dict[str, TwinPortfolio]
    band: str = "0.05"
    prices: dict[str, dict[str, int]] = field(default_factory=dict)
    # Portfolio and words of each event of a run.
    events: list[tuple[str, str]] = field(default_factory=list)
    # By run: its day, and what it found about each portfolio.
    runs: list[tuple[str, dict[str, Found]]] = field(default_factory=list)

    def judge(self, name: str, day: str) -> Found:
        """Judge by what is known now."""
        one = self.portfolios[name]
        priced = {asset: self._price(asset, day) for asset in ASSETS}
        if one.erased or None in priced.values():
            return Found("unknown", {}, rearmed=False)
        quantity = one.held[max(known for known in one.held if known <= day)]
        values = {"EQ": Fraction(quantity * (priced["EQ"] or 0)), "BD": Fraction(priced["BD"] or 0)}
        targets = {"EQ": one.target, "BD": 1 - one.target}
        drifts = {asset: values[asset] / sum(values.values()) - targets[asset] for asset in ASSETS}
        far, band = max(map(abs, drifts.values())), Fraction(self.band)
        condition = "breached" if far >= band else "watch" if far >= WATCH * band else "ok"
        return Found(condition, {asset: _shown(drift) for asset, drift in drifts.items()}, far <= REARM * band)

    def _price(self, asset: str, day: str) -> int | None:
        """Return the newest price, unless the source had prices on a later day."""
        days = sorted(known for known in self.prices if known <= day)
        priced = [known for known in days if asset in self.prices[known]]
        return self.prices[priced[-1]][asset] if priced and priced[-1] == days[-1] else None

    def run(self, day: str) -> dict[str, Found]:
        """Judge all portfolios, and record what changes."""
        found = {name: self.judge(name, day) for name in self.portfolios}
        self.runs.append((day, found))
        for name, one in self.portfolios.items():
            words = [*self._changed(one, found[name]), *_decided(one)]
            self.events += [(name, each) for each in words]
        return found

    def _changed(self, one: TwinPortfolio, found: Found) -> list[str]:
        known = found.condition != "unknown"
        return [
            *self._alert(one, "data", "ok" if known else "breached", rearmed=known),
            *self._alert(one, "drift", found.condition, rearmed=found.rearmed),
        ]

    def _alert(self, one: TwinPortfolio, rule: str, condition: str, *, rearmed: bool) -> list[str]:
        alert = one.newest(rule)
        if condition == "unknown":
            return []
        if alert is None or alert.state == "closed":
            if condition != "breached":
                return []
            one.alerts.append(TwinAlert(rule, self.band))
            return [f"raised {rule}"]
        if alert.band != self.band and condition in {"ok", "watch"}:
            alert.state, alert.waits = "closed", False
            return ["closed policy"]
        if rearmed:
            alert.state, alert.waits = "closed", False
            return ["closed inside"]
        return []


def _decided(one: TwinPortfolio) -> list[str]:
    words = []
    for alert in one.alerts:
        if alert.state != "closed" and not alert.told:
            alert.told = True
            words.append("opened advisor")
        elif alert.state == "closed" and not alert.close_decided and not alert.waits:
            alert.waits, alert.close_decided = alert.silenced, not alert.silenced
            words.append("silenced nobody" if alert.silenced else "closed advisor")
    return words


def _shown(exact: Fraction) -> str:
    parts = round(exact * 10**12)
    sign = "-" if parts < 0 else ""
    return f"{sign}{abs(parts) // 10**12}.{abs(parts) % 10**12:012d}"

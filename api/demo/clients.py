"""The demo's clients: invented, and the same in every run."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from random import Random
from typing import Any, Literal

Profile = Literal["conservative", "balanced", "aggressive"]

PROFILES: tuple[Profile, ...] = ("conservative", "balanced", "aggressive")
# Assigned in turn, so that each profile meets each agent, and both meet each advisor.
AGENTS = ("optimiser", "house")
ADVISORS = ("advisor-north", "advisor-south")
AMOUNTS_USD = (80_000, 150_000, 240_000, 400_000, 650_000, 900_000, 1_400_000)
GROWTH_PER_QUARTER = Decimal("1.010")
LIMITS: tuple[dict[str, Any] | None, ...] = (None, None, None, {"max_equity": "0.55"}, {"min_cash": "0.05"})


@dataclass(frozen=True)
class Client:
    """A client whose portfolio is reviewed once a quarter, with the advisor and the agent in charge."""

    name: str
    profile: Profile
    agent: str
    advisor: str
    start_usd: int
    horizon_years: int
    constraints: dict[str, Any] | None

    def amount_usd(self, quarter: int) -> Decimal:
        """Return the amount to invest in the quarter with this number: one percent more each time."""
        grown = self.start_usd * GROWTH_PER_QUARTER**quarter
        return grown.quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)


def clients(count: int, seed: str) -> list[Client]:
    """Return `count` clients, the same ones for the same seed."""
    return [_client(number, Random(f"{seed}/client/{number}")) for number in range(count)]  # noqa: S311 - no secret


def _client(number: int, chance: Random) -> Client:
    return Client(
        name=f"client-{number + 1:03}",
        profile=PROFILES[number % 3],
        agent=AGENTS[number % 2],
        advisor=ADVISORS[number // 6 % 2],
        start_usd=chance.choice(AMOUNTS_USD),
        horizon_years=chance.randint(2, 25),
        constraints=chance.choice(LIMITS),
    )

"""Reports of runs: one that is completed, and one that was computed again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class RunReport:
    """A completed run."""

    run: int
    position: int
    portfolios: int
    conditions: Mapping[str, int]
    raised: int
    closed: int
    decisions: int
    root: str
    historical: bool


@dataclass(frozen=True)
class Change:
    """A run's result for a portfolio, and the result that it would have now."""

    portfolio: str
    condition: str
    would_be: str


@dataclass(frozen=True)
class WouldBe:
    """A run judged by what is on record now: corrections since then included. Nothing recorded changes by it."""

    run: int
    as_of: str
    # What was judged up to then, and what is judged up to now.
    position: int
    upto: int
    portfolios: int
    conditions: Mapping[str, int]
    would_be: Mapping[str, int]
    # The portfolios that are judged otherwise, and how. The condition may be the same, and a figure not.
    different: Sequence[str]
    changes: Sequence[Change]


@dataclass(frozen=True)
class Replayed:
    """A run computed again. `given` are portfolios whose leaf is taken as recorded, because its salt was erased."""

    run: int
    as_of: str
    position: int
    recorded_root: str
    computed_root: str
    portfolios: int
    given: Sequence[str]
    different: Sequence[str]

    @property
    def agrees(self) -> bool:
        """True if all is as it was recorded."""
        return self.recorded_root == self.computed_root and not self.different

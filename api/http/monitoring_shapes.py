"""Shapes of the answers about policies, runs, alerts and drift."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class PolicyRecorded(BaseModel):
    """The policy is in force from this event on. `changed` is false if it was before."""

    policy: str
    event: int
    changed: bool


class PolicyInForce(BaseModel):
    """A monitoring policy, and the SHA-256 of its text."""

    policy: dict[str, Any]
    sha256: str


class RunCompleted(BaseModel):
    """A run that judged all portfolios."""

    run: int
    position: int
    portfolios: int
    conditions: dict[str, int]
    raised: int
    closed: int
    decisions: int
    root: str
    historical: bool


class RunReplayed(BaseModel):
    """A run computed again. `given`: portfolios whose leaf is taken as recorded, because its salt was erased.

    `given` and `different` name portfolios that the caller may read; the counts are of all.
    """

    run: int
    as_of: str
    position: int
    agrees: bool
    recorded_root: str
    computed_root: str
    portfolios: int
    given: list[str]
    given_count: int
    different: list[str]
    different_count: int


class JudgedOtherwise(BaseModel):
    """The condition of a portfolio as it was judged, and as it would be."""

    portfolio: str
    condition: str
    would_be: str


class RunWouldBe(BaseModel):
    """A run judged by what is on record now: how many of each condition there were, and would be.

    `different` and `changes` name portfolios that the caller may read; the counts are of all.
    """

    run: int
    as_of: str
    position: int
    upto: int
    portfolios: int
    conditions: dict[str, int]
    would_be: dict[str, int]
    different: list[str]
    different_count: int
    changes: list[JudgedOtherwise]


class AlertChanged(BaseModel):
    """The change is recorded, as the event at this position."""

    alert: int
    event: int


class AssetDrift(BaseModel):
    """One asset: shares of the value, with 12 decimals."""

    asset: str
    condition: str
    drift: str
    half_width: str
    target: str
    weight: str


class UnknownReason(BaseModel):
    """Why a portfolio has no condition."""

    reason: str
    asset: str | None


class Drift(BaseModel):
    """The judgement of a run about the portfolio. `agrees`: it has the digest that the run recorded."""

    id: int
    run: int
    portfolio: str
    as_of: str
    condition: str
    unknown: list[UnknownReason]
    assets: list[AssetDrift]
    turnover: str | None
    beyond: list[str]
    agrees: bool

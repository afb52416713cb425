"""The text of a monitoring policy: bands, limits, and when a portfolio is looked at and people are told.

All widths and limits are shares of the portfolio's value: "0.05" is five points of weight.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from ledger.domain.monitoring.calendar import zone_named
from ledger.domain.policy import Text
from schema.fields import Code
from schema.portfolios import Asset, Day

SHARE = re.compile(r"(0|1)(\.[0-9]{1,12})?", re.ASCII)
NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,12})?", re.ASCII)
TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)


def _decimal(pattern: re.Pattern[str], example: str) -> BeforeValidator:
    def parse(value: object) -> object:
        if isinstance(value, str) and pattern.fullmatch(value):
            return Decimal(value)
        raise ValueError(f'must be a decimal string such as "{example}"')

    return BeforeValidator(parse)


def _text(pattern: re.Pattern[str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern.pattern}$"})


Portion = Annotated[Decimal, _decimal(SHARE, "0.05"), Field(ge=0, le=1), _text(SHARE)]
Width = Annotated[Decimal, _decimal(SHARE, "0.05"), Field(gt=0, le=1), _text(SHARE)]
Number = Annotated[Decimal, _decimal(NUMBER, "50.00"), _text(NUMBER)]
LocalTime = Annotated[str, StringConstraints(pattern=TIME.pattern)]
Zone = Annotated[str, AfterValidator(lambda name: zone_named(name).key)]


Receivers = Literal["advisor", "client", "both", "nobody"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Band(_Part):
    """The limit of a weight's distance from its target.

    With both widths, the smaller one counts (5/25 is 0.05 and 0.25).
    """

    # In points of weight.
    absolute: Width | None = None
    # As a share of the target.
    relative: Width | None = None

    @model_validator(mode="after")
    def _some_width(self) -> Band:
        if self.absolute is None and self.relative is None:
            raise ValueError("a band needs absolute, relative or both")
        return self

    def half_width(self, target: Decimal) -> Decimal:
        """Return the half-width of the band around this target, in points of weight."""
        widths = [] if self.absolute is None else [self.absolute]
        if self.relative is not None:
            widths.append(self.relative * target)
        return min(widths)


class IssuerLimits(_Part):
    """The limits of Directive 2009/65/EC Article 52(2), called 5/10/40: per group of issuers, not per security.

    No group above `single`; and the groups above `counted_above` together not above `together`.
    """

    single: Width
    counted_above: Width
    together: Width


class QuietHours(_Part):
    """Local hours in which nobody is told: from `start`, until before `end`. They may go past midnight."""

    start: LocalTime
    end: LocalTime
    zone: Zone

    @model_validator(mode="after")
    def _not_equal(self) -> QuietHours:
        if self.start == self.end:
            raise ValueError("start and end are equal: leave quiet_hours out, or name two different times")
        return self


class Review(_Part):
    """A review at fixed dates, counted from `anchor` and not from the last one."""

    anchor: Day
    every: Literal["day", "week", "month", "quarter", "year"]
    at: LocalTime
    zone: Zone


class Suitability(_Part):
    """An assessment of suitability is due again so long after the last one, when the day begins in the zone."""

    every: Literal["month", "quarter", "year"]
    zone: Zone


class MonitoringText(Text):
    """A monitoring policy. Docs: docs/formats/monitoring.md."""

    # The currency in which rates of two others meet.
    pivot: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "USD"
    band: Band
    # The half-width of a holding that has no target, or whose target is 0.
    unlisted: Width
    overrides: Annotated[dict[Asset, Band], Field(max_length=1_000)] = Field(default_factory=dict)
    # `watch` begins at this share of a band; a breach ends at `rearm` of it.
    watch: Annotated[Portion, Field(gt=0, lt=1)] = Decimal("0.8")
    rearm: Annotated[Portion, Field(lt=1)] = Decimal("0.5")
    turnover: Width | None = None
    single_limit: Width | None = None
    issuer_limits: IssuerLimits | None = None
    # The group of issuers that an asset belongs to; an asset that is not here is a group of its own.
    issuers: Annotated[dict[Asset, Code], Field(max_length=1_000)] = Field(default_factory=dict)
    # Assets that no portfolio may hold.
    restricted: Annotated[tuple[Asset, ...], Field(max_length=1_000)] = ()
    # Flows of `flow_days` days that together are at least this share of the value before them are a reason to look.
    flow: Width | None = None
    flow_days: Annotated[int, Field(ge=1, le=31)] = 5
    # Smaller drifts ask for no trade; in the base currency.
    minimum_trade: Number = Decimal(0)
    stale_after_days: Annotated[int, Field(ge=0, le=365)] = 0
    # A price is doubtful if it changes by at least this factor, up or down, without a corporate action.
    doubtful_factor: Annotated[Number, Field(gt=1)] = Decimal(2)
    # Judged at each run; told of an opened alert at most every this many days.
    decide_every_days: Annotated[int, Field(ge=1, le=366)] = 1
    cool_down_days: Annotated[int, Field(ge=0, le=366)] = 0
    quiet_hours: QuietHours | None = None
    review: Review | None = None
    # The time for which an assessment that the portfolio suits its client is valid.
    suitability: Suitability | None = None
    # A recommendation for the client that was approved after the targets were set is a reason to look.
    target_superseded: bool = False
    # Hours after which an alert that nobody acknowledged goes to the next person.
    escalate_after_hours: Annotated[tuple[Annotated[int, Field(ge=1, le=8_760)], ...], Field(max_length=10)] = ()
    # Notices of Article 62(1) of Regulation (EU) 2017/565, for portfolio management only.
    depreciation_notices: bool = False
    # Rules whose alerts open a request for advice, and how many a run opens at most.
    request_advice: Annotated[tuple[Code, ...], Field(max_length=20)] = ()
    requests_per_run: Annotated[int, Field(ge=1, le=10_000)] = 100
    # The receivers of the alerts of a rule; the advisor by default.
    tell: Annotated[dict[Code, Receivers], Field(max_length=20)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _in_order(self) -> MonitoringText:
        if self.rearm > self.watch:
            raise ValueError("rearm must not be above watch: an alert would close while its portfolio is watched")
        if "flow_days" in self.model_fields_set and self.flow is None:
            raise ValueError("flow_days needs flow: without it no flow is looked at")
        if self.issuers and self.issuer_limits is None:
            raise ValueError("issuers needs issuer_limits: without them no group is judged")
        if list(self.escalate_after_hours) != sorted(set(self.escalate_after_hours)):
            raise ValueError("escalate_after_hours must be different hours in rising order")
        return self

    def half_width(self, asset: str, target: Decimal) -> Decimal:
        """Return the half-width for an asset with this target; 0 as a target is that of an asset without one."""
        if target == 0:
            return self.unlisted
        return self.overrides.get(asset, self.band).half_width(target)

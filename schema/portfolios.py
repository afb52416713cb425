"""Events about portfolios that are watched, and the prices that they are valued with.

`portfolio-NAME` has the client, the targets and the alerts of a portfolio, `holdings-NAME` its quantities, and
`prices-YYYY-MM-DD` the prices of a day. Corporate actions are in `corporate-actions`, values that a custodian
computed in `valuation-NAME`, and flows in `flows-NAME`. A portfolio's name identifies nobody: it is in clear.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from schema.clients import ClientNumber
from schema.event_base import Event
from schema.fields import ClientId, Code, Digest, Name, Position, RiskProfile, Sealed, Timestamp


def _real(value: str) -> str:
    try:
        date.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("day", "Input should be a real day") from None
    return value


def _one_form(value: str) -> str:
    """Write a number in one way: without zeros that say nothing. Refuse a minus before zero."""
    sign, digits = ("-", value[1:]) if value.startswith("-") else ("", value)
    whole, _, decimals = digits.partition(".")
    whole, decimals = whole.lstrip("0") or "0", decimals.rstrip("0")
    if sign and whole == "0" and not decimals:
        raise PydanticCustomError("minus_zero", "Input should be a number without a minus")
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


PortfolioName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Asset = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$")]
# ISO 4217, or a minor unit in which prices are quoted (docs/formats/monitoring.md, section 1).
Currency = Annotated[str, StringConstraints(pattern=r"^([A-Z]{3}|GBp|ZAc)$")]
Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$"), AfterValidator(_real)]
# Decimal strings, never floats: a share of the whole, a number of units, a price, and a rate of exchange. Shares and
# quantities have one form, so that the same command in other words is a retry. Prices and rates are those of a file.
Weight = Annotated[str, StringConstraints(pattern=r"^(0(\.[0-9]{1,12})?|1(\.0{1,12})?)$"), AfterValidator(_one_form)]
Quantity = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,16}(\.[0-9]{1,12})?$"), AfterValidator(_one_form)]
Amount = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,16}(\.[0-9]{1,12})?$")]
RATE = r"^(0\.0{0,8}[1-9][0-9]{0,8}|0{0,8}[1-9][0-9]{0,8}(\.[0-9]{1,9})?)$"
Rate = Annotated[str, StringConstraints(pattern=RATE)]
# "2:1": two new units for each old one.
Ratio = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}:[1-9][0-9]{0,8}$")]
# "USD/CHF": how much of the second currency one unit of the first one is.
Pair = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}/[A-Z]{3}$")]


class DefinePortfolio(BaseModel):
    """A client's portfolio: its base currency, target weights and the monitoring policy that judges it.

    The weights sum to 1, or the asset `rest` has what they leave.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_id: Annotated[ClientId, Sealed()]
    base: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    targets: Annotated[dict[Asset, Weight], Field(min_length=1, max_length=1_000), Sealed()]
    rest: Annotated[Asset | None, Sealed()] = None
    policy: Code
    # That of requests for advice about the portfolio. Without it, runs open none.
    risk_profile: RiskProfile | None = None
    # Where the weights come from: an approved recommendation, or a name.
    recommendation_id: Position | None = None
    source: Name | None = None
    # The day on which it was assessed last that the portfolio suits its client.
    assessed_on: Day | None = None


class PortfolioDefined(DefinePortfolio, Event):
    """A portfolio is watched from now on, or with other targets. In the stream `portfolio-NAME`."""

    type = "portfolio.defined"
    schema_version = 1

    # The number under which the identifier is registered: in the stream `client-N`.
    client: ClientNumber


class RecordHoldings(BaseModel):
    """All that a portfolio holds at the end of a day: quantities by asset. Cash is an asset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: Day
    source: Name | None = None
    positions: Annotated[dict[Asset, Quantity], Field(max_length=1_000), Sealed()]


class HoldingsRecorded(RecordHoldings, Event):
    """What a portfolio holds from a day on. In the stream `holdings-NAME`."""

    type = "holdings.recorded"
    schema_version = 1

    # Those of the portfolio.
    client_id: Annotated[ClientId, Sealed()]
    client: ClientNumber


class Price(BaseModel):
    """A price as it was traded. `accepted`: a person has looked at it, so that no jump makes it doubtful."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    price: Amount
    currency: Currency
    accepted: bool | None = None


class PricesRecorded(Event):
    """Prices and rates of a day. In the stream `prices-YYYY-MM-DD`; a later one of the same asset corrects it."""

    type = "prices.recorded"
    schema_version = 1

    source: Code
    date: Day
    # When the source made them.
    as_of: Timestamp | None = None
    # The SHA-256 of the file that was sent, which may have become several events.
    file_sha256: Digest
    prices: dict[Asset, Price] | None = None
    rates: dict[Pair, Rate] | None = None


class RecordAction(BaseModel):
    """A corporate action of an asset. It counts from the beginning of `date` on; prices and holdings are as traded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset: Asset
    date: Day
    action: Literal["split", "renamed", "delisted"]
    # Of a split: the units that there are for so many before it.
    ratio: Ratio | None = None
    # Of a renamed asset: its identifier from then on.
    to: Asset | None = None
    # Of a delisted asset: what is paid for a unit. Without it, its value is unknown.
    price: Amount | None = None
    currency: Currency | None = None
    # True takes the action back.
    withdrawn: bool | None = None
    source: Name | None = None


class RecordValuation(BaseModel):
    """A portfolio as its custodian has valued it, at the end of a day: the value of each holding in one currency."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: Day
    source: Code
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    values: Annotated[dict[Asset, Quantity], Field(max_length=1_000), Sealed()]


class ValuationRecorded(RecordValuation, Event):
    """The value of what a portfolio holds from a day on. In the stream `valuation-NAME`."""

    type = "valuation.recorded"
    schema_version = 1

    # Those of the portfolio.
    client_id: Annotated[ClientId, Sealed()]
    client: ClientNumber


class ValuationsReceived(Event):
    """A source has sent valuations of a day. In the stream `valuations-YYYY-MM-DD`, once for a source."""

    type = "valuations.received"
    schema_version = 1

    source: Code
    date: Day


class RecordFlow(BaseModel):
    """What came into a portfolio or went out of it on a day. The last one with the same reference counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference: Annotated[Name, Sealed()]
    date: Day
    # `period-start` is no flow: it is the value at the start of a reporting period.
    kind: Literal["cash-in", "cash-out", "invested-in", "securities-in", "securities-out", "period-start"]
    amount: Annotated[Amount, AfterValidator(_one_form), Sealed()]
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    # True takes the flow back.
    withdrawn: bool | None = None
    source: Name | None = None


class FlowRecorded(RecordFlow, Event):
    """Money or securities came into a portfolio or went out of it. In the stream `flows-NAME`."""

    type = "flow.recorded"
    schema_version = 1

    # Those of the portfolio.
    client_id: Annotated[ClientId, Sealed()]
    client: ClientNumber


class CorporateActionRecorded(RecordAction, Event):
    """An asset is split, renamed or delisted. The last event about an asset, day and kind of action counts."""

    type = "corporate-action.recorded"
    schema_version = 1


PORTFOLIO_EVENTS = (
    PortfolioDefined,
    HoldingsRecorded,
    PricesRecorded,
    CorporateActionRecorded,
    ValuationRecorded,
    ValuationsReceived,
    FlowRecorded,
)

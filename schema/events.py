"""The catalogue: every type of event that may be recorded, with its version.

A type never changes its meaning. A changed shape is a new `schema` number of the same type, and readers keep
understanding the old ones, because what is recorded stays as it is.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

DECIMAL_TEXT = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")


def _decimal_text(value: object) -> object:
    """Decimal() would take "1_000", " 1", "+1" and digits of other scripts for numbers too."""
    if isinstance(value, str) and not DECIMAL_TEXT.fullmatch(value):
        raise PydanticCustomError("decimal_text", 'Input should be a number, such as 250000 or "250000.00"')
    return value


class Sealed:
    """Marks a field as personal: the body carries a commitment to it, the value is kept beside the chain."""


RiskProfile = Literal["conservative", "balanced", "aggressive"]
ClientId = Annotated[str, StringConstraints(min_length=1, max_length=200)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
FreeText = Annotated[str, StringConstraints(max_length=20_000)]
Objectives = Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=500)]], Field(max_length=20)]
# Recorded as "250000.00": a decimal string with two decimals, never a float.
Money = Annotated[
    Decimal,
    Field(gt=0, max_digits=14, decimal_places=2),
    BeforeValidator(_decimal_text),
    PlainSerializer(lambda amount: f"{amount:.2f}", return_type=str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": 999999999999.99},
                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?$"},
            ],
            "description": "US dollars, to the cent; as a string it is exact in every JSON reader.",
        },
        mode="validation",
    ),
    WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,12}\.[0-9]{2}$"}, mode="serialization"),
]
# A share of the whole, "0" to "1" with up to four decimals.
Share = Annotated[
    Decimal,
    Field(ge=0, le=1, max_digits=5, decimal_places=4),
    BeforeValidator(_decimal_text),
    PlainSerializer(lambda share: f"{share:f}", return_type=str),
]


class Constraints(BaseModel):
    """What the client wants kept to, in terms that a rule can check."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exclude_asset_classes: Annotated[
        list[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,49}$")]], Field(max_length=50)
    ] = []
    max_equity: Share | None = None
    min_cash: Share | None = None


class Event(BaseModel):
    """Base of all types; subclasses name their `type` and `schema_version`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: ClassVar[str]
    schema_version: ClassVar[int]
    # Names of the fields marked Sealed; filled in for each subclass.
    sealed: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls.sealed = frozenset(
            name for name, field in cls.model_fields.items() if any(isinstance(mark, Sealed) for mark in field.metadata)
        )


class PortfolioRequested(Event):
    """An advisor asks for a recommendation for a client's money. Opens the stream `request-N`."""

    type = "portfolio.requested"
    schema_version = 1

    client_id: Annotated[ClientId, Sealed()]
    risk_profile: RiskProfile
    amount_usd: Money
    horizon_years: Annotated[int, Field(strict=True, ge=1, le=60)] | None = None
    objectives: Annotated[Objectives | None, Sealed()] = None
    constraints: Constraints | None = None
    notes: Annotated[FreeText | None, Sealed()] = None


class RecommendationRecorded(Event):
    """What an agent answered. Its ledger position is the recommendation's id."""

    type = "recommendation.recorded"
    schema_version = 1

    recommendation: Annotated[dict[str, JsonValue], Sealed()]
    model_name: ModelName
    model_version: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    parameters: dict[str, JsonValue] | None = None
    prompt: Annotated[str | None, Sealed()] = None


class RequestFailed(Event):
    """No recommendation will come: why, in a short code, and in words."""

    type = "request.failed"
    schema_version = 1

    reason: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,99}$")]
    detail: Annotated[FreeText | None, Sealed()] = None


CATALOGUE: dict[str, type[Event]] = {
    kind.type: kind for kind in (PortfolioRequested, RecommendationRecorded, RequestFailed)
}

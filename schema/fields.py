"""The types of the members of events, with their bounds. `Sealed` marks a member as personal."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
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

# Unicode's general categories of control and format characters (bidirectional marks among them) and of line breaks.
NOT_IN_NAMES = frozenset({"Cc", "Cf", "Zl", "Zp"})
DECIMAL_TEXT = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")


def _decimal_text(value: object) -> object:
    """Refuse texts that Decimal() accepts and JSON does not: "1_000", " 1", "+1", and digits of other scripts."""
    if isinstance(value, str) and not DECIMAL_TEXT.fullmatch(value):
        raise PydanticCustomError("decimal_text", 'Input should be a number, such as 250000 or "250000.00"')
    return value


def _seen(value: str) -> str:
    """Require a letter, digit, punctuation mark or symbol (Unicode general categories L, N, P, S)."""
    if not any(unicodedata.category(character)[0] in "LNPS" for character in value):
        raise PydanticCustomError("nothing_to_see", "Input should have at least one visible character")
    return value


def nfc(value: object) -> object:
    """Write text in one form (Unicode's NFC), so that texts that look equal are equal."""
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def _plain(value: str) -> str:
    """Refuse characters that make two names look equal, or that change the direction of text: people know a name by
    its look."""
    if value != value.strip():
        raise PydanticCustomError("outer_space", "Input should not begin or end with white space")
    if any(unicodedata.category(character) in NOT_IN_NAMES for character in value):
        raise PydanticCustomError("not_plain", "Input should have no control or format characters, and no line breaks")
    return value


def _not_below_zero(share: Decimal) -> Decimal:
    """Refuse -0.0, which is not less than zero."""
    if share.is_signed():
        raise PydanticCustomError("minus_zero", "Input should be a number without a minus")
    return share


def _share_text(share: Decimal) -> str:
    """Write a share in one way, without zeros at its end."""
    text = f"{share:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _named_once(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise PydanticCustomError("named_twice", "Input should name each class once")
    return names


class Sealed:
    """Mark a field as personal: the body has a commitment to it, and the value is stored beside the chain."""


RiskProfile = Literal["conservative", "balanced", "aggressive"]
# The name of a client, person, model or thing.
Name = Annotated[str, BeforeValidator(nfc), StringConstraints(min_length=1, max_length=200), AfterValidator(_plain)]
ClientId = Name
# Identifies an event of this ledger: its position, never a number that a caller chose.
Position = Annotated[int, Field(strict=True, ge=1, le=2**53 - 1)]
Count = Annotated[int, Field(strict=True, ge=0, le=2**53 - 1)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# The key that verifies signatures of the transparency log, and a signature with its key id (docs/formats/tlog.md,
# section 4).
VerifierKeyText = Annotated[
    str, StringConstraints(max_length=4096, pattern=r"^[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}$")
]
NoteSignature = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{91}=$")]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,99}$")]
# Text with at least one visible character.
Rationale = Annotated[str, StringConstraints(min_length=1, max_length=20_000), AfterValidator(_seen)]
# The kind of a fault, such as "timeout", "500" or the name of a class; never the text of a message.
ErrorType = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,200}$")]
JsonObject = dict[str, JsonValue]
# Ids of W3C trace context, in hex.
TraceId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
SpanId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
# RFC 3339 in UTC, with the precision of its source.
Timestamp = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$")]
FreeText = Annotated[str, StringConstraints(max_length=20_000)]
Objectives = Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=500)]], Field(max_length=20)]
Horizon = Annotated[int, Field(strict=True, ge=1, le=60)]
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
# A share of the whole, "0" to "1" with up to four decimals. Recorded without zeros at its end.
Share = Annotated[
    Decimal,
    Field(ge=0, le=1, max_digits=5, decimal_places=4),
    BeforeValidator(_decimal_text),
    AfterValidator(_not_below_zero),
    PlainSerializer(_share_text, return_type=str),
]


class Constraints(BaseModel):
    """The constraints of the client, in terms that a rule can check."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exclude_asset_classes: Annotated[
        list[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,49}$")]],
        Field(max_length=50),
        AfterValidator(_named_once),
    ] = []
    max_equity: Share | None = None
    min_cash: Share | None = None

"""Parse holdings of many portfolios as NDJSON: one JSON object on each line.

{"portfolio": "anna", "as_of": "2026-03-02", "positions": {"EQ": "600", "BD": "400"}, "source": "custodian"}
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, ValidationError

from api.ndjson import errors_of, members_of, parse_lines
from ledger.errors import InvalidLines
from ledger.service.monitoring.bulk_holdings import HoldingsLine
from schema.events import RecordHoldings
from schema.portfolios import PortfolioName

# The bytes of a thousand positions with the longest names and numbers.
MOST_LINE_BYTES = 256 * 1024


class _Named(BaseModel):
    """The portfolio of a line."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    portfolio: PortfolioName


def parse(lines: Iterable[bytes]) -> list[HoldingsLine]:
    """Parse lines; skip empty ones. Raises InvalidLines with all errors."""
    return parse_lines(lines, 1, _line)


def _line(number: int, text: bytes) -> HoldingsLine:
    members = members_of(number, text, MOST_LINE_BYTES)
    rest = {name: value for name, value in members.items() if name not in _Named.model_fields}
    try:
        return HoldingsLine(number, _Named.model_validate(members).portfolio, RecordHoldings.model_validate(rest))
    except ValidationError as error:
        raise InvalidLines(list(errors_of(number, error))) from None

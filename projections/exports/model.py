"""Exports over HTTP: one row for each. It is the log of what was produced, for whom."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel, changing, fixed


class ExportRow(BaseModel):
    """An export. What it brought is null until it is completed; purpose and recipient once its client is erased."""

    id: int
    state: str
    client: int | None
    request: int | None
    position_from: int | None
    position_to: int | None
    recorded_from: str | None
    recorded_to: str | None
    occurred_from: str | None
    occurred_to: str | None
    search: dict[str, str | int] | None
    text: str | None
    disclose: list[str] | None
    withhold: list[str] | None
    zone: str | None
    purpose: str | None
    recipient: str | None
    events: int | None
    first_position: int | None
    last_position: int | None
    excluded: int | None
    checkpoint_size: int | None
    bytes: int | None
    sha256: str | None
    fields: dict[str, dict[str, int]] | None
    expires_at: str | None
    failure_reason: str | None
    requested_by: str
    created_at: datetime
    ended_at: datetime | None


EXPORTS = ReadModel(
    Path(__file__).parent, ExportRow, {**fixed("client", "request", "requested_by"), **changing("state")}
)

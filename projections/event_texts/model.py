"""The words of sealed values, for searches: one row for each event that has sealed fields.

The rows hold personal data. An erasure folds the streams again, and so empties them.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel

from projections.read_model import ReadModel


class EventText(BaseModel):
    """The words of an event's sealed values, as PostgreSQL writes a tsvector. `id` is the event's position."""

    id: int
    words: str
    created_at: datetime


EVENT_TEXTS = ReadModel(Path(__file__).parent, EventText, per_event=True)

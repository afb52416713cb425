"""Events about legal holds, in the stream `client-N` of the client whose records they keep.

A hold is of the whole client, or of one of its cases. So an erasure, which looks at the stream of the client, cannot
miss it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict

from schema.event_base import Event
from schema.fields import Position, Rationale, Sealed


class PlaceHold(BaseModel):
    """A legal hold to place: on the client, or on the case of one request. While it stands, nothing is erased."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: Annotated[Rationale, Sealed()]
    # The number of the request: the N of the stream `request-N`.
    request_id: Position | None = None


class LegalHoldPlaced(PlaceHold, Event):
    """Nothing of the client may be erased from now on. The position of the event is the hold's id."""

    type = "legal-hold.placed"
    schema_version = 1


class ReleaseHold(BaseModel):
    """The release of a legal hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: Annotated[Rationale, Sealed()]


class LegalHoldReleased(ReleaseHold, Event):
    """A hold ends. Other holds of the client stand."""

    type = "legal-hold.released"
    schema_version = 1

    hold_id: Position


HOLD_EVENTS = (LegalHoldPlaced, LegalHoldReleased)

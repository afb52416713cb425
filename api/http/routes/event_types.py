"""The catalogue of event types, as JSON Schemas."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel

from api.http.parameters import NoQuery, not_found
from api.http.problems import documented
from schema.events import CATALOGUE

router = APIRouter(prefix="/schemas", tags=["catalogue"])


class EventSchema(BaseModel):
    """An event type. `sealed` names its sealed fields: the chain holds commitments to their values."""

    type: str
    version: int
    sealed: list[str]
    json_schema: dict[str, Any]


@router.get("", responses=documented(422))
async def list_schemas(_query: NoQuery) -> list[EventSchema]:
    """List every event type that may be recorded."""
    return [_schema(name) for name in CATALOGUE]


@router.get("/{event_type}", responses=documented(404, 422))
async def get_schema(event_type: Annotated[str, Path(max_length=100)], _query: NoQuery) -> EventSchema:
    """Read one event type."""
    if event_type not in CATALOGUE:
        raise not_found("event-type")
    return _schema(event_type)


def _schema(name: str) -> EventSchema:
    kind = CATALOGUE[name]
    return EventSchema(
        type=name,
        version=kind.schema_version,
        sealed=sorted(kind.sealed),
        json_schema=kind.model_json_schema(mode="serialization"),
    )

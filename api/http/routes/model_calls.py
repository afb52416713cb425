"""Routes to end model calls, and to read them."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator, Field, JsonValue

from api.http.auth.permissions import MayAnswer, MayRead
from api.http.json_route import JsonRoute
from api.http.parameters import (
    WRITTEN,
    FilterText,
    IdempotencyKey,
    Page,
    PathId,
    ReadOne,
    ReadPage,
    RowId,
    as_json,
    event_id,
    plain_id,
    recorded,
)
from api.http.problems import documented
from api.http.reading import read_one, read_page, read_sealed
from api.services import InjectedServices
from projections.model_calls.model import MODEL_CALLS, ModelCall
from schema.events import CallFault, CallResult
from schema.states import ModelCallState

router = APIRouter(prefix="/model-calls", tags=["model calls"], route_class=JsonRoute)


class CallEnded(BaseModel):
    """The end of the call is recorded."""

    model_call_id: int
    state: Literal[ModelCallState.COMPLETED, ModelCallState.FAILED]


class ModelCallInFull(ModelCall):
    """A model call with its sealed values, exactly as recorded. Erased values are left out."""

    started: dict[str, JsonValue]
    ended: dict[str, JsonValue] | None
    content: Annotated[
        list[dict[str, JsonValue]],
        Field(description="Messages that came in log records of OpenTelemetry, one object for each record."),
    ]


class ReadModelCalls(ReadPage):
    """Query parameters of the list of model calls."""

    request_id: RowId | None = None
    state: ModelCallState | None = None
    agent: FilterText | None = None
    request_model: FilterText | None = None
    older_than_s: Annotated[int, Field(ge=0, le=10**9), BeforeValidator(plain_id)] | None = Field(
        None,
        description="Only calls that started at least this many seconds ago. With `state=open`, these are the orphans.",
    )


@router.post("/{model_call_id}/completion", status_code=201, response_model=CallEnded, responses=WRITTEN)
async def complete_model_call(
    services: InjectedServices,
    caller: MayAnswer,
    model_call_id: PathId,
    result: CallResult,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Record the result of a model call. Role: agent, the one that started the call."""
    receipt = await services.ledger.requests.end_call(caller, model_call_id, result, event_id(caller, idempotency_key))
    ended = {"model_call_id": model_call_id, "state": ModelCallState.COMPLETED}
    return recorded(201, ended, receipt, f"/model-calls/{model_call_id}")


@router.post("/{model_call_id}/failure", status_code=201, response_model=CallEnded, responses=WRITTEN)
async def fail_model_call(
    services: InjectedServices,
    caller: MayAnswer,
    model_call_id: PathId,
    fault: CallFault,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Record that a model call gave nothing usable. Role: agent, the one that started the call."""
    receipt = await services.ledger.requests.end_call(caller, model_call_id, fault, event_id(caller, idempotency_key))
    ended = {"model_call_id": model_call_id, "state": ModelCallState.FAILED}
    return recorded(201, ended, receipt, f"/model-calls/{model_call_id}")


@router.get("", response_model=Page[ModelCall], responses=documented(401, 403, 422, 429, 503))
async def list_model_calls(
    services: InjectedServices, caller: MayRead, query: Annotated[ReadModelCalls, Query()]
) -> Response:
    """List model calls, the newest first. Any role."""
    return await read_page(services, caller, MODEL_CALLS, query)


@router.get("/{model_call_id}", response_model=ModelCallInFull, responses=documented(401, 403, 404, 422, 503))
async def get_model_call(
    services: InjectedServices, caller: MayRead, model_call_id: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one model call, with its messages. Any role."""
    row = await read_one(services.ledger, MODEL_CALLS, model_call_id, query, "model-call")
    end, content = row["ended_position"], row["content_positions"] or []
    sealed = await read_sealed(services.ledger, [model_call_id, *([] if end is None else [end]), *content])
    return as_json(
        {
            **row,
            "started": sealed.get(model_call_id, {}),
            "ended": None if end is None else sealed.get(end, {}),
            "content": [sealed.get(position, {}) for position in content],
        },
        query,
    )

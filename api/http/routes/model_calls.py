"""Routes to end model calls, and to read them."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, BeforeValidator, Field, JsonValue

from api.http.auth.permissions import MayAnswer, MayReadCalls
from api.http.json_route import JsonRoute
from api.http.lists import Page, ReadPage
from api.http.parameters import (
    WRITTEN,
    FilterText,
    IdempotencyKey,
    PathId,
    ReadOne,
    RowId,
    as_json,
    event_id,
    plain_id,
    recorded,
)
from api.http.problems import ApiError, documented
from api.http.read_list import read_page
from api.http.reading import Rows, read_one, read_sealed
from api.http.signature import SignatureHeader, signature_of
from api.services import InjectedServices
from ledger.database import AsyncConnection
from projections import reads
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
    ledger_signature: SignatureHeader = None,
) -> Response:
    """Record the result of a model call. Role: agent, the one that started the call."""
    signature = signature_of(idempotency_key, ledger_signature)
    key = event_id(caller, idempotency_key)
    receipt = await services.ledger.requests.end_call(caller, model_call_id, result, key, signature)
    ended = {"model_call_id": model_call_id, "state": ModelCallState.COMPLETED}
    return recorded(201, ended, receipt, f"/model-calls/{model_call_id}")


@router.post("/{model_call_id}/failure", status_code=201, response_model=CallEnded, responses=WRITTEN)
async def fail_model_call(
    services: InjectedServices,
    caller: MayAnswer,
    model_call_id: PathId,
    fault: CallFault,
    idempotency_key: IdempotencyKey = None,
    ledger_signature: SignatureHeader = None,
) -> Response:
    """Record that a model call gave nothing usable. Role: agent, the one that started the call."""
    signature = signature_of(idempotency_key, ledger_signature)
    key = event_id(caller, idempotency_key)
    receipt = await services.ledger.requests.end_call(caller, model_call_id, fault, key, signature)
    ended = {"model_call_id": model_call_id, "state": ModelCallState.FAILED}
    return recorded(201, ended, receipt, f"/model-calls/{model_call_id}")


@router.get("", response_model=Page[ModelCall], responses=documented(401, 403, 404, 422, 429, 503))
async def list_model_calls(
    services: InjectedServices, caller: MayReadCalls, query: Annotated[ReadModelCalls, Query()]
) -> Response:
    """List model calls, the newest first. Roles: advisor, compliance, examiner; agent, its own calls."""
    if caller.scope == "own" and query.agent not in {None, caller.actor.id}:
        raise ApiError("wrong-role", "an agent reads its own calls: leave out the filter `agent`")
    if caller.scope != "own":
        return await read_page(services, caller, MODEL_CALLS, query)
    # A context names no client, and neither do the agent's calls. The filter would tell who is a client.
    if query.client_id is not None:
        raise ApiError("wrong-role", "an agent is not told whose calls it made: leave out the filter `client_id`")
    return await read_page(services, caller, MODEL_CALLS, query, finish=_without_client)


@router.get("/{model_call_id}", response_model=ModelCallInFull, responses=documented(401, 403, 404, 422, 503))
async def get_model_call(
    services: InjectedServices, caller: MayReadCalls, model_call_id: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one model call, with its messages. Roles: advisor, compliance, examiner; agent, one of its own."""
    row = await read_one(services, caller, MODEL_CALLS, model_call_id, query, "model-call")
    row = {**row, "client_id": None} if caller.scope == "own" else row
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


async def _without_client(_conn: AsyncConnection, rows: Rows, _as_of: reads.AsOf) -> Rows:
    return [{**row, "client_id": None} for row in rows]

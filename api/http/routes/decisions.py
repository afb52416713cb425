"""What people make of a recommendation: opened, decided, confirmed by a second person, communicated."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayCommunicate, MayConfirm, MayDecide, MayOpen, MayRead
from api.http.json_body import JsonRoute
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
    recorded,
)
from api.http.problems import documented
from api.http.reading import read_one, read_page
from api.services import InjectedServices
from ledger.domain.case import Recommendation
from projections.decisions.model import Decision
from schema.events import Communicate, Confirm, Decide, Open, Outcome
from schema.fields import Digest
from schema.states import DecisionState, RecommendationState

router = APIRouter(tags=["decisions"], route_class=JsonRoute)


class Standing(BaseModel):
    """Where a recommendation stands after this: its state, and the digest of what stands or is to be confirmed."""

    recommendation_id: int
    state: RecommendationState
    digest: Digest


class Decided(Standing):
    """As Standing, and whether a second person has to confirm it, by which rules of the policy."""

    decision_id: int
    needs_second: bool
    second_rules: list[str]


class Confirmed(Standing):
    """As Standing."""

    decision_id: int


class ReadDecisions(ReadPage):
    """The list of decisions and its filters."""

    request_id: RowId | None = None
    recommendation_id: RowId | None = None
    outcome: Outcome | None = None
    decided_by: FilterText | None = None
    state: DecisionState | None = None


ONE = "/recommendations/{recommendation_id}"


@router.post(f"{ONE}/openings", status_code=201, response_model=Standing, responses=WRITTEN)
async def open_recommendation(
    services: InjectedServices,
    caller: MayOpen,
    recommendation_id: PathId,
    body: Open,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Record that you have the recommendation before you. Role: advisor or compliance."""
    at = await services.ledger.decisions.open(caller, recommendation_id, body, event_id(caller, idempotency_key))
    return recorded(
        201,
        _standing(await services.ledger.decisions.recommendation_after(at)),
        at,
        f"/recommendations/{recommendation_id}",
    )


@router.post(f"{ONE}/decisions", status_code=201, response_model=Decided, responses=WRITTEN)
async def decide(
    services: InjectedServices,
    caller: MayDecide,
    recommendation_id: PathId,
    body: Decide,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Approve, edit, reject, or respond to the agent with a remark. Role: advisor."""
    at = await services.ledger.decisions.decide(caller, recommendation_id, body, event_id(caller, idempotency_key))
    current = await services.ledger.decisions.recommendation_after(at)
    rules = list(current.decision.second_rules) if current.decision else []
    found = {**_standing(current), "decision_id": at.position, "needs_second": bool(rules), "second_rules": rules}
    return recorded(201, found, at, f"/decisions/{at.position}")


@router.post("/decisions/{decision_id}/confirmations", status_code=201, response_model=Confirmed, responses=WRITTEN)
async def confirm(
    services: InjectedServices,
    caller: MayConfirm,
    decision_id: PathId,
    body: Confirm,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Approve or decline another person's decision that waits for a confirmation. Role: by the four-eyes policy."""
    at = await services.ledger.decisions.confirm(caller, decision_id, body, event_id(caller, idempotency_key))
    found = {**_standing(await services.ledger.decisions.recommendation_after(at)), "decision_id": decision_id}
    return recorded(201, found, at, f"/decisions/{decision_id}")


@router.post(f"{ONE}/communications", status_code=201, response_model=Standing, responses=WRITTEN)
async def communicate(
    services: InjectedServices,
    caller: MayCommunicate,
    recommendation_id: PathId,
    body: Communicate,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Record that the client was told. Nothing but a superseding recommendation can follow. Role: advisor."""
    at = await services.ledger.decisions.communicate(caller, recommendation_id, body, event_id(caller, idempotency_key))
    return recorded(
        201,
        _standing(await services.ledger.decisions.recommendation_after(at)),
        at,
        f"/recommendations/{recommendation_id}",
    )


@router.get("/decisions", response_model=Page[Decision], responses=documented(401, 403, 422, 503))
async def list_decisions(
    services: InjectedServices, caller: MayRead, asked: Annotated[ReadDecisions, Query()]
) -> Response:
    """Decisions, the newest first. Any role."""
    return await read_page(services.ledger, "decisions", asked)


@router.get("/decisions/{decision_id}", response_model=Decision, responses=documented(401, 403, 404, 422, 503))
async def get_decision(
    services: InjectedServices, caller: MayRead, decision_id: PathId, asked: Annotated[ReadOne, Query()]
) -> Response:
    """One decision. Any role."""
    row = await read_one(services.ledger, "decisions", decision_id, asked, "decision")
    return as_json(row)


def _standing(current: Recommendation) -> dict[str, object]:
    """Of a recommendation that waits, the digest is what there is to confirm."""
    waiting = current.decision if current.state == "waiting" else None
    digest = waiting.result if waiting else current.current_digest
    return {"recommendation_id": current.id, "state": current.state, "digest": digest}

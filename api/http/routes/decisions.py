"""Routes for what people do with a recommendation: open, decide, confirm, communicate."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from api.http.auth.permissions import MayCommunicate, MayConfirm, MayDecide, MayOpen, MayReadCases
from api.http.json_route import JsonRoute
from api.http.lists import MOST_STATES, SEVERAL, Page, ReadOfDecisions
from api.http.media_types import IN_FORMS
from api.http.parameters import WRITTEN, IdempotencyKey, PathId, ReadOne, RowId, as_json, event_id, recorded
from api.http.problems import documented
from api.http.read_list import read_list
from api.http.reading import read_one
from api.http.signature import SignatureHeader, signature_of
from api.services import InjectedServices
from ledger.domain.case import Recommendation
from projections.decisions.model import DECISIONS, DecisionSummary, ShownDecision
from schema.events import Communicate, Confirm, Decide, Disposition, Open, Outcome
from schema.fields import Digest, RiskProfile
from schema.states import DecisionState, RecommendationState

router = APIRouter(tags=["decisions"], route_class=JsonRoute)


class RecommendationAfter(BaseModel):
    """The recommendation after the command. While a decision waits, `digest` is that of the content to confirm."""

    recommendation_id: int
    state: RecommendationState
    digest: Digest


class Decided(RecommendationAfter):
    """The decision is recorded. If `needs_second`, it waits for a confirmation; `second_rules` say why."""

    decision_id: int
    needs_second: bool
    second_rules: list[str]


class Confirmed(RecommendationAfter):
    """The act on the decision is recorded."""

    decision_id: int


class ReadDecisions(ReadOfDecisions):
    """Query parameters of the list of decisions."""

    risk_profile: RiskProfile | None = None
    recommendation_id: RowId | None = None
    outcome: Outcome | None = None
    state: Annotated[list[DecisionState], MOST_STATES] | None = Field(None, description=SEVERAL)
    disposition: Disposition | None = None


ONE = "/recommendations/{recommendation_id}"


@router.post(f"{ONE}/openings", status_code=201, response_model=RecommendationAfter, responses=WRITTEN)
async def open_recommendation(
    services: InjectedServices,
    caller: MayOpen,
    recommendation_id: PathId,
    body: Open,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Record that you have the recommendation before you. Role: advisor or compliance."""
    commands = services.ledger.decisions
    receipt = await commands.open(caller, recommendation_id, body, event_id(caller, idempotency_key))
    after = members_of(await commands.recommendation_after(receipt))
    return recorded(201, after, receipt, f"/recommendations/{recommendation_id}")


@router.post(f"{ONE}/decisions", status_code=201, response_model=Decided, responses=WRITTEN)
async def decide(
    services: InjectedServices,
    caller: MayDecide,
    recommendation_id: PathId,
    body: Decide,
    idempotency_key: IdempotencyKey = None,
    ledger_signature: SignatureHeader = None,
) -> Response:
    """Approve, edit, reject, or respond to the agent with a remark. Role: advisor."""
    commands = services.ledger.decisions
    signature = signature_of(idempotency_key, ledger_signature)
    receipt = await commands.decide(caller, recommendation_id, body, event_id(caller, idempotency_key), signature)
    after = await commands.recommendation_after(receipt)
    rules = list(after.decision.second_rules) if after.decision else []
    decided = {"decision_id": receipt.position, "needs_second": bool(rules), "second_rules": rules}
    return recorded(201, {**members_of(after), **decided}, receipt, f"/decisions/{receipt.position}")


@router.post("/decisions/{decision_id}/confirmations", status_code=201, response_model=Confirmed, responses=WRITTEN)
async def confirm(
    services: InjectedServices,
    caller: MayConfirm,
    decision_id: PathId,
    body: Confirm,
    idempotency_key: IdempotencyKey = None,
    ledger_signature: SignatureHeader = None,
) -> Response:
    """Approve or decline another person's decision that waits for a confirmation.

    Role: advisor or compliance, if the four-eyes policy allows it.
    """
    commands = services.ledger.decisions
    signature = signature_of(idempotency_key, ledger_signature)
    receipt = await commands.confirm(caller, decision_id, body, event_id(caller, idempotency_key), signature)
    after = {**members_of(await commands.recommendation_after(receipt)), "decision_id": decision_id}
    return recorded(201, after, receipt, f"/decisions/{decision_id}")


@router.post(f"{ONE}/communications", status_code=201, response_model=RecommendationAfter, responses=WRITTEN)
async def communicate(
    services: InjectedServices,
    caller: MayCommunicate,
    recommendation_id: PathId,
    body: Communicate,
    idempotency_key: IdempotencyKey = None,
    ledger_signature: SignatureHeader = None,
) -> Response:
    """Record that the client was told. Only a superseding recommendation can follow. Role: advisor."""
    commands = services.ledger.decisions
    signature = signature_of(idempotency_key, ledger_signature)
    receipt = await commands.communicate(caller, recommendation_id, body, event_id(caller, idempotency_key), signature)
    after = members_of(await commands.recommendation_after(receipt))
    return recorded(201, after, receipt, f"/recommendations/{recommendation_id}")


@router.get(
    "/decisions",
    response_model=Page[ShownDecision | DecisionSummary],
    responses={**IN_FORMS, **documented(401, 403, 404, 406, 422, 429, 503)},
)
async def list_decisions(
    services: InjectedServices, request: Request, caller: MayReadCases, query: Annotated[ReadDecisions, Query()]
) -> Response:
    """List decisions. Roles: advisor, compliance, examiner.

    With `Accept: text/csv` or `application/x-ndjson`, all that match are streamed, or `limit` of them.
    """
    return await read_list(services, request, caller, DECISIONS, query, ShownDecision)


@router.get("/decisions/{decision_id}", response_model=ShownDecision, responses=documented(401, 403, 404, 422, 503))
async def get_decision(
    services: InjectedServices, caller: MayReadCases, decision_id: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one decision. Roles: advisor, compliance, examiner."""
    row = await read_one(services, caller, DECISIONS, decision_id, query, "decision")
    return as_json(row, query)


def members_of(after: Recommendation) -> dict[str, object]:
    """Return the members of an answer about a recommendation."""
    digest = after.waiting.digest if after.waiting else after.current_digest
    return {"recommendation_id": after.id, "state": after.state, "digest": digest}

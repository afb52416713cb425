"""Routes about disposals of clients at the end of retention."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayErase
from api.http.json_route import JsonRoute
from api.http.parameters import WRITTEN, IdempotencyKey, event_id, recorded
from api.http.problems import documented
from api.jobs.disposals import DISPOSE, DisposalParameters
from api.services import InjectedServices
from ledger.service.disposals import number_of_disposal
from schema.events import RequestDisposal

router = APIRouter(tags=["erasure"], route_class=JsonRoute)


class DisposalAccepted(BaseModel):
    """The step is recorded, and a job does it."""

    disposal: int
    job: int


@router.post(
    "/disposals", status_code=202, response_model=DisposalAccepted, responses={**WRITTEN, **documented(404, 429)}
)
async def request_disposal(
    services: InjectedServices, caller: MayErase, body: RequestDisposal, idempotency_key: IdempotencyKey = None
) -> Response:
    """Propose all erasures that are possible as retention is over, or confirm those that wait. Role: compliance.

    A job does it in the name of the caller, so two people are needed for the two steps.
    """
    receipt = await services.ledger.disposals.request(caller, body, event_id(caller, idempotency_key))
    number = number_of_disposal(receipt)
    job = await services.jobs.ask(DISPOSE, DisposalParameters(disposal=number), caller.id, receipt.id)
    if services.job_runner is not None:
        services.job_runner.wake()
    return recorded(202, {"disposal": number, "job": job}, receipt, f"/jobs/{job}")

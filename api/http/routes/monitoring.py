"""Routes of monitoring: its policies, runs, alerts and decisions whom to tell."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import ConfigDict

from api.http.auth.permissions import (
    MayAdoptMonitoring,
    MayHandleAlerts,
    MayReadMonitoring,
    MayReadPortfolios,
    MayRunMonitoring,
)
from api.http.json_route import JsonRoute
from api.http.lists import Page, ReadList, ReadPage
from api.http.media_types import IN_FORMS
from api.http.monitoring_shapes import (
    AlertChanged,
    PolicyInForce,
    PolicyRecorded,
    RunCompleted,
)
from api.http.parameters import (
    WRITTEN,
    FilterText,
    IdempotencyKey,
    NoQuery,
    PathId,
    ReadOne,
    RowId,
    as_json,
    event_id,
    not_found,
    recorded,
)
from api.http.problems import documented
from api.http.read_list import read_list
from api.http.reading import read_one
from api.http.routes.portfolios import PUT
from api.services import InjectedServices
from ledger.domain.monitoring.policy import MonitoringText
from ledger.service.monitoring.inputs import read_policies
from ledger.service.monitoring.runs import stream_of_run
from projections.monitoring_runs.model import MONITORING_RUNS, RunRow
from projections.notifications.model import NOTIFICATIONS, NotificationRow
from projections.portfolio_alerts.model import PORTFOLIO_ALERTS, AlertRow
from schema.events import AcknowledgeAlert, CloseAlert, SilenceAlert, StartRun
from schema.fields import Code

router = APIRouter(tags=["monitoring"], route_class=JsonRoute)


class AdoptMonitoring(MonitoringText):
    """The text of a monitoring policy. Its `name` is that of the path."""

    # Lists in JSON are the tuples and sets of the policy.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class ReadRuns(ReadList):
    """Query parameters of the list of runs."""

    state: Literal["started", "completed"] | None = None


class ReadAlerts(ReadPage):
    """Query parameters of the list of alerts."""

    portfolio: FilterText | None = None
    state: Literal["open", "acknowledged", "action-proposed", "closed"] | None = None
    rule: FilterText | None = None
    run: RowId | None = None


class ReadNotifications(ReadPage):
    """Query parameters of the list of decisions whom to tell."""

    portfolio: FilterText | None = None
    alert_id: RowId | None = None
    run: RowId | None = None
    reason: FilterText | None = None


@router.put("/policies/monitoring/{name}", status_code=201, response_model=PolicyRecorded, responses=PUT)
async def adopt_policy(
    services: InjectedServices,
    caller: MayAdoptMonitoring,
    name: Annotated[Code, Path()],
    body: AdoptMonitoring,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Put a monitoring policy in force. Roles: admin, compliance."""
    key = event_id(caller, idempotency_key)
    receipt, changed = await services.ledger.portfolios.adopt_policy(caller, name, body, key)
    answer = {"policy": name, "event": receipt.position, "changed": changed}
    return recorded(201 if changed else 200, answer, receipt, f"/policies/monitoring/{name}")


@router.get("/policies/monitoring/{name}", response_model=PolicyInForce, responses=documented(401, 403, 404, 422, 503))
async def get_policy(
    services: InjectedServices, caller: MayReadMonitoring, name: Annotated[Code, Path()], _query: NoQuery
) -> Response:
    """Read a monitoring policy. Roles: admin, advisor, auditor, compliance."""
    found = await services.ledger.readers.run(lambda conn: read_policies(conn, [name]))
    if name not in found:
        raise not_found("policy")
    text, digest = found[name]
    return as_json({"policy": text.model_dump(mode="json", exclude_unset=True), "sha256": digest})


@router.post("/monitoring/runs", status_code=201, response_model=RunCompleted, responses=WRITTEN)
async def run_monitoring(
    services: InjectedServices, caller: MayRunMonitoring, body: StartRun, idempotency_key: IdempotencyKey = None
) -> Response:
    """Judge all portfolios as of a time. Finishes a run that was killed first. Role: admin."""
    as_of = datetime.fromisoformat(body.as_of)
    receipt, report = await services.ledger.monitoring.run(caller, as_of, event_id(caller, idempotency_key))
    return recorded(201, asdict(report), receipt, f"/monitoring/runs/{report.run}")


@router.get(
    "/monitoring/runs",
    response_model=Page[RunRow],
    responses={**IN_FORMS, **documented(401, 403, 406, 422, 429, 503)},
)
async def list_runs(
    services: InjectedServices, request: Request, caller: MayReadMonitoring, query: Annotated[ReadRuns, Query()]
) -> Response:
    """List runs, the newest first. Roles: admin, advisor, auditor, compliance.

    With `Accept: text/csv` or `application/x-ndjson`, all that match are streamed, or `limit` of them.
    """
    return await read_list(services, request, caller, MONITORING_RUNS, query, RunRow)


@router.get("/monitoring/runs/{run}", response_model=RunRow, responses=documented(401, 403, 404, 422, 503))
async def get_run(
    services: InjectedServices, caller: MayReadMonitoring, run: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one run. Roles: admin, advisor, auditor, compliance."""
    row = await read_one(services, caller, MONITORING_RUNS, run, query, "run", stream_of_run(run))
    return as_json(row, query)


@router.get(
    "/alerts",
    response_model=Page[AlertRow],
    responses={**IN_FORMS, **documented(401, 403, 404, 406, 422, 429, 503)},
)
async def list_alerts(
    services: InjectedServices, request: Request, caller: MayReadPortfolios, query: Annotated[ReadAlerts, Query()]
) -> Response:
    """List alerts, the newest first. Roles: advisor, compliance, examiner.

    With `Accept: text/csv` or `application/x-ndjson`, all that match are streamed, or `limit` of them.
    """
    return await read_list(services, request, caller, PORTFOLIO_ALERTS, query, AlertRow)


@router.get("/alerts/{alert}", response_model=AlertRow, responses=documented(401, 403, 404, 422, 503))
async def get_alert(
    services: InjectedServices, caller: MayReadPortfolios, alert: PathId, query: Annotated[ReadOne, Query()]
) -> Response:
    """Read one alert. Roles: advisor, compliance, examiner."""
    row = await read_one(services, caller, PORTFOLIO_ALERTS, alert, query, "alert")
    return as_json(row, query)


@router.post("/alerts/{alert}/acknowledgements", status_code=201, response_model=AlertChanged, responses=WRITTEN)
async def acknowledge_alert(
    services: InjectedServices,
    caller: MayHandleAlerts,
    alert: PathId,
    body: AcknowledgeAlert,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take an alert. Roles: advisor, compliance."""
    return await _act(services, caller, alert, body, idempotency_key)


@router.post("/alerts/{alert}/silences", status_code=201, response_model=AlertChanged, responses=WRITTEN)
async def silence_alert(
    services: InjectedServices,
    caller: MayHandleAlerts,
    alert: PathId,
    body: SilenceAlert,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Have nobody told of an alert for a time. Roles: advisor, compliance."""
    return await _act(services, caller, alert, body, idempotency_key)


@router.post("/alerts/{alert}/closings", status_code=201, response_model=AlertChanged, responses=WRITTEN)
async def close_alert(
    services: InjectedServices,
    caller: MayHandleAlerts,
    alert: PathId,
    body: CloseAlert,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Close an alert. Roles: advisor, compliance."""
    return await _act(services, caller, alert, body, idempotency_key)


@router.get(
    "/notifications",
    response_model=Page[NotificationRow],
    responses={**IN_FORMS, **documented(401, 403, 404, 406, 422, 429, 503)},
)
async def list_notifications(
    services: InjectedServices,
    request: Request,
    caller: MayReadPortfolios,
    query: Annotated[ReadNotifications, Query()],
) -> Response:
    """List decisions whom to tell of an alert, the newest first. Roles: advisor, compliance, examiner.

    With `Accept: text/csv` or `application/x-ndjson`, all that match are streamed, or `limit` of them.
    """
    return await read_list(services, request, caller, NOTIFICATIONS, query, NotificationRow)


async def _act(
    services: InjectedServices,
    caller: MayHandleAlerts,
    alert: int,
    body: AcknowledgeAlert | SilenceAlert | CloseAlert,
    idempotency_key: str | None,
) -> Response:
    receipt = await services.ledger.portfolios.act(caller, alert, body, event_id(caller, idempotency_key))
    return recorded(201, {"alert": alert, "event": receipt.position}, receipt, f"/alerts/{alert}")

"""docs/use/http.md, http-decisions.md and monitoring.md say what the application does.

Routes, roles, parameters, members and problems: they have no fewer and no others. Their examples, pasted in order on a
fresh ledger, answer as printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

from api.app import create_app
from api.http.auth.permissions import Permission
from api.http.body_limit import MAX_REQUEST_BYTES
from api.http.problem_types import PROBLEMS
from api.http.problems import Problem
from api.http.routes.exports import AskExport
from api.jobs.kinds import KINDS
from api.services import Parts
from ledger.domain.access_policy import AccessPolicy
from ledger.domain.answer_schemas import SCHEMAS
from ledger.domain.subject import ALL_ROLES
from schema.events import (
    AgentRegistered,
    AlertAcknowledged,
    AlertClosed,
    AlertSilenced,
    CaseReviewed,
    ClientAliased,
    ClientAssigned,
    ClientErased,
    ClientMerged,
    ClientRegistered,
    ClientUnassigned,
    CredentialIssued,
    CredentialRevoked,
    DecisionRevoked,
    DecisionWithdrawn,
    DeliveryResent,
    DisposalRequested,
    ErasureDeclined,
    ErasureRequested,
    Event,
    ExportRequested,
    FlowRecorded,
    LegalHoldPlaced,
    LegalHoldReleased,
    ModelCallCompleted,
    ModelCallFailed,
    ModelCallStarted,
    MonitoringRunStarted,
    PortfolioRequested,
    RebalancingDecided,
    RecommendationCommunicated,
    RecommendationConfirmed,
    RecommendationDecided,
    RecommendationOpened,
    RecommendationRecorded,
    RequestFailed,
    RequestWithdrawn,
    SigningKeyRegistered,
    SubjectChangeConfirmed,
    SubjectChangeDeclined,
    SubjectGroupJoined,
    SubjectGroupLeft,
    SubjectRegistered,
    SubjectResumed,
    SubjectRoleGranted,
    SubjectRoleRevoked,
    SubjectSuspended,
)
from schema.fields import Constraints
from schema.findings import FindingAssigned, FindingClosed, FindingOpened
from schema.reviews import RangeReviewed
from schema.samples import ReviewReassigned, SampleDrawn
from schema.subjects import RegisterIdentity
from tests.api.http.test_routes import routes
from tests.api.jobs.delivering import settings_in
from tests.api.pasted import CURL, Pasted, check, free_port
from tests.api.program import variables
from tests.api.served import ledger_copy, served
from tests.conftest import Template
from tests.pages import code, headed, is_named, table_with, words_of
from tests.paths import DOCS

GENERAL = (DOCS / "use/http.md").read_text("utf-8")
DECISIONS = (DOCS / "use/http-decisions.md").read_text("utf-8")
SUBJECTS = (DOCS / "use/http-subjects.md").read_text("utf-8")
MONITORING = (DOCS / "use/monitoring.md").read_text("utf-8")
JOBS = (DOCS / "use/jobs.md").read_text("utf-8")
EXPORTS = (DOCS / "use/exports.md").read_text("utf-8")
ERASURE = (DOCS / "use/erasure.md").read_text("utf-8")
REVIEWS = (DOCS / "use/reviews.md").read_text("utf-8")
DELIVERIES = (DOCS / "use/deliveries.md").read_text("utf-8")
RULES = (DOCS / "formats/monitoring.md").read_text("utf-8")
TEXT = GENERAL + DECISIONS + SUBJECTS + MONITORING + DELIVERIES + JOBS + EXPORTS + ERASURE + REVIEWS
READ_MODELS = (DOCS / "use/read-models.md").read_text("utf-8")

# The event that each write records.
RECORDED: dict[str, type[Event]] = {
    "/portfolio/recommendations": PortfolioRequested,
    "/portfolio/requests/{request_id}/model-calls": ModelCallStarted,
    "/portfolio/requests/{request_id}/recommendations": RecommendationRecorded,
    "/portfolio/requests/{request_id}/failures": RequestFailed,
    "/model-calls/{model_call_id}/completion": ModelCallCompleted,
    "/model-calls/{model_call_id}/failure": ModelCallFailed,
    "/recommendations/{recommendation_id}/openings": RecommendationOpened,
    "/recommendations/{recommendation_id}/decisions": RecommendationDecided,
    "/decisions/{decision_id}/confirmations": RecommendationConfirmed,
    "/recommendations/{recommendation_id}/communications": RecommendationCommunicated,
    "/portfolio/requests/{request_id}/withdrawals": RequestWithdrawn,
    "/decisions/{decision_id}/withdrawals": DecisionWithdrawn,
    "/decisions/{decision_id}/revocations": DecisionRevoked,
    "/cases/{request_id}/reviews": CaseReviewed,
    "/reviews": RangeReviewed,
    "/samples": SampleDrawn,
    "/review-items/{item}/reassignments": ReviewReassigned,
    "/cases/{request_id}/findings": FindingOpened,
    "/clients/{client}/findings": FindingOpened,
    "/findings/{finding}/assignments": FindingAssigned,
    "/findings/{finding}/closings": FindingClosed,
    "/clients": ClientRegistered,
    "/clients/{client}/aliases": ClientAliased,
    "/clients/{client}/merges": ClientMerged,
    "/clients/{client}/assignments": ClientAssigned,
    "/clients/{client}/unassignments": ClientUnassigned,
    "/me/signing-keys": SigningKeyRegistered,
    "/subjects/{name}/registrations": SubjectRegistered,
    "/subjects/{name}/roles": SubjectRoleGranted,
    "/subjects/{name}/role-revocations": SubjectRoleRevoked,
    "/subjects/{name}/suspensions": SubjectSuspended,
    "/subjects/{name}/resumptions": SubjectResumed,
    "/subjects/{name}/identities": CredentialIssued,
    "/subjects/{name}/memberships": SubjectGroupJoined,
    "/subjects/{name}/membership-ends": SubjectGroupLeft,
    "/subjects/{name}/credentials": CredentialIssued,
    "/subjects/{name}/revocations": CredentialRevoked,
    "/subject-changes/{change_id}/confirmations": SubjectChangeConfirmed,
    "/subject-changes/{change_id}/declines": SubjectChangeDeclined,
    "/agents/{name}/registrations": AgentRegistered,
    "/agents/{name}/suspensions": SubjectSuspended,
    "/agents/{name}/resumptions": SubjectResumed,
    "/monitoring/runs": MonitoringRunStarted,
    "/alerts/{alert}/acknowledgements": AlertAcknowledged,
    "/alerts/{alert}/silences": AlertSilenced,
    "/alerts/{alert}/closings": AlertClosed,
    "/portfolios/{name}/flows": FlowRecorded,
    "/portfolios/{name}/rebalancing": RebalancingDecided,
    "/exports": ExportRequested,
    "/deliveries/{delivery}/resends": DeliveryResent,
    "/clients/{client}/legal-holds": LegalHoldPlaced,
    "/legal-holds/{hold}/releases": LegalHoldReleased,
    "/clients/{client}/erasure": ErasureRequested,
    "/erasures/{erasure}/confirmations": ClientErased,
    "/erasures/{erasure}/declines": ErasureDeclined,
    "/disposals": DisposalRequested,
}
# Bodies that are no base of their event: they have some of its members, in a form for callers.
OTHER_BODIES = (AskExport, RegisterIdentity)
# Each kind of row: the route that gives it, and its read model, which docs/use/read-models.md describes.
ROWS = {
    "PortfolioRequest": ("GET /portfolio/requests", "portfolio_requests"),
    "ShownRecommendation": ("GET /recommendations", "ai_recommendations"),
    "ShownDecision": ("GET /decisions", "decisions"),
    "ModelCall": ("GET /model-calls", "model_calls"),
    "Agent": ("GET /agents", "subjects"),
    "Access": ("GET /access", "accesses"),
    "Subject": ("GET /subjects", "subjects"),
    "ShownCredential": ("GET /subjects/{name}/credentials", "credentials"),
    "ClientRow": ("GET /clients", "clients"),
    "PortfolioRow": ("GET /portfolios", "portfolios"),
    "AlertRow": ("GET /alerts", "portfolio_alerts"),
    "NotificationRow": ("GET /notifications", "notifications"),
    "FlowRow": ("GET /flows", "flows"),
    "ValuationRow": ("GET /valuations", "valuations"),
    "CorporateActionRow": ("GET /corporate-actions", "corporate_actions"),
    "ShownErasure": ("GET /erasures", "erasures"),
    "LegalHoldRow": ("GET /legal-holds", "legal_holds"),
    "RunRow": ("GET /monitoring/runs", "monitoring_runs"),
    "ExportRow": ("GET /exports", "exports"),
    "SampleRow": ("GET /samples", "samples"),
    "ReviewItemRow": ("GET /reviews/queue", "review_items"),
    "FindingRow": ("GET /findings", "findings"),
    "DeliveryRow": ("GET /deliveries", "deliveries"),
}
STATUSES = {
    GENERAL: [202, 200, 201, 201, 201, 201, 409, 201, *[200] * 16],
    DECISIONS: [
        *[200, 201, 409, 201, 200, 200, 409, 201, 201],
        *[202, 201, 200, 200, 201, 201, 200, 201, 201, 201],
        *[201, 200, 200, 200, 200],
    ],
    MONITORING: [
        *[201, 201, 201, 201, 422, 200, 200, 201, 422, 200, 200, 200, 201, 422, 201, 422],
        *[200, 200, 201, 201, 200, 200, 201, 201, 201, 200, 200, 201, 200],
    ],
    DELIVERIES: [201, 201, 201, 201, 201, 201, 200, 201, 201, 200, 200],
    SUBJECTS: [201, 201, 201],
    ERASURE: [201, 200, 200, 201, 200, 409, 200, 201, 200, 201, 200, 409, 202],
}
# The package is already in the environment that runs the tests.
RECEIVER = {".venv/bin/pip install -q standardwebhooks": "true"}


@cache
def application() -> FastAPI:
    """An application that is not started."""
    return create_app(Parts("postgresql://nowhere"))


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document."""
    return application().openapi()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and OpenAPI operation of each route."""
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_every_problem_is_documented() -> None:
    """The table of problems is the table in api/http/problems.py; each member of a problem is named."""
    documented = {}
    for cells in table_with(GENERAL, "type", "status").cells():
        [problem] = code(cells[0])
        assert all(cells), problem
        documented[problem] = int(cells[1])
    assert documented == {f"/problems/{slug}": status for slug, status in PROBLEMS.items()}
    assert [name for name in Problem.model_fields if not is_named(name, TEXT)] == []


def test_every_route_is_documented() -> None:
    """The text names each operation of the OpenAPI document, by method and path."""
    assert [f"{method} {path}" for method, path, _ in operations() if f"`{method} {path}`" not in TEXT] == []


def test_the_table_of_permissions_is_that_of_the_routes() -> None:
    """Each route that needs a token is once in the table, with the roles that its permission lets through."""
    words = {"yes": "all", "own": "own", "": None}
    documented: dict[str, dict[str, str | None]] = {}
    for row in table_with(GENERAL, *ALL_ROLES).rows:
        for route in code(" ".join(cell for title, cell in row.items() if title not in ALL_ROLES)):
            assert route not in documented
            documented[route] = {role: words[row[role]] for role in ALL_ROLES}
    policy = AccessPolicy.load()
    assert documented == {
        route: {role: policy.scope(action, role) for role in ALL_ROLES} for route, action in permissions()
    }


def permissions() -> Iterator[tuple[str, str]]:
    """Each route that needs a token, and the permission that it needs."""
    for route in routes(application().routes):
        if isinstance(route, APIRoute):
            for needed in route.dependant.dependencies:
                if isinstance(needed.call, Permission):
                    yield from ((f"{method} {route.path}", needed.call.action) for method in route.methods or ())


def test_every_parameter_is_documented() -> None:
    """The table has each query parameter with the routes that take it, and no others."""
    actual: dict[str, set[str]] = {}
    for _, path, operation in operations():
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "query":
                actual.setdefault(parameter["name"], set()).add(path)
    groups = {"lists": actual["cursor"] & actual["consistency"], "rows": actual["consistency"] - actual["cursor"]}
    documented: dict[str, set[str]] = {}
    for parameters, where, meaning in table_with(GENERAL, "parameter", "on").cells():
        assert meaning
        paths = set(code(where)).union(*(paths for group, paths in groups.items() if group in where))
        documented |= dict.fromkeys(code(parameters), paths)
    assert documented == actual


@pytest.mark.parametrize("path", RECORDED)
def test_every_member_is_documented(path: str) -> None:
    """The members that may be sent are those of the route's table, sealed where the event has them sealed."""
    kind = RECORDED[path]
    documented: dict[str, bool] = {}
    for members, *rest in table_with(headed(TEXT, f"POST {path}"), "member").cells():
        documented |= dict.fromkeys(code(members), bool(words_of(" ".join(rest), ["sealed"])))
    content = document()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    members_sent = document()["components"]["schemas"][content["$ref"].rpartition("/")[2]]["properties"]
    assert documented == {name: name in kind.sealed for name in members_sent}


def test_every_write_is_looked_at() -> None:
    """Each POST of JSON but those of OTLP is among those whose members are compared; so are members of members."""
    written = {path for method, path, _ in operations() if method == "POST"}
    others = {
        "/v1/traces",
        "/v1/logs",
        "/client-assignments",
        "/holdings",
        "/prices/{day}",
        "/corporate-actions",
        "/flows",
        "/valuations",
    }
    others |= {"/assignments/{request_id}/claim", "/jobs/{job}/cancellation"}
    assert written - others == RECORDED.keys()
    assert [name for name in Constraints.model_fields if not is_named(name, TEXT)] == []
    registrations = headed(TEXT, "POST /agents/{name}/registrations")
    assert [name for name in SCHEMAS if not is_named(name, registrations)] == []


@pytest.mark.parametrize("path", RECORDED)
def test_a_body_is_that_of_the_event(path: str) -> None:
    """The body of each write is the class of its event, a base of it, or one of OTHER_BODIES: no other members."""
    body = document()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    event = RECORDED[path]
    kinds = {kind.__name__: kind for kind in (*event.__mro__, *OTHER_BODIES) if issubclass(kind, BaseModel)}
    kind = kinds[body.rpartition("/")[2].removesuffix("-Input")]
    assert kind.model_fields.keys() <= event.model_fields.keys()
    assert kind not in {Event, BaseModel}


@pytest.mark.parametrize("kind", ROWS)
def test_every_column_is_documented(kind: str) -> None:
    """The text of its route, of its read model or of all read models names each member of a row."""
    route, read_model = ROWS[kind]
    assert is_named(read_model, headed(TEXT, route))
    general, *parts = re.split(r"^## ", READ_MODELS, flags=re.MULTILINE)
    [part] = [part for part in parts if read_model in part.partition("\n")[0]]
    described = headed(TEXT, route) + general + part
    assert [
        name for name in document()["components"]["schemas"][kind]["properties"] if not is_named(name, described)
    ] == []


def test_every_other_member_of_an_answer_is_documented() -> None:
    """Each member of the answers to writes, of the context, of the catalogue and of readiness is named."""
    pages = {name for name in document()["components"]["schemas"] if name.startswith("Page_")}
    other = {"FieldError", "HTTPValidationError", "ValidationError", "Problem", "Alive", *ROWS, *pages}
    for name in document()["components"]["schemas"].keys() - other:
        members = document()["components"]["schemas"][name].get("properties", {}).keys()
        row = {
            "ModelCallInFull": "ModelCall",
            "ClientInFull": "ClientRow",
            "ComparedRecommendation": "ShownRecommendation",
            "Decision": "ShownDecision",
            "Recommendation": "ShownRecommendation",
            "RequestSummary": "PortfolioRequest",
            "RecommendationSummary": "ShownRecommendation",
            "DecisionSummary": "ShownDecision",
        }.get(name)
        in_rows = set() if row is None else document()["components"]["schemas"][row]["properties"].keys()
        assert [member for member in members - in_rows if not is_named(member, TEXT + RULES)] == [], name


def test_each_documented_curl_answers_as_documented(
    server_url: str, template_database: Template, tmp_path: Path
) -> None:
    """Each curl, in its order on a fresh ledger, answers with the status listed here and the text that follows it."""
    sending: dict[str, Any] = {"job_kinds": KINDS, "webhooks": settings_in(tmp_path)}
    with ledger_copy(server_url, template_database) as url, served(url, **sending) as api:
        instead = {f"<the {role} token>": token for role, token in api.tokens.items()}
        pasted = Pasted(api.base, {**instead, **RECEIVER, "8001": str(free_port())}, CURL)
        for page in STATUSES:
            pasted.add(page)
        blocks = pasted.run(tmp_path, **variables(database_url=url, endpoint_keys=tmp_path))
    statuses = [int(line) for line in (tmp_path / "statuses").read_text().split()]
    assert statuses == [status for of_page in STATUSES.values() for status in of_page]
    for printed, expected in blocks:
        if expected is not None:
            check(printed, expected)


def test_limits_are_the_ones_documented() -> None:
    """The largest body is as large as the text says."""
    assert MAX_REQUEST_BYTES == 20 * 1024 * 1024
    assert "20 MiB" in TEXT

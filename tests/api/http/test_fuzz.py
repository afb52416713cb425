"""schemathesis over the OpenAPI document of the running application, as each role: no 5xx, nothing undocumented."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, cycle
from typing import Any
from uuid import uuid4

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.core.result import Ok
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.schemas import BaseSchema

from ledger.domain.subject import ROLES
from ledger.tlog.sign.signer_thread import SigningConfig
from tests.api.served import Api, served
from tests.ledger.tlog.logs import key_for

# The explicit phase sends examples and boundary values, made from the document, before the random ones.
COMMON: dict[str, Any] = {
    "deadline": None,
    "phases": [Phase.explicit, Phase.generate],
    "suppress_health_check": list(HealthCheck),
}
# What the document allows may still be refused, as a position must be there; and what it forbids may be right by the
# time it is sent, as our headers replace those of the case, and an extra parameter without a value vanishes.
NOT_MEANT = [positive_data_acceptance, negative_data_rejection]
TURNS = cycle(ROLES)
# Connections stay open, and no request looks for proxies in the environment.
SESSION = requests.Session()
SESSION.trust_env = False
# schemathesis makes up to 250 boundary values for an operation.
ONE_OF = 3


@schemathesis.serializer("application/x-ndjson")
def lines(_context: Any, value: Any) -> bytes:
    """The lines of a batch, which the document describes as a text."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def started(api: Api) -> int:
    """The id of a new model call."""
    call = {"provider_name": "p", "request_model": "m"}
    response = api.call("POST", f"/portfolio/requests/{api.asked()}/model-calls", "agent", json=call)
    return int(response.json()["model_call_id"])


def registered(api: Api) -> int:
    """The number of a new client."""
    response = api.call("POST", "/clients", "compliance", json={"client_id": uuid4().hex})
    return int(response.json()["client"])


# The thing that a write is about, made for it.
FRESH: dict[str, Callable[[Api], int]] = {
    "request_id": lambda api: api.asked(),
    "recommendation_id": lambda api: api.answered(api.asked()),
    "model_call_id": started,
    "client": registered,
}

# Who makes the last write, by a part of its path; others are an advisor's.
WRITERS = {
    "/portfolio/requests/": "agent",
    "/assignments": "agent",
    "/model-calls/": "agent",
    "/clients/": "compliance",
}
WRITERS |= dict.fromkeys(("/cases/", "/reviews", "/samples", "/review-items/", "/findings/"), "compliance")
WRITERS |= {"/prices/": "admin", "/monitoring/": "admin", "/endpoints/": "admin", "/deliveries/": "admin"}

# The operations of the document: a test has its name before there is an application. `schema` compares the two.
OPERATIONS = (
    "POST /portfolio/recommendations",
    "POST /portfolio/requests/{request_id}/recommendations",
    "POST /portfolio/requests/{request_id}/failures",
    "GET /assignments",
    "POST /assignments/{request_id}/claim",
    "GET /portfolio/requests/{request_id}/context",
    "POST /portfolio/requests/{request_id}/model-calls",
    "GET /portfolio/requests",
    "GET /portfolio/requests/{request_id}",
    "GET /recommendations",
    "GET /recommendations/{recommendation_id}",
    "POST /recommendations/{recommendation_id}/openings",
    "POST /recommendations/{recommendation_id}/decisions",
    "POST /decisions/{decision_id}/confirmations",
    "POST /recommendations/{recommendation_id}/communications",
    "POST /portfolio/requests/{request_id}/withdrawals",
    "POST /decisions/{decision_id}/withdrawals",
    "POST /decisions/{decision_id}/revocations",
    "POST /cases/{request_id}/reviews",
    "POST /reviews",
    "POST /disposals",
    "POST /samples",
    "GET /samples",
    "GET /samples/{sample}",
    "GET /reviews/queue",
    "POST /review-items/{item}/reassignments",
    "POST /cases/{request_id}/findings",
    "POST /clients/{client}/findings",
    "POST /findings/{finding}/assignments",
    "POST /findings/{finding}/closings",
    "GET /findings",
    "GET /findings/{finding}",
    "GET /decisions",
    "GET /decisions/{decision_id}",
    "POST /model-calls/{model_call_id}/completion",
    "POST /model-calls/{model_call_id}/failure",
    "GET /model-calls",
    "GET /model-calls/{model_call_id}",
    "GET /agents",
    "POST /me/signing-keys",
    "GET /me",
    "GET /subjects",
    "GET /subjects/{name}",
    "GET /subjects/{name}/credentials",
    "POST /subjects/{name}/registrations",
    "POST /subjects/{name}/roles",
    "POST /subjects/{name}/role-revocations",
    "POST /subjects/{name}/suspensions",
    "POST /subjects/{name}/resumptions",
    "POST /subjects/{name}/memberships",
    "POST /subjects/{name}/membership-ends",
    "POST /subjects/{name}/credentials",
    "POST /subjects/{name}/identities",
    "POST /subjects/{name}/revocations",
    "GET /subject-changes",
    "POST /subject-changes/{change_id}/confirmations",
    "POST /subject-changes/{change_id}/declines",
    "POST /agents/{name}/registrations",
    "POST /agents/{name}/suspensions",
    "POST /agents/{name}/resumptions",
    "GET /reports/{report}",
    "GET /access",
    "GET /access/counts",
    "POST /clients",
    "POST /clients/{client}/aliases",
    "POST /clients/{client}/merges",
    "POST /clients/{client}/assignments",
    "POST /client-assignments",
    "POST /holdings",
    "POST /corporate-actions",
    "POST /flows",
    "POST /valuations",
    "POST /portfolios/{name}/flows",
    "POST /clients/{client}/unassignments",
    "GET /clients",
    "GET /clients/{client}",
    "GET /clients/{client}/timeline",
    "GET /cases/{request_id}",
    "GET /cases/{request_id}/knowledge",
    "GET /cases/{request_id}/diff",
    "GET /events",
    "GET /events/stream",
    "GET /events/{position}",
    "PUT /portfolios/{name}",
    "PUT /portfolios/{name}/holdings",
    "GET /portfolios",
    "GET /portfolios/{name}",
    "GET /portfolios/{name}/drift",
    "POST /portfolios/{name}/rebalancing",
    "POST /prices/{day}",
    "GET /prices/{day}",
    "PUT /policies/monitoring/{name}",
    "PUT /endpoints/{name}",
    "GET /policies/monitoring/{name}",
    "POST /monitoring/runs",
    "GET /monitoring/runs",
    "GET /monitoring/runs/{run}",
    "GET /monitoring/runs/{run}/replay",
    "GET /monitoring/runs/{run}/would-be",
    "GET /alerts",
    "GET /alerts/{alert}",
    "POST /alerts/{alert}/acknowledgements",
    "POST /alerts/{alert}/silences",
    "POST /alerts/{alert}/closings",
    "GET /notifications",
    "GET /flows",
    "GET /valuations",
    "GET /corporate-actions",
    "POST /exports",
    "GET /exports",
    "GET /exports/{export}",
    "GET /exports/{export}/file",
    "GET /jobs",
    "GET /endpoints",
    "GET /endpoints/{name}",
    "GET /deliveries",
    "GET /deliveries/{delivery}",
    "POST /deliveries/{delivery}/resends",
    "GET /jobs/{job}",
    "POST /jobs/{job}/cancellation",
    "GET /clients/{client}/erasure",
    "POST /clients/{client}/erasure",
    "POST /erasures/{erasure}/confirmations",
    "POST /erasures/{erasure}/declines",
    "GET /erasures",
    "GET /erasures/{erasure}",
    "GET /erasures/{erasure}/certificate",
    "POST /clients/{client}/legal-holds",
    "POST /legal-holds/{hold}/releases",
    "GET /legal-holds",
    "GET /legal-holds/{hold}",
    "POST /v1/traces",
    "POST /v1/logs",
    "GET /checkpoint",
    "GET /tile/{path}",
    "GET /proofs/inclusion/{position}.tlog-proof",
    "GET /proofs/inclusion/{position}.receipt",
    "GET /proofs/inclusion/{position}",
    "GET /proofs/consistency",
    "GET /schemas",
    "GET /schemas/{event_type}",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
)


@pytest.fixture(scope="module")
def api(module_ledger: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The application with a key, so that it makes receipts too."""
    signing = SigningConfig(key_for(module_ledger), tmp_path_factory.mktemp("log") / "last")
    with served(module_ledger, signing=signing) as found:
        yield found


@pytest.fixture(scope="module")
def schema(api: Api) -> BaseSchema:
    """The document of the running application. It has exactly OPERATIONS."""
    loaded = schemathesis.openapi.from_dict(api.get("/openapi.json", None).json())
    results = list(loaded.get_all_operations())
    assert {result.ok().label for result in results if isinstance(result, Ok)} == set(OPERATIONS)
    assert len(results) == len(OPERATIONS)
    return loaded


@pytest.fixture(scope="module")
def filled(api: Api) -> Api:
    """The running application, with something to read in its ledger."""
    for _ in range(3):
        api.answered(api.asked())
        api.asked()
        started(api)
    return api


def check(case: Case[Any], api: Api, *roles: str) -> None:
    """Sends the case in these roles, then writes once more with nothing in the way, and checks each response."""
    for role in roles:
        send(case, api, role)
    if case.method == "POST":
        role = next((role for part, role in WRITERS.items() if part in case.path), "advisor")
        for name in case.path_parameters.keys() & FRESH.keys():
            case.path_parameters[name] = FRESH[name](api)
        send(case, api, role, **{"Idempotency-Key": uuid4().hex})


def send(case: Case[Any], api: Api, role: str, **headers: str) -> None:
    """One response, held against the document."""
    headers["Authorization"] = f"Bearer {api.tokens[role]}"
    if case.path == "/events/stream":
        case.query = {**(case.query or {}), "position_to": "1"}  # others would not end
    case.call_and_validate(base_url=api.base, session=SESSION, headers=headers, excluded_checks=NOT_MEANT)


def fuzz(schema: BaseSchema, operation: str, max_examples: int, test: Callable[[Case[Any]], None]) -> None:
    """Run the test with the examples, boundary values and random cases that schemathesis makes for an operation."""
    one = schema.include(name=operation)
    limits = settings(max_examples=max_examples, **COMMON)
    [made] = get_all_tests(schema=one, test_func=test, settings=limits, given_kwargs={})
    assert isinstance(made, Ok)
    _, run = made.ok()
    run()


# It cannot make exports in protobuf; tests/api/otlp sends those.
@pytest.mark.filterwarnings("ignore:Skipped test cases with unsupported payload")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_response_is_undocumented(operation: str, schema: BaseSchema, filled: Api) -> None:
    """Whatever is sent, valid or not: no 5xx, and status, type, headers and body as documented. Roles take turns.

    One of ONE_OF cases is sent; the slow test below sends all of them.
    """

    numbers = count()

    def send_in_turn(case: Case[Any]) -> None:
        if next(numbers) % ONE_OF == 0:
            check(case, filled, next(TURNS))

    fuzz(schema, operation, 3, send_in_turn)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Skipped test cases with unsupported payload")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_response_is_undocumented_for_long(operation: str, schema: BaseSchema, filled: Api) -> None:
    """The same with every case and many times as many random requests, each in two roles, which take turns."""
    fuzz(schema, operation, 25, lambda case: check(case, filled, next(TURNS), next(TURNS)))

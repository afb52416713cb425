"""schemathesis over the OpenAPI document of the running application, as each role: no 5xx, nothing undocumented."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import negative_data_rejection, positive_data_acceptance
from schemathesis.core.result import Ok
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.schemas import BaseSchema

from api.http.auth.tokens import ROLES
from tests.api.served import Api

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


def started(api: Api) -> int:
    """The id of a new model call."""
    call = {"provider_name": "p", "request_model": "m"}
    response = api.call("POST", f"/portfolio/requests/{api.asked()}/model-calls", "agent", json=call)
    return int(response.json()["model_call_id"])


# The thing that a write is about, made for it.
FRESH: dict[str, Callable[[Api], int]] = {
    "request_id": lambda api: api.asked(),
    "recommendation_id": lambda api: api.answered(api.asked()),
    "model_call_id": started,
}

# The operations of the document: a test has its name before there is an application. `schema` compares the two.
OPERATIONS = (
    "POST /portfolio/recommendations",
    "POST /portfolio/requests/{request_id}/recommendations",
    "POST /portfolio/requests/{request_id}/failures",
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
    "GET /decisions",
    "GET /decisions/{decision_id}",
    "POST /model-calls/{model_call_id}/completion",
    "POST /model-calls/{model_call_id}/failure",
    "GET /model-calls",
    "GET /model-calls/{model_call_id}",
    "GET /agents",
    "POST /agents/{name}/registrations",
    "POST /agents/{name}/suspensions",
    "POST /agents/{name}/resumptions",
    "GET /reports/{report}",
    "POST /v1/traces",
    "POST /v1/logs",
    "GET /checkpoint",
    "GET /tile/{path}",
    "GET /proofs/inclusion/{position}.tlog-proof",
    "GET /proofs/inclusion/{position}",
    "GET /proofs/consistency",
    "GET /schemas",
    "GET /schemas/{event_type}",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
)


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
        role = "agent" if "/portfolio/requests/" in case.path or "/model-calls/" in case.path else "advisor"
        for name in case.path_parameters.keys() & FRESH.keys():
            case.path_parameters[name] = FRESH[name](api)
        send(case, api, role, **{"Idempotency-Key": uuid4().hex})


def send(case: Case[Any], api: Api, role: str, **headers: str) -> None:
    """One response, held against the document."""
    headers["Authorization"] = f"Bearer {api.tokens[role]}"
    case.call_and_validate(base_url=api.base, headers=headers, excluded_checks=NOT_MEANT)


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
    """Whatever is sent, valid or not: no 5xx, and status, type, headers and body as documented. Roles take turns."""

    def send_in_turn(case: Case[Any]) -> None:
        check(case, filled, next(TURNS))

    fuzz(schema, operation, 3, send_in_turn)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:Skipped test cases with unsupported payload")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_response_is_undocumented_for_long(operation: str, schema: BaseSchema, filled: Api) -> None:
    """The same, with many times as many random requests, each in every role."""

    def send_in_each_role(case: Case[Any]) -> None:
        check(case, filled, *ROLES)

    fuzz(schema, operation, 100, send_in_each_role)

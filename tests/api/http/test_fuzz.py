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

from api.app import create_app
from api.http.auth.tokens import ROLES
from api.services import Parts
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

schema = schemathesis.openapi.from_dict(create_app(Parts("postgresql://nowhere")).openapi())


@pytest.fixture(scope="module")
def filled(api: Api) -> Api:
    """The running application, whose document this is, with something to read in its ledger."""
    assert api.get("/openapi.json", None).json() == schema.raw_schema
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


# It cannot make exports in protobuf; tests/api/otlp sends those.
@pytest.mark.filterwarnings("ignore:Skipped test cases with unsupported payload")
@schema.parametrize()
@settings(max_examples=3, **COMMON)
def test_no_response_is_undocumented(case: Case[Any], filled: Api) -> None:
    """Whatever is sent, valid or not: no 5xx, and status, type, headers and body as documented. Roles take turns."""
    check(case, filled, next(TURNS))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore:Skipped test cases with unsupported payload")
@schema.parametrize()
@settings(max_examples=100, **COMMON)
def test_no_response_is_undocumented_for_long(case: Case[Any], filled: Api) -> None:
    """The same, with many times as many random requests, each in every role."""
    check(case, filled, *ROLES)

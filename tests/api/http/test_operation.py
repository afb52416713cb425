"""The routes for operators: /healthz, /readyz, /metrics, the documents; and the catalogue of events."""

from __future__ import annotations

import re

import psycopg
import pytest
from jsonschema_rs import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families

from api.http.problem_types import PROBLEMS
from projections.registry import all_models
from schema.events import CATALOGUE
from schema.migrate import migrate
from tests.api.served import Api, make_tokens, problem, served
from tests.support import connect, eventually, scratch_database


def test_healthz_answers_anybody(api: Api) -> None:
    """/healthz says that the process answers, to anybody."""
    response = api.get("/healthz", None)
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


def test_readyz_names_the_head_and_each_read_model(api: Api) -> None:
    """/readyz names the ledger, its head, and where each read model stands."""
    api.asked()
    position, head_hash = api.head()

    def caught_up() -> bool:
        found = api.get("/readyz", None).json()
        assert (found["status"], found["reasons"]) == ("ready", [])
        assert (found["position"], found["hash"]) == (position, head_hash)
        assert {state["name"] for state in found["read_models"]} == {found.name for found in all_models()}
        return all(state["lag"] == 0 and state["error"] is None for state in found["read_models"])

    eventually("the read models", caught_up)


def test_not_ready_when_a_read_model_stands_still(fresh_api: Api) -> None:
    """A broken read model makes /readyz a 503 with its name and error, and strong reads of it a 503; writes go on."""
    with connect(fresh_api.url) as conn:
        conn.execute("ALTER TABLE portfolio_requests RENAME COLUMN stream TO stream_2")
    assert fresh_api.ask(amount_usd=11).status_code == 202
    response = eventually("a reason", lambda: (found := fresh_api.get("/readyz", None)).status_code == 503 and found)
    assert "portfolio_requests" in response.json()["reasons"][0]
    broken = {state["name"]: state["error"] for state in response.json()["read_models"]}
    assert "42703" in broken["portfolio_requests"]
    assert broken["ai_recommendations"] is None
    found = problem(fresh_api.get("/portfolio/requests"), 503, "unavailable")
    assert "portfolio_requests" in found["detail"]
    assert fresh_api.get("/portfolio/requests", consistency="eventual").json()["items"] == []
    assert fresh_api.get("/recommendations").status_code == 200
    assert fresh_api.ask(amount_usd=12).status_code == 202
    with connect(fresh_api.url) as conn:
        conn.execute("ALTER TABLE portfolio_requests RENAME COLUMN stream_2 TO stream")
        conn.execute("UPDATE projections SET error = NULL")
    eventually("recovery", lambda: fresh_api.get("/readyz", None).status_code == 200)
    assert len(fresh_api.items("/portfolio/requests")) == 2


@pytest.mark.usefixtures("template_database")  # a ledger on the same server: the roles are there, the tables are not
def test_a_database_without_a_ledger(server_url: str) -> None:
    """Before `migrate`, everything that needs the database is a 503 that says so, and nothing is a 500."""
    with scratch_database(server_url) as url, served(url, tokens=dict.fromkeys(("advisor", "auditor"), "x")) as api:
        response = api.get("/readyz", None)
        assert response.status_code == 503
        assert "migrate" in response.json()["reasons"][0]
        assert "migrate" in problem(api.ask(), 503, "unavailable")["detail"]
        assert api.get("/healthz", None).status_code == 200


def test_a_ledger_without_read_models_says_what_is_missing(server_url: str) -> None:
    """After `migrate` alone, /readyz and callers are told what is missing: tokens are looked up in a read model."""
    with scratch_database(server_url) as url:
        with connect(url) as conn:
            migrate(conn)
        with served(url, tokens=make_tokens(url), patience_s=3) as api:
            assert "rebuild" in api.get("/readyz", None).json()["reasons"][0]
            for response in (api.get("/portfolio/requests"), api.ask()):
                assert "advice-ledger" in problem(response, 503, "unavailable")["detail"]


def test_metrics_count_responses_and_name_nobody(api: Api) -> None:
    """/metrics counts responses by method, route and status in the text format, and names nobody."""
    api.ask(client_id="somebody")
    api.get("/portfolio/requests/1", client_id="somebody")
    api.call("GET", "/somebody")
    api.call("BREW", "/portfolio/requests")
    response = api.get("/metrics", None)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    samples = families["advice_ledger_http_responses"].samples
    counted = {(s.labels["method"], s.labels["route"], s.labels["status"]) for s in samples}
    assert ("POST", "/portfolio/recommendations", "202") in counted
    assert ("GET", "/portfolio/requests/{request_id}", "422") in counted
    assert ("GET", "none", "404") in counted
    assert "somebody" not in response.text


def test_metrics_has_no_label_of_the_callers_choice(api: Api) -> None:
    """Labels come from our own routes and a fixed set of methods."""
    for family in text_string_to_metric_families(api.get("/metrics", None).text):
        for sample in family.samples:
            assert re.fullmatch(r"[A-Z]{3,7}|other", sample.labels.get("method", "GET"))


def test_the_openapi_document_names_every_problem(api: Api) -> None:
    """/docs shows each operation, parameter and schema of /openapi.json, with links that lead somewhere in it."""
    page = api.get("/docs", None)
    assert page.headers["content-type"].startswith("text/html")
    document = api.get("/openapi.json", None).json()
    assert document["info"]["title"] == "advice-ledger"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert f'id="{method.upper()} {path}"' in page.text
            assert all(f"<code>{one['name']}</code>" in page.text for one in operation.get("parameters", ()))
    assert all(f'id="{name}"' in page.text for name in document["components"]["schemas"])
    assert set(re.findall('href="#([^"]+)"', page.text)) <= set(re.findall('id="([^"]+)"', page.text))


KEPT = (
    "/me/",
    "/subjects",
    "/subject-changes",
    "/assignments",
    "/portfolio",
    "/recommendations",
    "/decisions",
    "/model-calls",
    "/agents",
    "/reports",
    "/proofs",
    "/reviews",
    "/samples",
    "/review-items",
    "/findings",
    "/access",
    "/clients",
    "/events",
    "/endpoints",
    "/deliveries",
    "/cases",
    "/client-assignments",
    "/holdings",
    "/corporate-actions",
    "/flows",
    "/valuations",
    "/prices",
    "/policies",
    "/monitoring",
    "/alerts",
    "/notifications",
    "/jobs",
    "/exports",
    "/legal-holds",
    "/erasures",
    "/disposals",
)


def test_the_document_has_permissions_and_problems(api: Api) -> None:
    """Each route that takes a token documents it with 401, 403, 422 and 503; each write also 400, 409, 413 and 415."""
    document = api.get("/openapi.json", None).json()
    [(scheme, kind)] = document["components"]["securitySchemes"].items()
    assert (kind["type"], kind["scheme"]) == ("http", "bearer")
    statuses = {str(status) for status in PROBLEMS.values()}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            problems = operation["responses"].keys() & statuses
            if path.startswith("/v1/"):
                assert operation["security"] == [{scheme: []}]  # its errors are OTLP's: docs/use/opentelemetry.md
            elif path == "/me" or path.startswith(KEPT):
                assert operation["security"] == [{scheme: []}]
                assert problems >= {"401", "403", "422", "503"}
                assert method not in {"post", "put"} or problems >= {"400", "409", "413", "415"}
                assert "{" not in path or path.startswith("/reports") or "404" in problems
                for status in problems:
                    assert operation["responses"][status]["content"].keys() == {"application/problem+json"}
            else:
                assert "security" not in operation
    assert "Problem" in document["components"]["schemas"]


def test_schemas_describe_what_is_recorded(api: Api) -> None:
    """/schemas has each event type with a JSON Schema that what is recorded of it keeps to."""
    found = {item["type"]: item for item in api.get("/schemas", None).json()}
    assert found.keys() == CATALOGUE.keys()
    request_id = api.asked(objectives=["a"], constraints={"max_equity": 0.5}, horizon_years=3)
    api.answered(request_id)
    with connect(api.url) as conn:
        rows = conn.execute("SELECT type, body::json->'data', fields FROM events JOIN sealed_fields USING (position)")
        for name, data, sealed in rows.fetchall():
            item = found[name]
            assert api.get(f"/schemas/{name}", None).json() == item
            assert set(item["sealed"]) == CATALOGUE[name].sealed >= sealed.keys()
            Draft202012Validator(item["json_schema"]).validate({**data, **sealed})


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/schemas", "/openapi.json"])
def test_public_routes_answer_without_a_token(api: Api, path: str) -> None:
    """Routes that name no client need no token."""
    assert api.get(path, None).status_code == 200


def test_the_reader_cannot_write(module_ledger: str) -> None:
    """The connections that answer reads may change nothing, whatever a bug would have them run."""
    from ledger.database import conninfo

    with psycopg.connect(conninfo(module_ledger, "reader"), autocommit=True) as conn:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("SELECT append('')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute("DELETE FROM portfolio_requests")

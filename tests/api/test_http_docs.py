"""docs/http.md says what the application does: its routes, parameters, members and problems, no fewer and no others."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import httpx

from api.app import MAX_REQUEST_BYTES, create_app
from api.errors import PROBLEMS
from api.settings import AppSettings
from schema.events import PortfolioRequested, RecommendationRecorded
from schema.fields import Constraints
from tests.api.served import Api

TEXT = (Path(__file__).parents[2] / "docs" / "http.md").read_text("utf-8")
DOCUMENT = create_app(AppSettings("postgresql://nowhere")).openapi()


def test_every_problem_is_documented() -> None:
    """The table of problems is the table in api/errors.py."""
    rows = re.findall(r"^\| `/problems/([a-z-]+)` \| (\d+) \| \S", TEXT, re.MULTILINE)
    assert [(slug, int(status)) for slug, status in rows] == [(slug, status) for slug, (status, _) in PROBLEMS.items()]


def test_every_route_is_documented() -> None:
    """Each path of the OpenAPI document stands in the text, with its methods where it has a heading of its own."""
    for path, operations in DOCUMENT["paths"].items():
        assert f"`{path}`" in TEXT or any(f"`{method.upper()} {path}`" in TEXT for method in operations), path


def test_every_parameter_is_documented() -> None:
    """Each query parameter stands in the table, and the table has no others."""
    table = TEXT.partition("| parameter | on |")[2].partition("\n\n")[0]
    documented = {
        name
        for row in table.splitlines()
        for name in re.findall(r"`(\w+)`", row.split("|")[1:2][0] if "|" in row else "")
    }
    actual = {
        parameter["name"]
        for operations in DOCUMENT["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query"
    }
    assert documented == actual


def test_every_member_is_documented() -> None:
    """Each member that may be sent stands in a table, sealed where it is; members of constraints beside it."""
    for kind in (PortfolioRequested, RecommendationRecorded):
        for name in kind.model_fields:
            [row] = re.findall(rf"^\| `{name}` \|.*$", TEXT.partition("## Reading")[0], re.MULTILINE)
            assert row.endswith("; sealed |") == (name in kind.sealed), name
    assert all(f"`{name}`" in TEXT for name in Constraints.model_fields)


def test_every_column_is_documented() -> None:
    """Each member of a row is named."""
    for name in ("PortfolioRequest", "Recommendation", "ProjectionState", "Readiness", "EventSchema"):
        for column in DOCUMENT["components"]["schemas"][name]["properties"]:
            assert f"`{column}`" in TEXT, column


def test_the_examples_work(fresh_api: Api) -> None:
    """Each curl, in its order on a fresh ledger, succeeds; the first answers what the text says."""
    statuses, bodies = [], []
    for command in re.findall(r"^curl (?:.*\\\n)*.*", TEXT, re.MULTILINE):
        response = run(fresh_api, command.replace("\\\n", " "))
        statuses.append(response.status_code)
        bodies.append(response.text)
    assert statuses == [202, 201, 200, 200, 200]
    assert f"\n{bodies[0]}\n" in TEXT


def run(api: Api, command: str) -> httpx.Response:
    """What curl would do for this command."""
    words = shlex.split(
        command.replace('"$A"', "advisor").replace('"$G"', "agent").replace("http://127.0.0.1:8000", "")
    )
    [path] = [word for word in words if word.startswith("/")]
    given = list(pairwise(words))
    [role] = [value for name, value in given if name == "-H" and value in api.tokens]
    headers = dict(value.split(": ") for name, value in given if name == "-H" and value not in api.tokens)
    body = next((value for name, value in given if name == "-d"), None)
    return api.call("POST" if body else "GET", path, role, headers=headers, content=body)


def test_limits_are_the_ones_documented() -> None:
    """The largest body is as large as the text says."""
    assert MAX_REQUEST_BYTES == 20 * 1024 * 1024
    assert "20 MiB" in TEXT

"""Each read takes `as_of`, or has a reason why not; and it reads then what a ledger of the events up to then holds."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import make_conninfo

from api.app import create_app
from api.services import Parts
from ledger.database import conninfo
from ledger.store import events as store
from schema.events import ModelCallStarted
from tests.api.served import Api, make_tokens, served
from tests.conftest import Template, copy_database
from tests.projections.histories import Past, batches, lines
from tests.support import append, connect, new, requested

# Reads without `as_of`, and the reason.
NOT_EVENTS = "it is no view of recorded events"
WITHOUT = {
    "/assignments": "agents ask what waits now, and claims are no events",
    "/jobs": NOT_EVENTS,
    "/jobs/{job}": NOT_EVENTS,
    "/me": "who is calling, now",
    "/healthz": NOT_EVENTS,
    "/readyz": NOT_EVENTS,
    "/metrics": NOT_EVENTS,
    "/schemas": NOT_EVENTS,
    "/schemas/{event_type}": NOT_EVENTS,
    "/endpoints": "what messages are sent to now; each version is an event of GET /events",
    "/endpoints/{name}": "the same",
    "/policies/monitoring/{name}": "takes the version instead",
    "/prices/{day}": "takes the version instead",
    "/subject-changes": "what waits now for a second administrator",
    "/clients/{client}/erasure": "what an erasure now would delete",
    "/erasures/{erasure}/certificate": "a document, of the time that it states",
    "/monitoring/runs/{run}/replay": "computes the run again, as of the position that the run recorded",
    "/monitoring/runs/{run}/would-be": "compares the run with what is known now",
    "/exports/{export}/file": "a file",
    "/access/counts": "days, which `from` and `to` name",
    "/checkpoint": "takes no position, but what is signed",
    "/tile/{path}": "a part of the transparency log, by its number",
    "/proofs/inclusion/{position}": "takes the size of the tree instead",
    "/proofs/inclusion/{position}.receipt": "the same",
    "/proofs/inclusion/{position}.tlog-proof": "the same",
    "/proofs/consistency": "takes two sizes",
}
# Who reads each list. Others are for compliance.
READERS = {"/subjects": "admin", "/portfolio/requests/{request_id}/context": "agent"}
# The list with the numbers or names that a path takes.
LISTS = {
    "request_id": "/portfolio/requests",
    "recommendation_id": "/recommendations",
    "decision_id": "/decisions",
    "model_call_id": "/model-calls",
    "delivery": "/deliveries",
    "client": "/clients",
    "hold": "/legal-holds",
    "erasure": "/erasures",
    "run": "/monitoring/runs",
    "alert": "/alerts",
    "export": "/exports",
    "sample": "/samples",
    "finding": "/findings",
    "position": "/events",
}
NAMES = {"/subjects/": "/subjects", "/portfolios/": "/portfolios"}
STREAMED = "/events/stream"
# Members that tell of now on purpose: what is proven by now, and what is known now beside what was known then.
OF_NOW = {"checkpoint", "now", "request_now", "last_used_at"}

Document = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Document:
    """The OpenAPI document."""
    return dict(create_app(Parts("postgresql://nowhere")).openapi())


def parameters(document: Document, path: str) -> dict[str, Any]:
    """The parameters of a route to read, by name."""
    return {one["name"]: one for one in document["paths"][path]["get"].get("parameters", ())}


def reads(document: Document) -> list[str]:
    """The routes that take `as_of`."""
    gets = [path for path, methods in document["paths"].items() if "get" in methods]
    return [path for path in gets if "as_of" in parameters(document, path)]


def test_each_read_takes_as_of_or_has_a_reason(document: Document) -> None:
    """The list of exceptions names each route without it, and no other."""
    gets = {path for path, methods in document["paths"].items() if "get" in methods}
    assert gets - set(reads(document)) == WITHOUT.keys()


def test_a_client_is_not_known_before_it_was_named(database_url: str) -> None:
    """An event of a stream that names its client later has no client as of then, and no search for it finds it."""
    with connect(database_url) as conn:
        append(conn, new("request-1", ModelCallStarted(provider_name="p", request_model="m")))
        append(conn, new("request-2", requested()))
        append(conn, new("request-1", requested()))
    with served(database_url) as api:
        for upto, client, found in ((2, None, {2}), (3, "client-1", {1, 2, 3})):
            [first] = api.items("/events", as_of=upto, position_to=1)
            assert first["client_id"] == client
            mine = api.items("/events", as_of=upto, client_id="client-1")
            assert {event["position"] for event in mine} == found


@contextlib.contextmanager
def copied(server_url: str, template: str) -> Iterator[str]:
    """Yield a copy of a database that nobody is connected to."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        copy_database(admin, template, name)
        try:
            yield make_conninfo(server_url, dbname=name)
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def fill(url: str, past: Past, data: st.DataObject, most: int) -> None:
    """Append some batches of events."""

    async def work() -> None:
        async with await psycopg.AsyncConnection.connect(conninfo(url, "writer"), autocommit=True) as conn:
            for _ in range(data.draw(st.integers(1, most))):
                await store.append(conn, lines(data.draw(batches(past))))

    asyncio.run(work())


def name_of(url: str) -> str:
    """The name of a database."""
    with connect(url) as conn:
        return str(conn.info.dbname)


def drawn(api: Api, document: Document, path: str, data: st.DataObject) -> str | None:
    """The path with a number or name that is there now, or None without one."""
    for name, one in parameters(document, path).items():
        if one["in"] != "path":
            continue
        if "enum" in one["schema"]:
            known = one["schema"]["enum"]
        else:
            found = next((path_ for begin, path_ in NAMES.items() if path.startswith(begin)), None) or LISTS[name]
            rows = read(api, found, {"limit": 200}).json()["items"]
            known = sorted({row.get("name", row.get("id", row.get("position"))) for row in rows})
        if not known:
            return None
        path = path.replace(f"{{{name}}}", str(data.draw(st.sampled_from(known))))
    return path


def read(api: Api, path: str, query: dict[str, Any]) -> httpx.Response:
    """Read in a role that may."""
    role = next((role for begin, role in READERS.items() if path.startswith(begin)), "compliance")
    return api.get(path, "agent" if path.endswith("/context") else role, **query)


def shown(response: httpx.Response) -> Any:
    """The status and the content, but for what is of now."""
    if response.headers["content-type"].startswith("text/event-stream"):
        return response.status_code, [line for line in response.text.splitlines() if not line.startswith(":")]
    return response.status_code, without(response.json())


def without(value: Any) -> Any:
    """The value without the members that are of now."""
    if isinstance(value, dict):
        return {name: without(each) for name, each in value.items() if name not in OF_NOW}
    return [without(each) for each in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_as_of_is_a_ledger_of_the_events_up_to_then(
    server_url: str, template_database: Template, document: Document
) -> None:
    """For any history and any position: the same answers as a ledger that recorded nothing after it."""

    # Each example has two ledgers and two servers; a smaller example would take minutes to find.
    @settings(max_examples=2, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        with copied(server_url, template_database.name) as whole:
            tokens = make_tokens(whole)
            with connect(whole) as conn:
                [(head,)] = conn.execute("SELECT position FROM head").fetchall()
            past = Past("1", head + 1)
            fill(whole, past, data, 4)
            upto = past.next_position - 1
            with copied(server_url, name_of(whole)) as earlier:
                fill(whole, past, data, 4)
                with served(whole, tokens=tokens) as now, served(earlier, tokens=tokens) as then:
                    places = [compare(now, then, document, path, upto, data) for path in reads(document)]
                    assert [place for place in places if place] == []

    check()


def compare(now: Api, then: Api, document: Document, path: str, upto: int, data: st.DataObject) -> str | None:
    """Read a route as of a position in both ledgers; return what differs."""
    place = drawn(now, document, path, data)
    if place is None:
        return None
    query: dict[str, Any] = {"as_of": upto}
    names = parameters(document, path)
    if "order" in names:
        query |= {"order": data.draw(st.sampled_from(["newest", "oldest"])), "count": "true"}
    if "since" in names:
        query["since"] = 1
    answers = [read(api, place, query) for api in (now, then)]
    assert answers[0].status_code in {200, 404, 409, 503}, (place, answers[0].text)
    if shown(answers[0]) == shown(answers[1]):
        return None
    lines_ = [answer.text.replace("{", "\n{").splitlines() for answer in answers]
    return "\n".join([place, *difflib.unified_diff(lines_[0], lines_[1], n=0, lineterm="")])

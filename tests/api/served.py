"""The application behind a real uvicorn on a free port, with a ledger of its own, and a client for tests."""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import uvicorn
from fastapi import FastAPI
from psycopg import sql
from psycopg.conninfo import make_conninfo
from starlette.applications import Starlette

from api.app import create_app
from api.http.connections import Connections
from api.http.server import server_config
from api.services import Parts
from ledger.database import RoleLogins
from ledger.domain.subject import ROLES
from ledger.verify.database import verify_chain
from projections import compare
from projections.registry import all_models
from tests.conftest import Template, copy_database
from tests.subjects import subjects
from tests.support import check_chain, connect, eventually

START_S = 30.0
# How long the application waits for its database: a busy machine is no outage.
PATIENCE_S = 20.0
PROBLEM_JSON = "application/problem+json"
COMMANDS = "SELECT count(*) FROM events WHERE type <> 'access.recorded'"
ASK = {"client_id": "client-1", "risk_profile": "balanced", "amount_usd": "250000.50"}
ASKS = "/portfolio/recommendations"
ANSWER = {"recommendation": {"weights": {"cash": "1.0000"}}, "model_name": "model-a"}


@contextlib.contextmanager
def ledger_copy(server_url: str, template: Template) -> Iterator[str]:
    """Yield the URL of a fresh ledger; check its chain and read models if the block succeeds."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        copy_database(admin, template.name, name)
        try:
            yield make_conninfo(server_url, dbname=name)
            check_ledger(make_conninfo(server_url, dbname=name))
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def check_ledger(url: str) -> list[Any]:
    """Return the events, after recomputing the chain twice and comparing each read model with its fold."""
    with connect(url, "verifier") as conn:
        report = verify_chain(conn)
        assert report.ok, report
        for read_model in all_models():
            found = compare.check(conn, read_model)
            assert (found.error, found.differences) == (None, ())
    with connect(url) as conn:
        return check_chain(conn)


def make_tokens(url: str, prefix: str = "") -> dict[str, str]:
    """Make a token for each role, named `prefix` + role; return the tokens by role."""
    made = subjects(url, {f"{prefix}{role}": role for role in ROLES})
    return {role: made[f"{prefix}{role}"] for role in ROLES}


@dataclass
class Api:
    """A running application. `url` is the address of its database, `base` its own."""

    url: str
    base: str
    tokens: dict[str, str]
    app: FastAPI
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60))

    def call(self, method: str, path: str, role: str | None = "advisor", **how: Any) -> httpx.Response:
        """Send a request and return the response, also an error. `role` None sends no token."""
        headers = dict(how.pop("headers", {}))
        if role is not None:
            headers.setdefault("Authorization", f"Bearer {self.tokens[role]}")
        return self.client.request(method, self.base + path, headers=headers, **how)

    def get(self, path: str, role: str | None = "compliance", **params: Any) -> httpx.Response:
        """Send GET with query parameters."""
        return self.call("GET", path, role, params=params)

    def ask(self, **how: Any) -> httpx.Response:
        """POST /portfolio/recommendations with ASK, changed by these members."""
        key = how.pop("key", None)
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.call("POST", "/portfolio/recommendations", "advisor", json={**ASK, **how}, headers=headers)

    def asked(self, **how: Any) -> int:
        """Post a request; return its id."""
        response = self.ask(**how)
        assert response.status_code == 202, response.text
        return int(response.json()["request_id"])

    def answer(self, request_id: int, role: str = "agent", **how: Any) -> httpx.Response:
        """POST an agent's ANSWER to a request, changed by these members."""
        key = how.pop("key", None)
        headers = {} if key is None else {"Idempotency-Key": key}
        path = f"/portfolio/requests/{request_id}/recommendations"
        return self.call("POST", path, role, json={**ANSWER, **how}, headers=headers)

    def answered(self, request_id: int, **how: Any) -> int:
        """Post an answer; return the id of the recommendation."""
        response = self.answer(request_id, **how)
        assert response.status_code == 201, response.text
        return int(response.json()["recommendation_id"])

    def items(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """Return the items of a list's first page."""
        response = self.get(path, **params)
        assert response.status_code == 200, response.text
        found: list[dict[str, Any]] = response.json()["items"]
        return found

    def head(self) -> tuple[int, str]:
        """Read the position and hash of the newest event from the database."""
        with connect(self.url) as conn:
            row = conn.execute("SELECT position, encode(hash, 'hex') FROM head").fetchone()
        assert row is not None
        return row[0], row[1]

    def commands(self) -> int:
        """Count the events that are not about who reads or is refused."""
        with connect(self.url) as conn:
            return int(conn.execute(COMMANDS).fetchall()[0][0])

    @contextlib.contextmanager
    def records_nothing(self) -> Iterator[None]:
        """Assert that the block records nothing, but for who reads or is refused."""
        before = self.commands()
        yield
        assert self.commands() == before


def read_beside(api: Api, *posts: Callable[[], httpx.Response]) -> list[httpx.Response]:
    """Run the posts at once, while another caller reads and each time has an answer within a second; return theirs."""
    path = f"/portfolio/requests/{api.asked()}"
    assert api.get(path).status_code == 200
    token = {"Authorization": f"Bearer {api.tokens['compliance']}"}
    reads = 0
    with ThreadPoolExecutor(len(posts)) as pool, httpx.Client(base_url=api.base, headers=token, timeout=1) as other:
        sent = [pool.submit(post) for post in posts]
        while not all(one.done() for one in sent):
            assert other.get(path).status_code == 200
            reads += 1
    assert reads, "the posts were over before the first read began"
    return [one.result() for one in sent]


def problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """Assert that the response is exactly this problem; return it."""
    assert (response.status_code, response.headers["content-type"]) == (status, PROBLEM_JSON), response.text
    found: dict[str, Any] = response.json()
    assert (found["type"], found["status"]) == (f"/problems/{slug}", status)
    assert found["title"]
    assert found["detail"]
    return found


def send(
    api: Api, path: str, body: bytes | str | Iterator[bytes], content_type: str | None = "application/json"
) -> httpx.Response:
    """Post exactly these bytes, in a role that is permitted."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    return api.call("POST", path, "advisor" if path == ASKS else "agent", content=body, headers=headers)


def fields(found: dict[str, Any]) -> list[str]:
    """Return the fields that a problem names."""
    return [error["field"] for error in found.get("errors", [])]


@contextlib.contextmanager
def served(url: str, *, logins: bool = False, tokens: dict[str, str] | None = None, **settings: Any) -> Iterator[Api]:
    """Yield the application once it takes requests; without a worker, unless the settings say otherwise.

    With `logins`, each connection has the login of its role.
    """
    where = RoleLogins(url) if logins else url
    app = create_app(Parts(where, **{"run_worker": False, "patience_s": PATIENCE_S, **settings}))
    with listening(app) as base:
        api = Api(url, base, make_tokens(url) if tokens is None else tokens, app)
        with api.client:
            yield api


@contextlib.contextmanager
def listening(app: Starlette, connections: Connections | None = None) -> Iterator[str]:
    """Serve an application with uvicorn in a thread, within these bounds of connections; yield its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(server_config(app, connections=connections, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, name="uvicorn", kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            eventually("the application starts", lambda: server.started or not thread.is_alive(), within_s=START_S)
            assert server.started, "the application did not start"
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(START_S)
            assert not thread.is_alive(), "the application did not stop"

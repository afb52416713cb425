"""Headers of every answer, HEAD, and an application that a proxy serves under a path."""

from __future__ import annotations

import re

import httpx
import pytest

from api.app import create_app
from api.services import Parts
from tests.api.http.test_connections import opened
from tests.api.served import ASK, ASKS, Api, listening

EVERYWHERE = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
PATHS = ["/healthz", "/readyz", "/metrics", "/docs", "/docs/style.css"]
PATHS += ["/verify.html", "/openapi.json", "/portfolio/requests", "/nope"]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_them(api: Api, path: str) -> None:
    """Nothing names the server, and browsers are told to trust nothing from elsewhere."""
    headers = api.get(path).headers
    assert "server" not in headers
    assert EVERYWHERE.items() <= dict(headers).items()
    assert headers["content-security-policy"].startswith("default-src 'none'")


def test_answers_of_the_server_itself_have_them(api: Api) -> None:
    """What uvicorn refuses before the application sees it has the same headers."""
    with opened(api.base, b"not HTTP\r\n\r\n") as [conn]:
        answer = conn.recv(65536).lower()
    assert answer.startswith(b"http/1.1 400 ")
    assert b"nosniff" in answer
    assert b"\nserver:" not in answer


def test_the_pages_load_nothing_from_elsewhere(api: Api) -> None:
    """No script, no address of another host; the style sheet is there."""
    page = api.get("/docs", None).text
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="((?!#)[^"]*)"', page) == ["docs/style.css", "openapi.json"]
    assert api.get("/docs/style.css", None).headers["content-type"].startswith("text/css")


@pytest.mark.parametrize("path", PATHS)
def test_head_is_get_without_a_body(api: Api, path: str) -> None:
    """Status, type and length are those of GET, and the connection can be used again."""
    got, head = api.get(path), api.call("HEAD", path, "compliance")
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.headers.get("content-length", "0") != "0"


def test_head_only_where_there_is_get(api: Api) -> None:
    """A path that only takes POST says so, one that takes GET names HEAD too, and one with several routes names all."""
    assert api.call("HEAD", ASKS).headers["allow"] == "POST"
    refused = api.call("DELETE", "/healthz")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert api.call("DELETE", "/clients").headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("prefix", ["", "/advice/ledger"], ids=["taken off", "left on"])
def test_under_a_path(api: Api, prefix: str) -> None:
    """`Location` and the document have the path of the proxy, whether it takes the path off or not."""
    app = create_app(Parts(api.url, run_worker=False, root_path="/advice/ledger"))
    bearer = {"Authorization": f"Bearer {api.tokens['advisor']}"}
    with listening(app) as base, httpx.Client(base_url=base + prefix, headers=bearer, timeout=60) as client:
        recorded = client.post(ASKS, json=ASK)
        assert recorded.status_code == 202
        assert recorded.headers["location"] == f"/advice/ledger/portfolio/requests/{recorded.json()['request_id']}"
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/advice/ledger"}]
        assert client.get("/docs").status_code == 200

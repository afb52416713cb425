"""Requests to endorsers: one request for each, on one connection for as long as the other side keeps it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ledger.tlog.endorse.http import HttpClient, Unreachable
from ledger.tlog.endorser_url import check_url
from tests.ledger.tlog.endorse.servers import answering, hanging, saying
from tests.support import eventually


class Counting(ThreadingHTTPServer):
    """Counts connections and requests; answers with `body`, its length said or not."""

    daemon_threads = True

    def __init__(self, body: bytes, *, chunked: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.chunked = body, chunked
        self.connections = self.requests = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        """One call for each connection."""
        self.connections += 1
        super().process_request(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Counting

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests += 1
        self.send_response(200)
        body = self.server.body
        if self.server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Not to stderr."""


@pytest.fixture(params=[False, True], ids=["length", "chunked"])
def server(request: pytest.FixtureRequest) -> Iterator[Counting]:
    """A server that counts."""
    with Counting(b"x" * 1000, chunked=request.param) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            found.shutdown()
            thread.join()


def test_one_connection_and_no_request_twice(server: Counting) -> None:
    """Ten requests are ten, on one connection; an answer that is too long costs its connection and nothing else."""
    url = f"http://127.0.0.1:{server.server_port}/"
    client = HttpClient(url, timeout_s=5, max_bytes=1000)
    for _ in range(10):
        assert client.post(b"hello", "text/plain").body == server.body
    assert (server.requests, server.connections) == (10, 1)
    server.body += b"y"
    with pytest.raises(Unreachable, match="more than 1000 bytes"):
        HttpClient(url, timeout_s=5, max_bytes=1000).post(b"hello", "text/plain")
    assert server.requests == 11
    client.close()


def test_a_connection_that_the_server_closed_is_made_anew() -> None:
    """The server may close a kept connection at any time; the next request opens another."""
    with answering(saying(200, b"x")) as url:  # closes after each answer, without announcing it
        client = HttpClient(url, timeout_s=5, max_bytes=1000)
        for _ in range(5):
            assert client.post(b"hello", "text/plain") == (200, b"x")
        client.close()


def test_a_request_is_cancelled_from_another_thread() -> None:
    """cancel() ends a request that would hang for long, at once, and allows no other."""
    with answering(hanging) as url:
        client = HttpClient(url, timeout_s=60, max_bytes=1000)
        with ThreadPoolExecutor(1) as pool:
            request = pool.submit(client.post, b"hello", "text/plain")
            eventually("the request is sent", lambda: client._client._transport._pool.connections)  # type: ignore[attr-defined]
            client.cancel()
            with pytest.raises(Unreachable, match="cancelled"):
                request.result(10)
        with pytest.raises(Unreachable, match="cancelled"):
            client.post(b"hello", "text/plain")
        client.close()


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://a/", "http://", "http://a b/", "http://u:p@a/", "http://a/?q=1", "http://a:99999/", "http://é/"],
)
def test_what_is_no_url(url: str) -> None:
    """The message names what is wrong and does not repeat the URL."""
    with pytest.raises(ValueError, match="URL") as caught:
        check_url(url)
    assert "u:p" not in str(caught.value)

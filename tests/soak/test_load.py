"""The load of a soak judges what it gets: wrong answers, callers that end, and processes that are not there."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.soak.kills import Site
from tests.soak.mixed import MixedLoad
from tests.support import eventually

ROLES = ("advisor", "compliance", "auditor", "agent")


@contextmanager
def answering(status: int) -> Iterator[str]:
    """Run an HTTP server that answers everything with this status and no JSON; yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815 - the name that the library calls

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [409, 422, 500])
def test_each_kind_of_caller_needs_a_success(status: int) -> None:
    """All statuses but success and 409 are errors at once, and each kind without success is one at the end."""
    with answering(status) as base:
        load = MixedLoad(base, dict.fromkeys(ROLES, "token"))
        with load.running():
            eventually("all kinds have answers", lambda: load.answers[status] >= 20 and load.acts["leave"])
            assert any(f": {status}" in error for error in load.errors) is (status != 409)
    kinds = ("ask", "decide", "report", "list", "as_of", "prove", "operate")
    assert {f"{kind} had no success" for kind in kinds} <= set(load.errors)
    assert "leave had no success" not in load.errors


def test_a_caller_that_ends_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A 200 without the JSON that was promised ends the thread of its caller, and that is not lost."""
    with answering(200) as base:
        load = MixedLoad(base, dict.fromkeys(ROLES, "token"))
        with load.running():
            eventually("a caller ended", lambda: any(error.startswith("prove ended: ") for error in load.errors))
    assert "IndexError" in capsys.readouterr().err


def test_a_fault_without_its_process_is_a_failure(database_url: str, tmp_path: Path) -> None:
    """A round that finds nothing to hurt does not count as survived."""
    site = Site(tmp_path, random.Random(1))
    site.url = database_url
    with pytest.raises(AssertionError, match="no backend of advice-ledger writer"):
        site.faults["SIGSTOP of the writer's backend, 1 s"]()

"""SIGTERM ends the process within its documented time, also while the database hangs."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from api.cli.serving import GRACE_S, STOP_S
from api.postgres.embedded import EmbeddedPostgres
from ledger.tlog.sign import keys
from tests.api.http.test_connections import opened
from tests.api.program import cli, serving
from tests.api.served import ASK, ASKS
from tests.faults.test_database_down import freeze
from tests.ledger.tlog.logs import key_for


@pytest.mark.slow
def test_a_stop_while_the_database_hangs(server: EmbeddedPostgres, ledger: str, tmp_path: Path) -> None:
    """With a worker, a signer, requests in hand and no answer from the database: it ends in time, with code 0.

    Each of the requests gets 503.
    """
    keys.generate(key_for(ledger).verifier.name, tmp_path / "log.key")
    assert cli("rebuild", "--database-url", ledger).code == 0
    with serving("--database-url", ledger, "--key", tmp_path / "log.key") as process:
        token = {"Authorization": f"Bearer {process.tokens()['advisor']}"}
        asked = httpx.Request("POST", f"{process.base}{ASKS}", json=ASK, headers=token)
        assert httpx.Client().send(asked).status_code == 202
        with freeze(server), opened(process.base, *[as_bytes(asked)] * 5) as conns:
            # It was accepted after those five, and read after them.
            assert httpx.get(f"{process.base}/healthz").status_code == 200
            process.process.terminate()
            assert process.process.wait(GRACE_S + STOP_S) == 0
            assert [conn.recv(65536).split(b" ")[1] for conn in conns] == [b"503"] * 5
        assert process.err.endswith("stopped\n")


def as_bytes(request: httpx.Request) -> bytes:
    """Return a request as a client sends it."""
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    return f"{request.method} {request.url.path} HTTP/1.1\r\n{head}\r\n".encode() + request.content

"""SIGTERM ends the process within its documented time, also while the database hangs."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import httpx
import pytest

from api.cli.serving import GRACE_S, STOP_S
from api.postgres.embedded import EmbeddedPostgres
from ledger.tlog.sign import keys
from tests.api.program import cli, serving
from tests.faults.test_database_down import freeze
from tests.ledger.tlog.logs import key_for

ASKED = {"client_id": "client-1", "risk_profile": "balanced", "amount_usd": 250000}


@pytest.mark.slow
def test_a_stop_while_the_database_hangs(server: EmbeddedPostgres, ledger: str, tmp_path: Path) -> None:
    """With a worker, a signer, requests in hand and no answer from the database: it ends in time, with code 0."""
    keys.generate(key_for(ledger).verifier.name, tmp_path / "log.key")
    assert cli("rebuild", "--database-url", ledger).code == 0
    with serving("--database-url", ledger, "--key", tmp_path / "log.key") as process:
        token = {"Authorization": f"Bearer {process.tokens()['advisor']}"}
        answers: list[int] = []

        def ask() -> None:
            with contextlib.suppress(httpx.TransportError):  # it came after the last one that was taken
                url = f"{process.base}/portfolio/recommendations"
                answers.append(httpx.post(url, json=ASKED, headers=token, timeout=60).status_code)

        ask()
        with freeze(server):
            threads = [threading.Thread(target=ask) for _ in range(5)]
            for thread in threads:
                thread.start()
            process.process.terminate()
            assert process.process.wait(GRACE_S + STOP_S) == 0
            for thread in threads:
                thread.join(10)
        assert answers[0] == 202
        assert set(answers[1:]) <= {503}
        assert process.err.endswith("stopped\n")

"""A row that cannot be read accuses nobody: the program could not run, and nothing is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.postgres.embedded import EmbeddedPostgres
from tests.api.program import cli
from tests.api.served import make_tokens, served
from tests.ledger.verify.verifying import FAST, fill, head_of, until, verifying
from tests.support import connect, eventually

PAGE_BYTES = 8192


@pytest.fixture
def damaged(server: EmbeddedPostgres, ledger: str) -> str:
    """A ledger of which one page of events was overwritten on the disk."""
    fill(ledger, 40)
    with connect(ledger) as conn:
        conn.execute("CHECKPOINT")
        [(folder, path)] = conn.execute(
            "SELECT current_setting('data_directory'), pg_relation_filepath('events')"
        ).fetchall()
    server.stop()
    with (Path(folder) / path).open("r+b") as file:
        file.seek(PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)
    server.start()
    return ledger


@pytest.mark.slow
def test_a_damaged_page_is_no_finding(damaged: str) -> None:
    """`verify` exits with 2 and the server's reason; continuous verification is failing, and records nothing."""
    ran = cli("verify", "--database-url", damaged)
    assert ran.failed_with("invalid page"), ran
    with verifying(damaged, FAST) as verifier:
        status = until(verifier, lambda now: now.state == "failing")
        assert "invalid page" in (status.error or "")
        assert status.finding is None
    tokens = make_tokens(damaged)
    before = head_of(damaged)
    assert before > 40
    with served(damaged, tokens=tokens, verification=FAST) as api:

        def warned() -> bool:
            return any("invalid page" in one for one in api.get("/readyz", None).json()["warnings"])

        eventually("/readyz warns", warned)
    assert head_of(damaged) == before, "nothing was recorded"

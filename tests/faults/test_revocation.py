"""Two `serve` processes on one database: what an administrator does at one holds at the other within a second."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.api.program import cli, serving
from tests.subjects import subjects
from tests.support import connect

pytestmark = pytest.mark.slow

HOLDS_S = 1.0
# What a request takes on a busy machine beside that.
ANSWER_S = 2.0


@pytest.fixture
def bases(database_url: str) -> Iterator[list[str]]:
    """The addresses of two servers on one ledger."""
    options = ("--database-url", database_url, "--no-worker")
    with serving(*options) as one, serving(*options) as other:
        yield [one.base, other.base]


def test_revocation_and_suspension_hold_at_every_process(database_url: str, bases: list[str]) -> None:
    """Both processes let the callers in until the change is acknowledged by the first one, and not a second later."""
    tokens = subjects(database_url, {"chief": "admin", "vic": "advisor", "sam": "advisor"})

    def status(base: str, name: str) -> int:
        headers = {"Authorization": f"Bearer {tokens[name]}"}
        return httpx.get(f"{base}/me", headers=headers, timeout=30).status_code

    def change(path: str, **body: object) -> None:
        headers = {"Authorization": f"Bearer {tokens['chief']}"}
        assert httpx.post(f"{bases[0]}{path}", headers=headers, json=body, timeout=30).status_code == 201

    assert [status(base, name) for base in bases for name in ("vic", "sam")] == [200] * 4
    for path, body, name, refused in (
        ("/subjects/vic/revocations", {"credential": 1}, "vic", 401),
        ("/subjects/sam/suspensions", {"reason": "test"}, "sam", 403),
    ):
        change(path, **body)
        acknowledged = time.monotonic()
        for base in bases:
            seen = acknowledged
            while status(base, name) != refused:
                seen = time.monotonic()  # the answer that let the caller in was asked for before this
                assert seen - acknowledged < HOLDS_S + ANSWER_S, (path, base)


def test_verify_names_rows_of_callers_that_the_chain_does_not_have(database_url: str) -> None:
    """The owner swaps a token, and gives a subject a role, in the read models: each is named by a plain `verify`."""
    subjects(database_url, {"vic": "advisor"})
    for table, statement in (
        ("credentials", "UPDATE credentials SET sha256 = repeat('0', 64)"),
        ("subjects", "UPDATE subjects SET roles = '{admin}'"),
    ):
        assert cli("rebuild", table, "--database-url", database_url).code == 0
        with connect(database_url) as conn:
            assert conn.execute(statement).rowcount == 1
        found = cli("verify", "--database-url", database_url)
        assert (found.code, table in found.out + found.err) == (1, True), found
        assert "1 differed" in cli("rebuild", table, "--database-url", database_url).out
    assert cli("verify", "--database-url", database_url).code == 0

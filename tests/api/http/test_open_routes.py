"""Routes without a token, asked by many at once: they take the connections of one, and keep nobody waiting."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from psycopg import sql

from tests.api.served import Api
from tests.support import connect, eventually

AT_ONCE = 40
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'advice-ledger reader'"
    " AND wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest.mark.parametrize(("path", "table", "most"), [("/readyz", "projections", 2), ("/metrics", "model_calls", 2)])
def test_many_at_once_cost_as_much_as_one(api: Api, path: str, table: str, most: int) -> None:
    """While their query hangs, a caller with a token is served; afterwards all of them are answered."""
    request_id = api.asked(client_id=f"of-{table}")
    assert api.get(f"/portfolio/requests/{request_id}").status_code == 200
    with ThreadPoolExecutor(AT_ONCE) as pool, connect(api.url) as locking, connect(api.url) as looking:
        with locking.transaction():
            locking.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(table)))
            answers = [pool.submit(api.get, path, None) for _ in range(AT_ONCE)]
            eventually("one waits", lambda: looking.execute(WAITING).fetchone() != (0,))
            with httpx.Client(base_url=api.base, timeout=1) as other:
                bearer = {"Authorization": f"Bearer {api.tokens['compliance']}"}
                # Rows of read models say at which position they stand, and the locked table has it.
                for _ in range(10):
                    assert other.get("/events/1", headers=bearer).json()["position"] == 1
            found = looking.execute(WAITING).fetchone()
            assert found is not None
            assert found[0] <= most
        assert {answer.result().status_code for answer in answers} <= {200, 503}

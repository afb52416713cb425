"""When credentials were last used: noted once a minute and at the end, beside the chain."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.api.served import served
from tests.subjects import subjects
from tests.support import connect

NOTE = "SELECT note_uses(%s, %s, %s)"
READ = "SELECT subject, credential, last_used_at FROM credential_uses ORDER BY 1, 2"


def test_uses_are_stored_when_a_server_stops(database_url: str) -> None:
    """Those that were let in, and no others; the answer of a list has them before they are stored."""
    made = subjects(database_url, {"ann": "advisor", "ben": "admin", "cat": "auditor"})
    before = datetime.now(UTC)
    with served(database_url, tokens=made) as api:
        assert api.get("/me", "ann").status_code == 200
        [row] = api.get("/subjects/ann/credentials", "ben").json()["items"]
        assert datetime.fromisoformat(row["last_used_at"]) >= before
        [row] = api.get("/subjects/cat/credentials", "ben").json()["items"]
        assert row["last_used_at"] is None
    with connect(database_url, "reader") as conn:
        noted = conn.execute(READ).fetchall()
    assert [(subject, number) for subject, number, _ in noted] == [("ann", 1), ("ben", 1)]
    assert all(at >= before for _, _, at in noted)


def test_a_time_never_goes_back_and_what_is_no_credential_is_left_out(database_url: str) -> None:
    """Processes write in any order; the writer's login cannot fill the table."""
    subjects(database_url, {"ann": "advisor"})
    now = datetime(2030, 1, 1, tzinfo=UTC)
    earlier = now - timedelta(hours=1)
    with connect(database_url, "writer") as conn:
        for names, numbers, times in (
            (["ann", "ann", "eve"], [1, 1, 1], [earlier, now, now]),
            (["ann", "ann"], [1, 2], [earlier, now]),
        ):
            conn.execute(NOTE, [names, numbers, times])
    with connect(database_url, "reader") as conn:
        assert conn.execute(READ).fetchall() == [("ann", 1, now)]

"""Tokens of earlier versions: `migrate` records them as subjects and credentials, once, and they keep working."""

from __future__ import annotations

from hashlib import sha256

import pytest

from schema import migrate as migrations
from schema.events import AgentSuspended
from tests.api.program import cli
from tests.api.served import ASK, ASKS, problem, served
from tests.support import append, connect, new, scratch_database

SUBJECTS = "0017_subjects"
INSERT = "INSERT INTO tokens (name, role, hash, revoked_at) VALUES (%s, %s, %s, %s)"
EVENTS = (
    "SELECT stream, array_agg(type ORDER BY version) FROM events WHERE stream LIKE 'subject-%' GROUP BY 1 ORDER BY 1"
)
NAMES = (b"ann", b"bot", b"old")
NEW = ["subject.registered", "subject.role-granted", "credential.issued"]


def older_ledger(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a ledger whose callers are those of the version before subjects, with a suspended agent."""
    files = migrations._files()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "_files", lambda: [file for file in files if file.stem != SUBJECTS])
        with connect(url) as conn:
            migrations.migrate(conn)
    with connect(url, "owner") as conn:
        for name, role, revoked in (
            ("ann", "advisor", None),
            ("bot", "agent", None),
            ("old", "admin", "2026-01-01T00:00:00Z"),
            ("odd-", "auditor", None),
        ):
            conn.execute(INSERT, [name, role, sha256(name.encode()).digest(), revoked])
    with connect(url, "writer") as conn:
        append(conn, new("agent-bot", AgentSuspended(reason="odd answers")))


@pytest.mark.slow
def test_tokens_of_an_earlier_version_keep_working(
    server_url: str, template_database: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each becomes a subject with its role; a revoked one stays revoked, a suspended agent suspended. Once."""
    assert template_database, "the roles of the server are there"
    with scratch_database(server_url) as url:
        older_ledger(url, monkeypatch)
        ran = cli("migrate", "--database-url", url)
        assert ran.code == 0
        assert "the token odd- of an earlier version cannot be carried over" in ran.err
        with connect(url) as conn:
            recorded = conn.execute(EVENTS).fetchall()
            assert recorded == [
                ("subject-ann", NEW),
                ("subject-bot", [*NEW, "subject.suspended"]),
                ("subject-old", [*NEW, "credential.revoked"]),
            ]
            assert conn.execute("SELECT to_regclass('tokens'), to_regclass('former_tokens')").fetchone() == (None, None)
            # A process of the earlier version that still runs finds its callers.
            who = [conn.execute("SELECT * FROM authenticate(sha256(%s))", [name]).fetchall() for name in NAMES]
            assert who == [[("ann", "advisor")], [("bot", "agent")], []]
        assert cli("migrate", "--database-url", url).code == 0
        with connect(url) as conn:
            assert conn.execute(EVENTS).fetchall() == recorded
        with served(url, tokens={"advisor": "ann", "agent": "bot", "admin": "old"}) as api:
            request_id = api.asked()
            problem(api.answer(request_id), 409, "agent-suspended")
            problem(api.get("/portfolio/requests", "agent"), 403, "suspended")
            problem(api.call("POST", ASKS, "admin", json=ASK), 401, "unknown-token")

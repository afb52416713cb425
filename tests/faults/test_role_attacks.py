"""Attacks by a login of each of the ledger's roles, while a server runs whose connections use these logins.

Nothing recorded changes, no read model stops, and nothing stops that is not the role's own work.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from psycopg import sql

from api.app import create_app
from api.postgres.embedded import EmbeddedPostgres
from api.postgres.logins import make_logins
from api.services import Parts
from ledger.database import Connection, RoleLogins, login_of
from ledger.tlog.sign.signer_thread import SigningConfig
from ledger.verify.continuous import VerificationConfig
from ledger.verify.database import verify_chain
from schema.database_roles import HAVE_RIGHTS_OF, ROLES
from schema.migrate import migrate
from tests.api.served import Api, listening, make_tokens, served
from tests.faults.role_attacks import (
    END_OTHERS,
    HAS_SESSION,
    HELD,
    LOCKABLE,
    MODES,
    OWN_TABLES,
    PERMITTED,
    READABLE,
    REFUSED,
)
from tests.ledger.tlog.logs import key_for
from tests.support import check_chain, connect, eventually

# No right to it; only within, or only outside of a transaction.
NO_RIGHT, ONLY_WITHIN, ONLY_OUTSIDE = "42501", "25P01", "25001"
RECORDED = "SELECT count(*), md5(string_agg(e::text, ',' ORDER BY position)) FROM events e WHERE position <= %s"
STOPPED = "SELECT name FROM projections WHERE error IS NOT NULL"
ATTACKS = [(attack, role) for attack in REFUSED for role in ROLES if role not in PERMITTED.get(attack, ())]


@pytest.fixture(scope="module")
def api(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An application that signs, verifies and keeps read models, each connection with the login of its role."""
    logins = RoleLogins(server.url)
    with connect(server.url) as admin:
        make_logins(admin, logins)
    signing = SigningConfig(key_for(server.url), tmp_path_factory.mktemp("key") / "log.key.last", every_s=0.05)
    app = create_app(Parts(logins, run_worker=False, patience_s=20, signing=signing, verification=VerificationConfig()))
    with listening(app) as base:
        api = Api(server.url, base, make_tokens(server.url), app)
        with api.client:
            api.answered(api.asked())
            yield api
    with connect(server.url, "verifier") as conn:
        assert verify_chain(conn).ok
        check_chain(conn)


@contextlib.contextmanager
def unchanged(api: Api) -> Iterator[None]:
    """The events are the same bytes after the block, and no read model is stopped."""
    with connect(api.url) as conn:
        position, _ = api.head()
        before = conn.execute(RECORDED, [position]).fetchone()
        yield
        assert conn.execute(RECORDED, [position]).fetchone() == before
        assert conn.execute(STOPPED).fetchall() == []


@pytest.fixture(scope="module")
def sessions(api: Api) -> Iterator[dict[str, Connection]]:
    """A session of each role. The events are the same bytes afterwards, and no read model is stopped."""
    with contextlib.ExitStack() as stack, unchanged(api):
        yield {role: stack.enter_context(session(api, role)) for role in ROLES}


@contextlib.contextmanager
def session(api: Api, role: str) -> Iterator[Connection]:
    """A session of the role's login as an attacker has it: without our settings."""
    with psycopg.connect(login_of(RoleLogins(api.url), role), autocommit=True) as conn:
        yield conn


@pytest.mark.parametrize(("attack", "role"), ATTACKS)
def test_an_attack_is_refused(sessions: dict[str, Connection], role: str, attack: str) -> None:
    """The database refuses it for want of a right, after SET ROLE NONE, outside of a transaction and in one."""
    refusals = []
    for before in ("SET ROLE NONE", "BEGIN"):
        sessions[role].execute(before)
        with pytest.raises(psycopg.Error) as caught:
            sessions[role].execute(REFUSED[attack])
        refusals.append(caught.value.sqlstate)
    sessions[role].execute("ROLLBACK")
    assert tuple(refusals) in {(NO_RIGHT, NO_RIGHT), (ONLY_WITHIN, NO_RIGHT), (NO_RIGHT, ONLY_OUTSIDE)}


@pytest.mark.parametrize("role", ROLES)
def test_what_a_login_may_hold_stops_nobody(api: Api, role: str) -> None:
    """Locks, notifications, settings of its own and an open transaction: all go on, migrating too."""
    with unchanged(api), session(api, role) as conn, own_settings_undone(api, role):
        for statement in HELD:
            conn.execute(statement)
        for (statement,) in conn.execute(READABLE).fetchall():
            conn.execute(statement)
        everything_works(api)
        with connect(api.url) as admin:
            assert migrate(admin).applied == ()


@contextlib.contextmanager
def own_settings_undone(api: Api, role: str) -> Iterator[None]:
    """After the block, the role has the settings that migrating gives it."""
    try:
        yield
    finally:
        with connect(api.url) as admin:
            admin.execute(sql.SQL("ALTER ROLE {} RESET ALL").format(sql.Identifier(f"ledger_{role}")))
            migrate(admin)


@pytest.mark.parametrize("role", ROLES)
def test_no_lock_that_a_login_may_take_stops_others(api: Api, role: str) -> None:
    """It locks each table as strongly as it may, but for those that are its own work: all go on."""
    with unchanged(api), session(api, role) as conn:
        own = {name for (name,) in conn.execute(OWN_TABLES[role].encode()).fetchall()} if role in OWN_TABLES else set()
        conn.execute("BEGIN")
        for (table,) in conn.execute(LOCKABLE).fetchall():
            if table not in own:
                lock(conn, table)
        everything_works(api)


def lock(conn: Connection, table: str) -> None:
    """Lock a table in the strongest mode that the login is permitted, or in none."""
    for mode in MODES:
        statement = sql.SQL("LOCK TABLE ledger.{} IN " + mode + " MODE NOWAIT").format(sql.Identifier(table))
        with contextlib.suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable):
            with conn.transaction():
                conn.execute(statement)
            return


# Which role may keep the head, and how: a writer in an idle transaction without a limit or in a statement that goes on,
# a signer while it stops appends.
KEEPS = {
    "idle writer": ("writer", "SELECT ledger.check_append(false)", "SELECT 1"),
    "active writer": ("writer", "SELECT ledger.check_append(false)", "SELECT pg_sleep(600)"),
    "idle signer": ("signer", "SELECT ledger.stop_appends('mine')", "SELECT 1"),
}


@pytest.mark.slow  # the database lets it for 15 seconds
@pytest.mark.parametrize("keeps", KEEPS)
def test_a_session_that_keeps_the_head_is_ended(api: Api, keeps: str, caplog: pytest.LogCaptureFixture) -> None:
    """It lifts its own limit. /readyz says who it is; after 15 s its session is ended, and all go on by themselves."""
    role, locks, goes_on = KEEPS[keeps]
    with unchanged(api), session(api, role) as conn:
        conn.execute("SET idle_in_transaction_session_timeout = 0; SET application_name = 'evil'; BEGIN")
        conn.execute(locks.encode())
        pid = conn.info.backend_pid
        kept = threading.Thread(target=lambda: suppressed(conn, goes_on))
        kept.start()
        with served(api.url, logins=True, tokens=api.tokens, patience_s=1) as other:
            eventually("it is named", lambda: f"process {pid} (login ledger_{role}, application 'evil', " in why(other))
            eventually("it is ended", lambda: not why(other))
            assert f"ended a session that kept appends out: process {pid} (login ledger_{role}" in caplog.text
        kept.join(30)
        conn.close()
        everything_works(api)


def suppressed(conn: Connection, statement: str) -> None:
    """Run a statement that somebody may end."""
    with contextlib.suppress(psycopg.Error):
        conn.execute(statement.encode())


def why(api: Api) -> str:
    """The reasons of /readyz."""
    return "; ".join(api.get("/readyz", None).json()["reasons"])


def use_up(stack: contextlib.ExitStack, api: Api, role: str) -> None:
    """Open sessions until the server refuses one."""
    for _ in range(200):
        stack.enter_context(session(api, role))


@pytest.mark.parametrize("role", ROLES)
def test_no_login_uses_up_the_connections(api: Api, role: str) -> None:
    """It gets as many as its limit, less those of the server; logins of others and the administrator still get in."""
    with unchanged(api), contextlib.ExitStack() as stack:
        with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
            use_up(stack, api, role)
        for other in ROLES:
            if other != role:
                stack.enter_context(session(api, other))
        connect(api.url).close()
        everything_works(api)


@pytest.mark.parametrize("role", ROLES)
def test_ended_sessions_come_back(api: Api, role: str) -> None:
    """A login can end sessions of its own role, and of one whose rights it has: they connect again. No others."""
    with unchanged(api), session(api, role) as conn:
        # The eraser has a session only while it erases.
        for victim in (f"ledger_{victim}" for victim in ROLES if victim != "eraser"):
            has_session = partial(conn.execute, HAS_SESSION, [victim])
            eventually(f"{victim} has a session", lambda ask=has_session: ask().fetchone() is not None)
            if victim in {f"ledger_{role}", f"ledger_{HAVE_RIGHTS_OF.get(role)}"}:
                conn.execute(END_OTHERS, [victim])
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute(END_OTHERS, [victim])
        everything_works(api)


def everything_works(api: Api) -> None:
    """A request is recorded, read, and signed; both leaders lead; the process is ready, without warnings."""
    request = eventually("a request", lambda: (done := api.ask()).status_code == 202 and done.json()["request_id"])
    path = f"/portfolio/requests/{request}"
    found = eventually("a read", lambda: (done := api.get(path)).status_code == 200 and done.json())
    assert found["status"] == "queued"
    eventually("nothing is wanting", lambda: Nothing(wanting(api.get("/readyz", None).json())))


class Nothing(list[object]):
    """A list that is true if it is empty, so that `eventually` shows what is in it otherwise."""

    def __bool__(self) -> bool:
        return len(self) == 0


def wanting(state: dict[str, Any]) -> list[object]:
    """Return what `/readyz` complains of, and who does not lead."""
    states = (state["checkpoint"]["signer"], state["verification"]["state"])
    followers = [worker for worker in states if worker != "leads"]
    unsigned = [state["checkpoint"]["not_covered"]] if state["checkpoint"]["not_covered"] else []
    return [*state["reasons"], *state["warnings"], *followers, *unsigned]

"""One session of the right role leads. No other role, and no login without grants, can take that away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ledger.database import Connection
from ledger.tlog.sign.signer_thread import SignerThread, SigningConfig
from ledger.verify.continuous import ContinuousVerification
from tests.ledger.tlog.logs import key_for
from tests.support import append, connect, eventually, login_url, new

# What sessions of earlier versions hold while they lead, with the hash of the schema's name.
FORMER_LOCKS = {"owner": 0x41_4C_0002, "signer": 0x41_4C_0003, "verifier": 0x41_4C_0004}
LEAD = {
    "owner": "SELECT ledger.take_lead('owner')",
    "signer": "SELECT ledger.lead_signing()",
    "verifier": "SELECT ledger.lead_verifying()",
}
CHANGE = ("TABLE ledger.leaders", "SELECT FROM ledger.leaders FOR UPDATE", "UPDATE ledger.leaders SET pid = 1")
LOCK_OF = "SELECT lock FROM leaders WHERE role = %s"
ROLES = sorted(LEAD)


def leads(conn: Connection, role: str) -> bool:
    """Try to lead; return whether this session does."""
    return conn.execute(LEAD[role]).fetchone() == (True,)


def take_former_locks(conn: Connection) -> None:
    """Take all advisory locks that leaders of earlier versions hold."""
    for lock in FORMER_LOCKS.values():
        taken = conn.execute("SELECT pg_try_advisory_lock(%s, hashtext('ledger'))", [lock]).fetchone()
        assert taken == (True,)


@pytest.fixture(params=[None, "writer", "reader", "projector"])
def stranger(database_url: str, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A session of a login that must not lead: without grants, or with another role."""
    with login_url(database_url, request.param and f"ledger_{request.param}") as url, connect(database_url) as admin:
        names = (sql.Identifier(admin.info.dbname), sql.Identifier(str(conninfo_to_dict(url)["user"])))
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(*names))
        with psycopg.connect(url, autocommit=True) as conn:
            yield conn


@pytest.mark.parametrize("role", ROLES)
def test_one_of_many_sessions_leads(database_url: str, role: str) -> None:
    """Of ten that try at once one leads, again and again until it ends; then one of the others does."""
    with ExitStack() as stack, ThreadPoolExecutor(10) as pool:
        conns = [stack.enter_context(connect(database_url, role)) for _ in range(10)]
        for left in (10, 9):
            start = threading.Barrier(left)

            def attempt(conn: Connection, start: threading.Barrier = start) -> bool:
                start.wait(30)
                return [leads(conn, role) for _ in range(5)][-1]

            leading = [conn for conn, led in zip(conns, pool.map(attempt, conns), strict=True) if led]
            assert len(leading) == 1
            assert leads(leading[0], role)
            conns.remove(leading[0])
            pid = leading[0].info.backend_pid
            leading[0].close()
            gone = f"SELECT FROM pg_stat_activity WHERE pid = {pid}"
            eventually("the session ends", lambda gone=gone: conns[0].execute(gone).fetchone() is None)


def test_a_leader_keeps_no_transaction_open(database_url: str) -> None:
    """It holds back neither VACUUM nor anything else, and no timeout of transactions ends it."""
    with connect(database_url, "signer") as leader, connect(database_url) as admin:
        assert leads(leader, "signer")
        state = admin.execute(
            "SELECT state, xact_start, backend_xid, backend_xmin FROM pg_stat_activity WHERE pid = %s",
            [leader.info.backend_pid],
        ).fetchone()
    assert state == ("idle", None, None, None)


def test_services_lead_whoever_holds_advisory_locks(database_url: str, stranger: Connection, tmp_path: Path) -> None:
    """With every lock taken that an earlier version used, the signer signs and the verifier verifies."""
    take_former_locks(stranger)
    with connect(database_url, "writer") as conn:
        append(conn, new("first"))
    signing = SigningConfig(key_for(database_url), tmp_path / "log.key.last", every_s=0.05)
    workers = (SignerThread(database_url, signing), ContinuousVerification(database_url))
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            eventually(f"{worker.name} leads", lambda worker=worker: worker.status.state == "leads")
        with connect(database_url) as conn:
            eventually("it is signed", lambda: conn.execute("SELECT FROM checkpoints").fetchone() is not None)
    finally:
        for worker in workers:
            worker.stop()


def test_a_stranger_does_not_inherit_the_lead(database_url: str, stranger: Connection) -> None:
    """The leader's own lock can be seen and waited for. Who gets it when the leader ends does not count as leader."""
    with connect(database_url) as admin, connect(database_url, "signer") as follower:
        leader = connect(database_url, "signer")
        assert leads(leader, "signer")
        lock = admin.execute(LOCK_OF, ["signer"]).fetchone()
        assert lock is not None
        stolen = threading.Thread(target=stranger.execute, args=("SELECT pg_advisory_lock(%s)", lock))
        stolen.start()
        waits = "SELECT FROM pg_locks WHERE NOT granted AND pid = %s"
        pid = stranger.info.backend_pid
        eventually("the stranger waits", lambda: admin.execute(waits, [pid]).fetchone() is not None)
        assert not leads(follower, "signer")
        leader.close()
        stolen.join(30)
        assert not stolen.is_alive()
        assert leads(follower, "signer")


def test_only_its_role_takes_the_lead(database_url: str, stranger: Connection) -> None:
    """The row and the functions are refused to every other login."""
    for statement in (*LEAD.values(), *CHANGE):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            stranger.execute(statement)


@pytest.mark.parametrize("role", ROLES)
def test_a_former_version_and_this_one_never_lead_both(database_url: str, role: str) -> None:
    """While a process of an earlier version leads, ours follows. While ours leads, that one cannot."""
    lock = "SELECT pg_try_advisory_lock(%s, hashtext(current_schema()))"
    with connect(database_url, role) as former, connect(database_url, role) as present:
        assert former.execute(lock, [FORMER_LOCKS[role]]).fetchone() == (True,)
        assert not leads(present, role)
        former.execute("SELECT pg_advisory_unlock_all()")
        assert leads(present, role)
        assert former.execute(lock, [FORMER_LOCKS[role]]).fetchone() == (False,)

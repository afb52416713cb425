"""Recorded rows do not change: not for their owner, not for a superuser, not with session_replication_role replica."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg import sql

from ledger.database import Connection
from tests.support import append, check_chain, connect, fresh_ledger, new, refused, requested

# How to get at the tables: the role that owns them, a superuser, and a superuser in the mode in which ordinary triggers
# stay silent (as for a replica, or for pg_restore --disable-triggers).
SESSIONS = {
    "owner": ("owner", {}),
    "superuser": (None, {}),
    "replica": (None, {"session_replication_role": "replica"}),
}
TABLES = ("events", "sealed_fields", "sealed_fields_0", "stream_clients", "stream_numbers", "head")
UPDATES = {
    "events": "UPDATE events SET body = body || ' '",
    "sealed_fields": "UPDATE sealed_fields SET fields = '{}'",
    "sealed_fields_0": "UPDATE sealed_fields_0 SET fields = '{}'",
    "stream_clients": "UPDATE stream_clients SET client_id = 'somebody else'",
    "stream_numbers": "UPDATE stream_numbers SET last = last + 1",
    "head": "UPDATE head SET hash = sha256('')",
}
CHANGES = {
    **{f"update {table}": statement for table, statement in UPDATES.items()},
    **{f"delete {table}": f"DELETE FROM {table}" for table in TABLES},  # noqa: S608 - the names stand above
    **{f"truncate {table}": f"TRUNCATE {table}" for table in TABLES},
}
# Which head an attempt tries to set, and in which way it is not that of the newest event.
HEADS = {
    "back": "position = 1, hash = (SELECT hash FROM events WHERE position = 1),"
    " recorded_at = (SELECT recorded_at FROM events WHERE position = 1)",
    "nowhere": "position = position + 1",
    "same": "position = position",
    "empty": "position = 0, hash = genesis_hash(origin), recorded_at = 'epoch'",
    "renamed": "origin = 'another/ledger'",
    "later": "recorded_at = recorded_at + interval '1 second'",
}


@pytest.fixture(scope="module")
def ledger(server_url: str) -> Iterator[str]:
    """A ledger with rows in each table that is protected; all of them are still there in the end."""
    with fresh_ledger(server_url) as url:
        with connect(url, "writer") as conn:
            append(conn, new("request-", requested()), new("request-", requested("client-2")), new("other-1"))
        yield url
        with connect(url) as conn:
            assert len(check_chain(conn)) == 3


def sessions(url: str) -> Iterator[Connection]:
    """A connection of each kind in SESSIONS."""
    for role, settings in SESSIONS.values():
        with connect(url, role, **settings) as conn:
            yield conn


@pytest.mark.parametrize("change", CHANGES)
def test_a_recorded_row_refuses_every_change(ledger: str, change: str) -> None:
    """Update, delete and truncate of each recorded table raise AL006 for every role, and change nothing."""
    table = change.split()[1]
    for conn in sessions(ledger):
        rows = f"SELECT * FROM {table} ORDER BY 1"  # noqa: S608 - one of TABLES
        before = conn.execute(rows).fetchall()
        assert before
        with refused("AL006") as refusal:
            conn.execute(CHANGES[change])
        assert refusal.message.startswith(change.replace(" ", " on "))
        assert conn.execute(rows).fetchall() == before


@pytest.mark.parametrize("kind", SESSIONS)
def test_truncate_cascade_is_refused(ledger: str, kind: str) -> None:
    """One statement that empties all tables at once is refused with AL006."""
    role, settings = SESSIONS[kind]
    with connect(ledger, role, **settings) as conn, refused("AL006"):
        conn.execute("TRUNCATE events, sealed_fields, stream_clients, stream_numbers, head CASCADE")


@pytest.mark.parametrize("place", HEADS)
def test_head_moves_onto_the_newest_event_only(ledger: str, place: str) -> None:
    """A head that goes back, stays, leads nowhere, or gets another name or time is refused with AL006."""
    for conn in sessions(ledger):
        with refused("AL006"):
            conn.execute(sql.SQL("UPDATE head SET {}").format(sql.SQL(HEADS[place])))


def test_head_moves_as_the_newest_event_says(ledger: str) -> None:
    """Even with an event to move to, head refuses another hash, time or name with AL006; the very same it takes."""
    forged = (
        "INSERT INTO events (position, id, stream, version, type, recorded_at, body, prev_hash, hash)"
        " SELECT position + 1, gen_random_uuid(), 'forged', 1, 'a.b', recorded_at, '{}', hash, hash FROM head"
    )
    right = sql.SQL("UPDATE head SET position = position + 1")
    for conn in sessions(ledger):
        with conn.transaction(force_rollback=True):
            conn.execute(forged)
            for wrong in ("hash = sha256('')", "recorded_at = recorded_at + interval '1 second'", "origin = 'x/y'"):
                with refused("AL006"), conn.transaction():
                    conn.execute(sql.SQL("{}, {}").format(right, sql.SQL(wrong)))
            conn.execute(right)


@pytest.mark.parametrize("kind", SESSIONS)
def test_head_trusts_no_search_path(ledger: str, kind: str) -> None:
    """A temporary table named events, put first in the search path, does not give head an event to follow."""
    role, settings = SESSIONS[kind]
    with connect(ledger) as admin:
        grant = sql.SQL("GRANT TEMPORARY ON DATABASE {} TO ledger_owner")
        admin.execute(grant.format(sql.Identifier(admin.info.dbname)))
    with connect(ledger, role, **settings) as conn:
        conn.execute("CREATE TEMP TABLE events (position bigint, hash bytea, recorded_at timestamptz)")
        conn.execute("INSERT INTO pg_temp.events SELECT position + 1, sha256(''), recorded_at FROM head")
        conn.execute("SET search_path = pg_temp, ledger")
        with refused("AL006"):
            conn.execute("UPDATE ledger.head SET position = position + 1, hash = sha256('')")


def test_numbers_move_onto_existing_streams_only(ledger: str) -> None:
    """The counter of a category goes neither back nor on to a number that no stream has, nor to another category."""
    for conn in sessions(ledger):
        for change in ("last = 1", "last = last", "last = last + 7", "category = 'other-'"):
            with refused("AL006"):
                conn.execute(sql.SQL("UPDATE stream_numbers SET {}").format(sql.SQL(change)))


def test_upsert_is_an_update(ledger: str) -> None:
    """INSERT … ON CONFLICT DO UPDATE does not get around the triggers."""
    for conn in sessions(ledger):
        with refused("AL006"):
            conn.execute(
                "INSERT INTO stream_clients VALUES ('request-1', 'x', 1)"
                " ON CONFLICT (stream) DO UPDATE SET client_id = excluded.client_id"
            )


def test_merge_is_an_update(ledger: str) -> None:
    """MERGE, where the server has it, does not get around the triggers."""
    for conn in sessions(ledger):
        if conn.info.server_version < 150000:
            pytest.skip("MERGE came with PostgreSQL 15")
        with refused("AL006"):
            conn.execute("MERGE INTO events e USING head h ON true WHEN MATCHED THEN UPDATE SET body = 'x'")

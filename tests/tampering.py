"""Tamper with a ledger as a superuser, as an attacker would who owns the database."""

from __future__ import annotations

from psycopg import sql

from tests.support import connect

TABLES = (
    "events",
    "head",
    "sealed_fields",
    "stream_clients",
    "stream_numbers",
    "tiles",
    "checkpoints",
    "cosignatures",
    "checkpoint_timestamps",
)
ALWAYS = (
    "SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
    " WHERE c.relname = ANY (%s) AND c.relnamespace = current_schema()::regnamespace AND t.tgenabled = 'A'"
)


def tamper(url: str, *statements: str) -> None:
    """Change the tables as a superuser who leaves no trace: triggers are disabled and then enabled again.

    Others see all of the changes at once.
    """
    with connect(url) as conn, conn.transaction():
        always = conn.execute(ALWAYS, [list(TABLES)]).fetchall()
        for table in TABLES:
            conn.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER ALL").format(sql.Identifier(table)))
        for statement in statements:
            conn.execute(statement.encode())
        for table in TABLES:
            conn.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER ALL").format(sql.Identifier(table)))
        for names in always:
            conn.execute(sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(*map(sql.Identifier, names)))

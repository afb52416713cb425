"""Compare the objects of a ledger with those of this version: those of the schema, and those of the read models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql

from ledger.database import Connection
from ledger.store.snapshot import ISOLATION
from ledger.verify.objects import (
    SchemaObject,
    differences,
    expected_objects,
    migrated_by_this_version,
    present_objects,
    settings_without_effect,
)
from projections.registry import READ_MODELS, all_models
from schema.migrate import OBJECTS

# The tables and views of the read models, as `ledger/verify/objects.py` reads them. A test makes the file.
READ_MODEL_OBJECTS = Path(__file__).with_name("objects.txt")
BUILT = "SELECT name, digest FROM projections"


def changed_objects(conn: Connection) -> list[str]:
    """Return a line for each object that is not as this version made it, or additional; in order of names.

    Who says that another version made them is not believed: see `says_other_version`. `conn` is not in a transaction.
    Raises psycopg.Error.
    """
    with conn.transaction():
        conn.execute(ISOLATION)
        return objects_as_seen(conn)


def objects_as_seen(conn: Connection) -> list[str]:
    """Do what `changed_objects` does, in the caller's transaction."""
    return sorted([*differences(_expected(), present_objects(conn)), *_changed_views(conn)])


def setting_warnings(conn: Connection) -> list[str]:
    """Return a warning for each setting that somebody added and that changes nothing here. Raises psycopg.Error."""
    added = settings_without_effect(_expected(), present_objects(conn))
    return [f"{name} has no effect here: each connection of advice-ledger sets its own value" for name in added]


def _expected() -> frozenset[SchemaObject]:
    return expected_objects(OBJECTS.read_text("utf-8")) | expected_objects(READ_MODEL_OBJECTS.read_text("utf-8"))


def says_other_version(conn: Connection) -> bool:
    """Return True if the database says that another version migrated it last, or built one of its read models.

    That explains changed objects, as in an upgrade. But the owner can write it there to hide changes.
    """
    return not migrated_by_this_version(conn) or built_by_others(conn)


def built_by_others(conn: Connection) -> bool:
    """Return True if the database says that another version built one of the read models."""
    built = dict(conn.execute(BUILT).fetchall())
    return any(built.get(read_model.name, read_model.digest) != read_model.digest for read_model in all_models())


def _changed_views(conn: Connection) -> Iterator[str]:
    """Compare the plan of each view with that of its SELECT: PostgreSQL's text of a view differs between versions."""
    for read_model in READ_MODELS:
        for name, query in read_model.views.items():
            exists = conn.execute("SELECT to_regclass(quote_ident(%s)) IS NOT NULL", [name]).fetchone() == (True,)
            if exists and not _same(conn, name, query):
                yield f"view {name} differs"


def _same(conn: Connection, name: str, query: sql.Composable) -> bool:
    """Return True if a view has the plan of its SELECT.

    Return False if the table lacks a column that the SELECT needs.
    """
    try:
        with conn.transaction():
            return _plan(conn, sql.Identifier(name)) == _plan(conn, sql.SQL("({})").format(query))
    except psycopg.ProgrammingError:
        return False


def _plan(conn: Connection, relation: sql.Composable) -> str:
    """Return the plan that reads all of a view, or of a SELECT in parentheses."""
    explain = sql.SQL("EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM {} AS shown").format(relation)
    return "\n".join(str(line) for (line,) in conn.execute(explain).fetchall())

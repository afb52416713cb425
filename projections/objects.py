"""Compare the objects of a ledger with those of this version: those of the schema, and those of the read models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from psycopg import sql

from ledger.database import Connection
from ledger.verify.objects import SchemaObject, differences, expected_objects, migrated_by_this_version, present_objects
from projections.read_model import ReadModel
from projections.registry import READ_MODELS
from schema.migrate import OBJECTS

# The tables and views of the read models, as `ledger/verify/objects.py` reads them. A test makes the file.
READ_MODEL_OBJECTS = Path(__file__).with_name("objects.txt")
BUILT = "SELECT name, digest FROM projections"
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"


def changed_objects(conn: Connection) -> list[str] | None:
    """Return a line for each object that is not as this version made it, or additional; in order of names.

    None if another version migrated this ledger last: its objects are not known here. Read models that another version
    built are left out. `conn` is not in a transaction. Raises psycopg.Error.
    """
    with conn.transaction():
        conn.execute(SNAPSHOT)
        return objects_as_seen(conn)


def objects_as_seen(conn: Connection) -> list[str] | None:
    """Do what `changed_objects` does, in the caller's transaction."""
    if not migrated_by_this_version(conn):
        return None
    built = dict(conn.execute(BUILT).fetchall())
    ours = [read_model for read_model in READ_MODELS if built.get(read_model.name) == read_model.digest]
    expected = expected_objects(OBJECTS.read_text("utf-8")) | _of_read_models(ours)
    return sorted([*differences(expected, present_objects(conn)), *_changed_views(conn, ours)])


def _of_read_models(read_models: list[ReadModel]) -> frozenset[SchemaObject]:
    names = {name for read_model in read_models for name in (read_model.name, *read_model.views)}
    return frozenset(each for each in expected_objects(READ_MODEL_OBJECTS.read_text("utf-8")) if each[0] in names)


def _changed_views(conn: Connection, read_models: list[ReadModel]) -> Iterator[str]:
    """Compare the plan of each view with that of its SELECT: PostgreSQL's text of a view differs between versions."""
    for read_model in read_models:
        for name, query in read_model.views.items():
            exists = conn.execute("SELECT to_regclass(quote_ident(%s)) IS NOT NULL", [name]).fetchone() == (True,)
            if exists and _plan(conn, sql.Identifier(name)) != _plan(conn, sql.SQL("({})").format(query)):
                yield f"view {name} differs"


def _plan(conn: Connection, relation: sql.Composable) -> str:
    """The plan that reads all of a view, or of a SELECT in parentheses."""
    explain = sql.SQL("EXPLAIN (VERBOSE, COSTS OFF) SELECT * FROM {} AS shown").format(relation)
    return "\n".join(str(line) for (line,) in conn.execute(explain).fetchall())

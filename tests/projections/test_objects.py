"""Objects of the database that are not this version's are named: functions, triggers, grants, tables, views.

A deliberate change of a read model: run this test with ADVICE_LEDGER_WRITE_SNAPSHOT=1, and read the difference before
committing it. schema/objects.txt is made by tests/schema/test_snapshot.py.
"""

from __future__ import annotations

import os

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledger import database
from ledger.verify.objects import expected_objects, present_objects, role_members
from projections.objects import READ_MODEL_OBJECTS, changed_objects, objects_as_seen
from projections.rebuild import rebuild_outdated
from schema.migrate import OBJECTS, migrate
from tests.support import connect, login_role

CHANGES = {
    "ALTER TABLE events DISABLE TRIGGER refuse_change": "trigger events.refuse_change differs",
    "ALTER TABLE sealed_fields ENABLE TRIGGER refuse_change": "trigger sealed_fields.refuse_change differs",
    "DROP TRIGGER check_head ON head": "trigger head.check_head is missing",
    "CREATE TRIGGER more BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse_change()": (
        "trigger events.more is additional"
    ),
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'": (
        "function refuse_change() differs"
    ),
    "CREATE FUNCTION append(batch text, more text) RETURNS text LANGUAGE sql AS 'SELECT batch';"
    " REVOKE ALL ON FUNCTION append(text, text) FROM PUBLIC": "function append(batch text, more text) is additional",
    "ALTER FUNCTION append(text) SECURITY INVOKER": "function append(batch text) differs",
    "ALTER FUNCTION append(text) SET search_path = public, ledger": "function append(batch text) differs",
    "DROP FUNCTION position_at(timestamptz)": "function position_at(moment timestamp with time zone) is missing",
    "GRANT INSERT ON events TO ledger_writer": "grant on events to writer is additional",
    "GRANT UPDATE (body) ON events TO ledger_projector": "grant on column events.body to projector is additional",
    "GRANT EXECUTE ON FUNCTION append(text) TO PUBLIC": "grant on function append(batch text) to PUBLIC is additional",
    "GRANT SELECT ON sealed_fields TO ledger_signer": "grant on sealed_fields to signer is additional",
    "GRANT SELECT ON sealed_fields_0 TO ledger_reader": "partition of sealed_fields differs",
    "ALTER TABLE sealed_fields_0 DISABLE TRIGGER check_erased": "partition of sealed_fields differs",
    "ALTER TABLE sealed_fields_0 RENAME TO other": "partition of sealed_fields differs",
    "ALTER TABLE sealed_fields DETACH PARTITION sealed_fields_0;"
    " CREATE TABLE sealed_fields_1 PARTITION OF sealed_fields FOR VALUES FROM (MINVALUE) TO (MAXVALUE)": (
        "partition of sealed_fields differs"
    ),
    "ALTER TABLE sealed_fields DROP CONSTRAINT sealed_fields_pkey; CREATE FOREIGN DATA WRAPPER elsewhere;"
    " CREATE SERVER elsewhere FOREIGN DATA WRAPPER elsewhere;"
    " ALTER TABLE sealed_fields DETACH PARTITION sealed_fields_0;"
    " CREATE FOREIGN TABLE sealed_fields_1 PARTITION OF sealed_fields FOR VALUES FROM (MINVALUE) TO (MAXVALUE)"
    " SERVER elsewhere": "constraint sealed_fields.sealed_fields_pkey is missing, index sealed_fields_pkey is missing,"
    " partition of sealed_fields differs",
    "ALTER TABLE sealed_fields DETACH PARTITION sealed_fields_0": "partition of sealed_fields is missing",
    "GRANT INSERT ON ai_recommendations TO ledger_reader": "grant on ai_recommendations to reader differs",
    "CREATE RULE quiet AS ON DELETE TO events DO INSTEAD NOTHING": "rule events.quiet is additional",
    "ALTER TABLE events ADD COLUMN more text": "column events.more is additional",
    "ALTER TABLE head DROP CONSTRAINT head_singleton_check": "constraint head.head_singleton_check is missing",
    "ALTER TABLE head OWNER TO CURRENT_USER": "head differs",
    "DROP INDEX ai_recommendations_stream_idx": "index ai_recommendations_stream_idx is missing",
    "DROP VIEW override_rates": "override_rates is missing",
    "UPDATE schema_migrations SET sha256 = '' WHERE name = '0001_events'": "migration 0001_events differs",
}


def changed(url: str) -> list[str]:
    """Return what differs, as the verifier sees it."""
    with connect(url, "verifier") as conn:
        return changed_objects(conn)


def test_the_read_models_are_those_of_the_snapshot(database_url: str) -> None:
    """Tables, columns, indexes and grants of read models are those of projections/objects.txt."""
    with connect(database_url) as conn:
        found = sorted(present_objects(conn) - expected_objects(OBJECTS.read_text("utf-8")))
    text = "".join("\t".join(each) + "\n" for each in found)
    if "ADVICE_LEDGER_WRITE_SNAPSHOT" in os.environ:
        READ_MODEL_OBJECTS.write_text(text, "utf-8")
    assert text.splitlines() == READ_MODEL_OBJECTS.read_text("utf-8").splitlines()


def test_a_ledger_has_the_objects_of_this_version(database_url: str) -> None:
    """As it was migrated, and with objects of other people beside ours."""
    assert changed(database_url) == []
    with connect(database_url) as conn:
        conn.execute("CREATE TABLE notes (id int); CREATE VIEW mine AS SELECT id FROM decisions")
        conn.execute("CREATE INDEX more ON events (type)")
    assert changed(database_url) == []


def test_a_ledger_in_another_schema_has_them_too(server_url: str, database_url: str) -> None:
    """Roles, paths and qualified names are compared without the name of the schema, also one that needs quotes."""
    name = str(psycopg.conninfo.conninfo_to_dict(database_url)["dbname"])
    url = make_conninfo(server_url, dbname=name)
    with psycopg.connect(url, autocommit=True) as conn:
        migrate(conn, schema="Second firm")
    rebuild_outdated(url, schema="Second firm")
    with database.connect(database.conninfo(url, "verifier", schema="Second firm")) as conn:
        assert changed_objects(conn) == []


def test_each_changed_object_is_named(database_url: str) -> None:
    """What was disabled, dropped, replaced, added or granted, and nothing else."""
    named: dict[str, str] = {}
    with connect(database_url) as conn:
        for statement in CHANGES:
            with conn.transaction(force_rollback=True):
                conn.execute(statement.encode())
                named[statement] = ", ".join(objects_as_seen(conn))
    assert named == CHANGES


def test_migrate_protects_partitions(database_url: str) -> None:
    """Triggers that are gone are there again, and nobody has a right on a partition itself."""
    with connect(database_url) as conn:
        conn.execute("DROP TRIGGER check_erased ON sealed_fields_0; GRANT ALL ON sealed_fields_0 TO ledger_writer")
        conn.execute("ALTER TABLE sealed_fields_0 DISABLE TRIGGER refuse_change")
        assert changed(database_url) == ["partition of sealed_fields differs"]
        migrate(conn)
    assert changed(database_url) == []


def test_who_may_act_in_the_roles_is_listed(database_url: str) -> None:
    """Members of our roles, also through another role, and superusers, but no login without such rights."""
    with (
        login_role(database_url, member_of="ledger_owner") as team,
        login_role(database_url, member_of=team) as evil,
        login_role(database_url, "SUPERUSER") as root,
        login_role(database_url) as stranger,
        connect(database_url) as conn,
    ):
        conn.execute(sql.SQL("GRANT ledger_projector TO {}").format(sql.Identifier(evil)))
        with connect(database_url, "verifier") as verifier:
            members = role_members(verifier)
    assert {f"{team!a} (owner)", f"{evil!a} (owner, projector)", f"{root!a} (superuser)"} <= set(members)
    assert not any(member.startswith((f"{stranger!a} ", "'ledger_")) for member in members)


def test_a_replaced_view_is_named(database_url: str) -> None:
    """It has the same columns and leaves out some rows."""
    with connect(database_url) as conn:
        [(query,)] = conn.execute("SELECT pg_get_viewdef('override_rates'::regclass)").fetchall()
        fewer = sql.SQL("CREATE OR REPLACE VIEW override_rates AS SELECT * FROM ({}) v WHERE edited < 9")
        conn.execute(fewer.format(sql.SQL(query.rstrip(";"))))
    assert changed(database_url) == ["view override_rates differs"]


def test_what_the_database_says_of_its_version_hides_nothing(database_url: str) -> None:
    """The owner can write another digest there: each object is compared all the same; alone it is no difference."""
    with connect(database_url) as conn:
        conn.execute("UPDATE projections SET digest = 'x' WHERE name = 'decisions'; COMMENT ON SCHEMA ledger IS 'x'")
        assert changed(database_url) == []
        conn.execute("DROP VIEW override_rates; ALTER TABLE events DISABLE TRIGGER refuse_change")
        named = ["override_rates is missing", "trigger events.refuse_change differs"]
        assert changed(database_url) == named
        conn.execute("DELETE FROM projections WHERE name = 'decisions'")
    assert changed(database_url) == named


def test_a_view_over_a_table_without_its_columns_is_named(database_url: str) -> None:
    """Its SELECT cannot be planned any more: that is a difference, not an error."""
    with connect(database_url) as conn:
        conn.execute("CREATE TABLE kept AS TABLE override_rates; ALTER TABLE decisions DROP COLUMN outcome CASCADE")
        conn.execute("CREATE OR REPLACE VIEW override_rates AS TABLE kept")
    assert "view override_rates differs" in changed(database_url)

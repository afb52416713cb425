"""Each role can do what it is for, and nothing else: asked of the catalogue, and tried."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg import sql

from ledger.database import Connection
from tests.support import (
    append,
    check_chain,
    connect,
    fresh_ledger,
    line,
    login_role,
    new,
    refused,
    requested,
    session_of,
)

READ = {
    f"select {table}"
    for table in ("head", "events", "sealed_fields", "stream_clients", "projections", "streams_set_aside")
}
FOLD_FUNCTIONS = {
    "execute money(text)",
    "execute occurred_at(jsonb,timestamp with time zone)",
    "execute search_letters(text)",
    "execute search_query(text)",
    "execute search_tokens(text,boolean)",
    "execute search_words(jsonb)",
    "execute stream_number(text,text)",
    "execute truth_value(text)",
    "execute whole_number(text)",
}
READ_FUNCTIONS = FOLD_FUNCTIONS | {"execute acted_at(text,timestamp with time zone)"}
LOG = ("tiles", "partial_tiles", "checkpoints", "cosignatures", "checkpoint_timestamps")
# Of append(), the parameters for the events.
ARRAYS = "text[],uuid[],text[],text[],integer[],text[],text[],integer[],text[],bytea[],text[],bigint"
READ_LOG = {f"select {table}" for table in LOG}
# Everything that each role may do, PUBLIC's share included. What is not here is refused.
RIGHTS: dict[str | None, set[str]] = {
    None: set(),
    "writer": {
        "execute append(text)",
        f"execute append({ARRAYS},text[],bytea,bytea,bigint,bytea,bytea)",
        "execute check_recorder(bytea)",
        "execute append_blockers()",
        "execute end_append_blockers()",
        "execute check_append(boolean)",
        "execute check_history(bigint[],bytea[])",
        "execute claim_requests(text,interval,integer)",
        "execute hold_claims(text,interval,bigint[])",
        "execute claim_request(text,interval,bigint,bigint)",
        "execute note_uses(text[],integer[],timestamp with time zone[])",
        "execute ask_job(uuid,text,text,text,interval,integer)",
        "execute claim_job(text,text[],interval)",
        "execute hold_job(bigint,text,integer,interval,bigint,bigint)",
        "execute put_back_job(bigint,text,integer,interval,text,boolean)",
        "execute end_job(bigint,text,integer,text,text,interval,bigint,bigint)",
        "execute cancel_job(bigint,interval)",
        "execute forget_job(bigint)",
        "execute take_delivery_slot(text,integer)",
        "usage schema",
    },
    "reader": {
        *READ,
        *READ_LOG,
        "select schema_migrations",
        "select request_claims",
        "select credential_uses",
        "select jobs",
        "select event_types",
        "select stream_numbers",
        "execute authenticate(bytea)",
        "execute last_number(text)",
        "execute position_at(timestamp with time zone)",
        *READ_FUNCTIONS,
        "usage schema",
    },
    "projector": {
        *READ,
        "update projections",
        "insert streams_set_aside",
        *FOLD_FUNCTIONS,
        "usage schema",
    },
    "verifier": {
        *READ,
        *READ_LOG,
        "select schema_migrations",
        "select stream_numbers",
        "select attestations",
        "select event_types",
        "select recording_keys",
        "select erased_streams",
        "execute lead_verifying()",
        "execute verifier_idle_s()",
        "execute position_at(timestamp with time zone)",
        *READ_FUNCTIONS,
        "usage schema",
    },
    "signer": {
        "execute adopt_checkpoint(text,uuid,integer,bytea,text,bigint,bytea,bytea,bigint,bytea,bytea)",
        "execute lead_signing()",
        "execute stop_appends(text)",
        "select head",
        "select events",
        "select attestations",
        *READ_LOG,
        *(f"insert {table}" for table in LOG),
        "update partial_tiles",
        "delete partial_tiles",
        "usage schema",
    },
}
# It folds the read models again, so it may do what the projector may.
RIGHTS["eraser"] = {
    *RIGHTS["projector"],
    "execute erase(text[],uuid[],text[],text[],integer[],text[],text[],bigint,bytea,bytea,bigint,bytea,bytea,bigint)",
}
TABLE_RIGHTS = ["select", "insert", "update", "delete", "truncate", "references", "trigger"]
# Rights that a login has through whatever it is member of; on a column as good as on the table.
ASKED = """
    SELECT format('%%s %%s', r.name, c.relname)
    FROM pg_class c CROSS JOIN unnest(%(rights)s::text[]) AS r (name)
    WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
      AND (has_table_privilege(%(login)s, c.oid, r.name)
           OR r.name IN ('select', 'insert', 'update', 'references')
              AND has_any_column_privilege(%(login)s, c.oid, r.name))
    UNION ALL
    SELECT format('execute %%s', p.oid::regprocedure)
    FROM pg_proc p
    WHERE p.pronamespace = 'ledger'::regnamespace AND has_function_privilege(%(login)s, p.oid, 'execute')
    UNION ALL
    SELECT format('%%s schema', r.name) FROM unnest('{usage,create}'::text[]) AS r (name)
    WHERE has_schema_privilege(%(login)s, 'ledger', r.name)
"""


@pytest.fixture(scope="module")
def ledger(server_url: str) -> Iterator[str]:
    """A ledger with an event in it."""
    with fresh_ledger(server_url) as url:
        with connect(url, "writer") as conn:
            append(conn, new("request-", requested()))
        yield url


def rights(conn: Connection, login: str) -> set[str]:
    """Return the rights of the login in the ledger's schema, in the words of RIGHTS."""
    rows = conn.execute(ASKED, {"login": login, "rights": TABLE_RIGHTS}).fetchall()
    return {str(row[0]) for row in rows}


def tables(conn: Connection) -> list[tuple[str, str]]:
    """Each table of the schema, with the name of one of its columns."""
    rows = conn.execute(
        "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1"
        " WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1"
    ).fetchall()
    return [(str(table), str(column)) for table, column in rows]


def calls(conn: Connection) -> dict[str, sql.Composed]:
    """A call with nulls of each function of the schema, by its signature."""
    rows = conn.execute(
        "SELECT p.oid::regprocedure::text, p.proname, p.proargtypes::regtype[]::text[] FROM pg_proc p"
        " WHERE p.pronamespace = 'ledger'::regnamespace"
    ).fetchall()
    return {signature: call(name, kinds) for signature, name, kinds in rows}


def call(name: str, kinds: list[str]) -> sql.Composed:
    """SELECT name(NULL::kind, …)."""
    nulls = sql.SQL(", ").join(sql.SQL("NULL::" + kind) for kind in kinds)
    return sql.SQL("SELECT {}({})").format(sql.Identifier("ledger", name), nulls)


def attempts(table: str, column: str) -> dict[str, sql.Composed]:
    """A statement for each thing that can be done to a table's rows."""
    statements = {
        "select": "SELECT FROM {table}",
        "insert": "INSERT INTO {table} DEFAULT VALUES",
        "update": "UPDATE {table} SET {column} = {column}",
        "delete": "DELETE FROM {table}",
        "truncate": "TRUNCATE {table}",
    }
    names = {"table": sql.Identifier("ledger", table), "column": sql.Identifier(column)}
    return {f"{verb} {table}": sql.SQL(text).format(**names) for verb, text in statements.items()}


@pytest.fixture(params=RIGHTS, ids=lambda role: role or "public")
def role(request: pytest.FixtureRequest) -> str | None:
    """Each of the roles, and None for a login that has none of them."""
    found = request.param
    assert found is None or isinstance(found, str)
    return found


@pytest.fixture
def login(ledger: str, role: str | None) -> Iterator[str]:
    """A login whose one membership is that in `role`."""
    with login_role(ledger, member_of=role and f"ledger_{role}") as name:
        yield name


def test_rights_are_those_and_no_others(ledger: str, role: str | None, login: str) -> None:
    """A login that is member of one role has exactly that role's rights on tables, columns, functions and schema."""
    with connect(ledger) as conn:
        assert rights(conn, login) == RIGHTS[role]


def test_what_is_not_granted_is_refused(ledger: str, role: str | None, login: str) -> None:
    """Every statement on every table, and every function, that the role has no right to raises 42501 when tried."""
    with connect(ledger) as admin, session_of(ledger, login, role and f"ledger_{role}") as conn:
        tried = {f"execute {signature}": statement for signature, statement in calls(admin).items()}
        for table, column in tables(admin):
            tried.update(attempts(table, column))
        assert RIGHTS[role] - {"usage schema"} <= tried.keys()
        for right in tried.keys() - RIGHTS[role]:
            with refused("42501"):
                conn.execute(tried[right])


def test_no_role_can_widen_its_rights(ledger: str, role: str | None, login: str) -> None:
    """Creating in the schema, altering, dropping, granting, silencing triggers or becoming the owner raises 42501."""
    statements = (
        "CREATE TABLE ledger.mine ()",
        "CREATE FUNCTION ledger.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION ledger.append(batch text) RETURNS void LANGUAGE sql AS ''",
        "CREATE SCHEMA mine",
        "ALTER TABLE ledger.events DISABLE TRIGGER refuse_change",
        "ALTER TABLE ledger.events ADD COLUMN mine int",
        "ALTER FUNCTION ledger.append(text) RESET ALL",
        "DROP TABLE ledger.sealed_fields",
        "ALTER TABLE ledger.sealed_fields DETACH PARTITION ledger.sealed_fields_0",
        "DROP TABLE ledger.sealed_fields_0",
        "DROP FUNCTION ledger.append(text)",
        "DROP SCHEMA ledger CASCADE",
        "CREATE TRIGGER mine BEFORE INSERT ON ledger.events EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "GRANT SELECT ON ledger.leaders TO PUBLIC",
        "SET session_replication_role = replica",
        "SET ROLE ledger_owner",
        "LOCK TABLE ledger.events IN ACCESS EXCLUSIVE MODE",
    )
    with session_of(ledger, login, role and f"ledger_{role}") as conn:
        for statement in statements:
            with refused("42501"), conn.transaction():
                conn.execute(statement)


def test_writer_appends_and_claims(ledger: str) -> None:
    """Membership in ledger_writer is enough for both of its functions, inherited or with SET ROLE as we connect."""
    with connect(ledger, "owner") as owner:
        owner.execute(
            "CREATE TABLE IF NOT EXISTS portfolio_requests"
            " (id bigint, status text, recommendation_id bigint, imported boolean)"
        )
        owner.execute("INSERT INTO portfolio_requests VALUES (1, 'queued', NULL, false), (2, 'queued', NULL, false)")
    with login_role(ledger, member_of="ledger_writer") as login:
        for number, role in enumerate((None, "ledger_writer"), 1):
            with session_of(ledger, login, role) as conn:
                assert append(conn, new(f"by-{role}"))[0].version == 1
                claimed = conn.execute("SELECT request_id FROM claim_requests('worker', '1 minute', 1)").fetchall()
                assert claimed == [(number,)]
    with connect(ledger, "owner") as owner:
        owner.execute("DROP TABLE portfolio_requests")


def test_privileged_functions_keep_their_own_search_path(ledger: str) -> None:
    """Each function that runs with its owner's rights resolves names in the ledger first and in pg_temp last."""
    with connect(ledger) as conn:
        paths = conn.execute(
            "SELECT p.proname, (SELECT c FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%') FROM pg_proc p"
            " WHERE p.pronamespace = 'ledger'::regnamespace AND p.prosecdef"
        ).fetchall()
    assert {"append", "claim_requests", "hold_claims"} <= {name for name, _ in paths}
    assert {path for _, path in paths} == {"search_path=ledger, pg_temp"}


# Things with the names that append() uses, which would record elsewhere or hash differently if it found them.
DECOYS = (
    "CREATE {kind} TABLE {place}.head (LIKE ledger.head)",
    "INSERT INTO {place}.head SELECT true, origin, 41, sha256('decoy'), now() FROM ledger.head",
    "CREATE {kind} TABLE {place}.events (LIKE ledger.events)",
    "CREATE {kind} TABLE {place}.sealed_fields (LIKE ledger.sealed_fields)",
    "CREATE {kind} TABLE {place}.projections (LIKE ledger.projections)",
    "CREATE FUNCTION {place}.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT pg_catalog.sha256(''decoy'')'",
    "CREATE FUNCTION {place}.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$SELECT 'epoch'::timestamptz$$",
    "CREATE FUNCTION {place}.event_hash(bytea, bigint, bigint, bigint, text) RETURNS bytea LANGUAGE sql AS 'SELECT $1'",
    "CREATE FUNCTION {place}.commitment_opens(text, json, json, json) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE FUNCTION {place}.differ(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT $1 IS DISTINCT FROM $2'",
    "CREATE OPERATOR {place}.= (FUNCTION = {place}.differ, LEFTARG = bigint, RIGHTARG = bigint)",
)


@pytest.mark.parametrize(("kind", "place"), [("TEMP", "pg_temp"), ("", "public")])
def test_decoys_do_not_mislead_append(database_url: str, kind: str, place: str) -> None:
    """The caller's own tables, functions and operators, first in its search path, change nothing that append() does."""
    with login_role(database_url, member_of="ledger_writer") as login, connect(database_url) as admin:
        names = {"login": sql.Identifier(login), "database": sql.Identifier(admin.info.dbname)}
        admin.execute(
            sql.SQL("GRANT CREATE ON SCHEMA public TO {login}; GRANT ledger_reader TO {login}").format(**names)
        )
        admin.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {database} TO {login}").format(**names))
        with session_of(database_url, login) as conn:
            for decoy in DECOYS:
                conn.execute(decoy.format(kind=kind, place=place))
            conn.execute(sql.SQL("SET search_path = {}, pg_catalog, ledger").format(sql.Identifier(place)))
            conn.execute("SELECT * FROM ledger.append(%s)", [line(new("request-", requested()))])
            assert conn.execute("SELECT count(*) FROM events").fetchone() == (0,)  # the decoy
        assert [row.stream for row in check_chain(admin)] == ["request-1"]

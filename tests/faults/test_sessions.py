"""Settings of the environment, of a login or of a database change nothing: connections fix all that has a meaning."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from api.cli.schema import bring_up
from api.postgres.embedded import EmbeddedPostgres
from ledger import database
from ledger.tlog.sign.signer_thread import SigningConfig
from ledger.verify.continuous import VerificationConfig
from schema.database_roles import ROLES
from tests.api.program import cli
from tests.api.served import check_ledger, served
from tests.ledger.cases import CLIENT, Ledger
from tests.ledger.proof.bundle.bundles import program
from tests.ledger.tlog.logs import key_for
from tests.paths import ROOT
from tests.support import (
    check_chain,
    connect,
    eventually,
    line,
    login_role,
    new,
    requested,
    scratch_database,
)

# Each of these breaks programs that trust the defaults.
HOSTILE = {
    "array_nulls": "off",
    "backslash_quote": "on",
    "bytea_output": "escape",
    "client_encoding": "SQL_ASCII",
    "client_min_messages": "error",
    "datestyle": "German",
    "default_transaction_deferrable": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "extra_float_digits": "-15",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "100ms",
    "intervalstyle": "sql_standard",
    "jit": "on",
    "jit_above_cost": "0",
    "lock_timeout": "1ms",
    "quote_all_identifiers": "on",
    "role": "pg_monitor",
    "search_path": "pg_catalog",
    "session_replication_role": "replica",  # most triggers do not fire then
    "standard_conforming_strings": "off",
    "statement_timeout": "1ms",
    "synchronous_commit": "off",
    "timezone": "Pacific/Chatham",
    "transaction_timeout": "50ms",  # since PostgreSQL 17
    "transform_null_equals": "on",
}
# Of libpq: what it adds to each session, and what of a URL it fills in.
ENVIRONMENT = {
    "PGAPPNAME": "other",
    "PGCLIENTENCODING": "LATIN1",
    "PGDATESTYLE": "SQL, DMY",
    "PGOPTIONS": "-c standard_conforming_strings=off -c default_transaction_read_only=on",
    "PGTARGETSESSIONATTRS": "standby",
    "PGTZ": "Asia/Kathmandu",
}
# Where these point, no server answers, or none may.
ELSEWHERE = {
    "PGCHANNELBINDING": "require",
    "PGDATABASE": "nowhere",
    "PGHOST": "nowhere.invalid",
    "PGHOSTADDR": "192.0.2.1",
    "PGPORT": "1",
    "PGREQUIREAUTH": "scram-sha-256",
    "PGSERVICE": "nosuch",
    "PGSSLMODE": "verify-full",
    "PGUSER": "nobody",
}
# With these an append fails, the test cannot read the answer, or the writer may not set them.
NOT_FOR_A_WRITER = frozenset(
    {
        "client_encoding",
        "default_transaction_read_only",
        "role",
        "search_path",
        "session_replication_role",
        "statement_timeout",
        "transaction_timeout",
    }
)
NOTES = "Zoë fragt: 10 € \\ 'heute'?"


def smoke(url: str, folder: Path) -> None:
    """Migrate, build, serve, write, read, sign, verify, and export what the auditor's program accepts."""
    bring_up(url, None, lambda *_: None)
    key = key_for(url)
    signing = SigningConfig(key, folder / "last", every_s=0.05)
    with served(url, signing=signing, verification=VerificationConfig(keys=(key.verifier,))) as api:
        request_id = api.asked(notes=NOTES)
        asked_at, _ = api.head()
        recommendation_id = api.answered(request_id)
        [row] = api.items("/portfolio/requests", client_id="client-1")
        assert (row["id"], row["notes"]) == (request_id, NOTES)
        assert row["created_at"].endswith(("Z", "+00:00"))
        then = api.get(f"/portfolio/requests/{request_id}", as_of=asked_at).json()
        assert (then["notes"], then["status"]) == (NOTES, "queued")
        assert api.get(f"/recommendations/{recommendation_id}").status_code == 200
        position, _ = api.head()
        eventually("all is signed", lambda: api.get("/readyz").json()["checkpoint"]["size"] >= position)
        ready = api.get("/readyz").json()
        assert (ready["status"], ready["reasons"]) == ("ready", [])
    (folder / "case.zip").write_bytes(Ledger(url, key, signing.state).bundle(CLIENT)[0])
    assert program(folder / "case.zip", "--key", key.verifier.text).code == 0
    check_ledger(url)


@contextlib.contextmanager
def hostile_database(server_url: str, settings: Mapping[str, str]) -> Iterator[str]:
    """An empty database with these settings as defaults of its sessions."""
    with scratch_database(server_url) as url:
        with psycopg.connect(server_url, autocommit=True) as admin:
            name = sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(url)["dbname"]))
            set_defaults(admin, sql.SQL("DATABASE {}").format(name), settings)
        yield url


def set_defaults(admin: psycopg.Connection, of: sql.Composed, settings: Mapping[str, str]) -> None:
    """Make these the defaults of sessions, as far as this version of PostgreSQL has them."""
    for setting, value in settings.items():
        if admin.execute("SELECT 1 WHERE current_setting(%s, true) IS NOT NULL", [setting]).fetchone():
            statement = sql.SQL("ALTER {} SET {} = {}").format(of, sql.Identifier(setting), sql.Literal(value))
            admin.execute(statement)


def test_no_setting_of_the_database_changes_anything(server_url: str, tmp_path: Path) -> None:
    """All hostile settings at once, as ALTER DATABASE makes them."""
    with hostile_database(server_url, HOSTILE) as url:
        smoke(url, tmp_path)


def test_no_setting_of_the_login_changes_anything(server_url: str, tmp_path: Path) -> None:
    """All hostile settings at once, as ALTER ROLE makes them, for a login that may migrate."""
    with scratch_database(server_url) as url, login_role(server_url, "SUPERUSER", "PASSWORD 'test'") as login:
        with psycopg.connect(server_url, autocommit=True) as admin:
            set_defaults(admin, sql.SQL("ROLE {}").format(sql.Identifier(login)), HOSTILE)
        smoke(make_conninfo(url, user=login, password="test"), tmp_path)


def test_no_variable_of_libpq_changes_anything(
    server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All hostile variables at once, for a server that the user named."""
    with scratch_database(server_url) as url:
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        smoke(url, tmp_path)
        for command in (["status"], ["verify"]):
            ran = cli(*command, "--database-url", url)
            assert (ran.code, ran.err) == (0, ""), ran
        monkeypatch.undo()


def test_no_session_compiles_statements(server_url: str) -> None:
    """A database that compiles each statement by default does not for the roles of the ledger."""
    with hostile_database(server_url, {"jit": "on", "jit_above_cost": "0"}) as url:
        assert cli("migrate", "--database-url", url).code == 0
        for role in (None, *ROLES):
            with connect(url, role) as conn:
                assert conn.execute("SHOW jit").fetchone() == ("off",), role


@pytest.mark.slow
@pytest.mark.parametrize("setting", HOSTILE)
def test_each_setting_alone_changes_nothing(server_url: str, tmp_path: Path, setting: str) -> None:
    """One hostile setting of the database: none of the others hides what it does."""
    with hostile_database(server_url, {setting: HOSTILE[setting]}) as url:
        smoke(url, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("variable", ENVIRONMENT)
def test_each_variable_alone_changes_nothing(
    server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """One hostile variable of the environment."""
    with scratch_database(server_url) as url:
        monkeypatch.setenv(variable, ENVIRONMENT[variable])
        smoke(url, tmp_path)
        monkeypatch.undo()


def test_the_embedded_server_ignores_libpqs_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made, found and used, although the variables are about another server that does not answer."""
    for name, value in {**ENVIRONMENT, **ELSEWHERE}.items():
        monkeypatch.setenv(name, value)
    with (
        tempfile.TemporaryDirectory(prefix="advice-ledger-") as folder,
        EmbeddedPostgres(Path(folder), settings={"fsync": "off"}) as server,
    ):
        assert server.is_running()
        bring_up(server.url, None, lambda *_: None)
        with connect(server.url, "reader") as conn:
            assert conn.execute("SELECT current_setting('timezone'), position FROM head").fetchone() == ("UTC", 0)


def test_both_sides_notice_a_dead_peer(database_url: str) -> None:
    """The server drops the session, and with it the locks, of a leader whose machine is gone: in about 15 seconds."""
    with connect(database_url, "signer") as conn:
        found = dict(
            conn.execute("SELECT name, setting FROM pg_settings WHERE name LIKE 'tcp%' ORDER BY name").fetchall()
        )
        ours = psycopg.conninfo.conninfo_to_dict(database.conninfo(database_url, "signer"))
    # A socket of the file system has no keepalives, and the server says 0 for it. So look at the request as well.
    options = str(ours["options"])
    assert all(f"-c {name}={value}" in options for name, value in DEAD_PEER.items())
    assert found.keys() == DEAD_PEER.keys()
    assert (ours["keepalives"], ours["keepalives_idle"], ours["tcp_user_timeout"]) == ("1", "5", "10000")


DEAD_PEER = {
    "tcp_keepalives_count": "3",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_user_timeout": "10000",
}


@pytest.mark.parametrize("setting", sorted(HOSTILE.keys() - NOT_FOR_A_WRITER))
def test_a_writer_cannot_break_the_chain_with_its_own_settings(database_url: str, setting: str) -> None:
    """From the writer's role alone: whatever it sets before it appends, the chain verifies."""
    with connect(database_url, "writer") as conn:
        batches = [line(new("request-", requested(notes=NOTES))), line(new("request-1"))]
        conn.execute(sql.SQL("SET {} = {}").format(sql.Identifier(setting), sql.Literal(HOSTILE[setting])))
        for batch in batches:
            conn.execute("SELECT position FROM append(%s)", [batch])
    with connect(database_url) as conn:
        assert len(check_chain(conn)) == 2


def test_no_function_depends_on_how_strings_are_read() -> None:
    """A backslash in a plain string means another thing where standard_conforming_strings is off."""
    plain_string = re.compile(r"(?<![Ee])'[^']*\\[^']*'")
    texts = {path: path.read_text("utf-8") for path in (ROOT / "schema").rglob("*.sql")}
    assert len(texts) > 20
    assert [str(path) for path, text in texts.items() if plain_string.search(re.sub("--.*", "", text))] == []


def test_definers_functions_fix_what_their_callers_can_set(database_url: str) -> None:
    """Each function that runs with its owner's rights fixes the search path and how strings are read."""
    with connect(database_url) as conn:
        rows = conn.execute(
            "SELECT proname, proconfig FROM pg_proc WHERE prosecdef AND pronamespace = 'ledger'::regnamespace"
        ).fetchall()
    assert len(rows) >= 5
    for name, settings in rows:
        assert {"standard_conforming_strings=on", "search_path=ledger, pg_temp"} <= set(settings), name


def test_only_one_module_connects() -> None:
    """A connection that another module makes would inherit all of this."""
    connecting = re.compile(r"psycopg\.(Async)?(Connection\.)?connect\(|AsyncConnection\.connect\(")
    folders = ("api", "ledger", "projections", "schema")
    found = [
        path for folder in folders for path in (ROOT / folder).rglob("*.py") if connecting.search(path.read_text())
    ]
    assert [str(path.relative_to(ROOT)) for path in found] == ["ledger/database.py"]

"""Each role's own login: on the embedded server by itself, on another one with a file of passwords."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from api.cli.schema import bring_up
from api.cli.serve import prepare
from api.cli.status_writer import acknowledged
from api.postgres.connect import BadPasswords, CannotConnect, RoleDenied, connect, open_database
from api.postgres.logins import ensure_passwords, make_logins, read_passwords
from api.postgres.privileged import privileged_logins
from ledger import database
from ledger.database import Connection, RoleLogins, Url
from ledger.store.durability import read_acknowledged
from projections.objects import changed_objects
from schema.database_roles import HAVE_RIGHTS_OF, ROLES, role_name
from tests.support import append, login_url, new, refused, scratch_database

OF_OTHERS = {
    "a shell": "COPY (SELECT 1) TO PROGRAM 'true'",
    "the owner": "SET ROLE ledger_owner",
    "the superuser": "SET SESSION AUTHORIZATION postgres",
    "the recording keys": "DELETE FROM ledger.recording_keys",
    "the credentials": "UPDATE ledger.credentials SET revoked_at = NULL",
    "the subjects": "UPDATE ledger.subjects SET suspended = false",
    "the triggers": "ALTER TABLE ledger.events DISABLE TRIGGER refuse_change",
    "a file": "SELECT pg_read_file('postgresql.conf')",
}


@pytest.fixture(scope="module")
def embedded() -> Iterator[Url]:
    """An embedded database that was brought up as serve and migrate do."""
    with (
        tempfile.TemporaryDirectory(prefix="advice-ledger-") as folder,
        open_database(None, Path(folder), make=True) as url,
    ):
        bring_up(url, None, lambda *_: None)
        yield url


@pytest.fixture
def no_logins(server_url: str) -> Iterator[None]:
    """The roles of the shared server are no logins, before and after."""
    with psycopg.connect(server_url, autocommit=True) as admin:
        forget_logins(admin)
        yield
        forget_logins(admin)


def forget_logins(admin: Connection) -> None:
    """Make the roles what a migration without logins makes them."""
    for role in ROLES:
        statement = sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL")
        admin.execute(statement.format(sql.Identifier(role_name("ledger", role))))


@pytest.mark.parametrize("role", ROLES)
def test_each_embedded_role_is_its_own_login(embedded: Url, role: str) -> None:
    """SET ROLE NONE leads to no more: to one role at most, whose rights it has; no superuser, nothing of the server."""
    rights_of = [HAVE_RIGHTS_OF[role]] if role in HAVE_RIGHTS_OF else []
    with connect(embedded, role) as conn:
        conn.execute("SET ROLE NONE")
        assert conn.execute("SELECT session_user, current_user").fetchone() == (role_name("ledger", role),) * 2
        memberships = "SELECT rolname FROM pg_roles WHERE pg_has_role(session_user, oid, 'MEMBER') AND rolname <> %s"
        assert conn.execute(memberships, [role_name("ledger", role)]).fetchall() == [
            (role_name("ledger", other),) for other in rights_of
        ]
        for other in (other for other in ROLES if other not in {role, *rights_of}):
            with refused("42501"):
                conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role_name("ledger", other))))
        for statement in OF_OTHERS.values():
            with refused("42501"):
                conn.execute(statement)


def test_every_connection_of_a_role_uses_its_login(embedded: Url) -> None:
    """What the one function that makes connections makes, logs in as the role; only the owner's is the superuser's."""
    logins: dict[str | None, object] = {}
    for role in (*ROLES, "owner", None):
        with database.connect(database.conninfo(embedded, role)) as conn:
            logins[role] = conn.execute("SELECT session_user::text").fetchone()
    of_roles: dict[str | None, object] = {role: (f"ledger_{role}",) for role in ROLES}
    assert logins == of_roles | {"owner": ("postgres",), None: ("postgres",)}
    with connect(embedded, "verifier") as conn:
        assert privileged_logins(conn, embedded) == []
        assert changed_objects(conn) == []


def test_status_judges_the_login_that_records(embedded: Url) -> None:
    """The settings of the writer's login count, not those of the reader's, if the writer's can be used."""
    assert isinstance(embedded, RoleLogins)
    with psycopg.connect(embedded.url, autocommit=True) as admin, connect(embedded, "reader") as conn:
        admin.execute("ALTER ROLE ledger_writer SET synchronous_commit = off")
        found = acknowledged(embedded, conn)
        admin.execute("ALTER ROLE ledger_writer RESET synchronous_commit")
        own = read_acknowledged(conn)
    assert found is not None
    assert (found.meaning, len(found.warnings)) == ("flushed on this server", 1)
    assert own is not None
    assert own.warnings == ()


def test_status_judges_its_own_login_where_it_may_not_record(database_url: str) -> None:
    """A login that may only read is told what its own settings mean."""
    with login_url(database_url, "ledger_reader") as url, connect(url, "reader") as conn:
        conn.execute("SET synchronous_commit = off")
        found = acknowledged(url, conn)
    assert found is not None
    assert any("synchronous_commit is off" in warning for warning in found.warnings)


def test_migrate_makes_a_missing_login_again(embedded: Url) -> None:
    """As after a restore without the roles' attributes: another command says what to run, and migrate mends it."""
    assert isinstance(embedded, RoleLogins)
    with psycopg.connect(embedded.url, autocommit=True) as admin:
        admin.execute("ALTER ROLE ledger_reader NOLOGIN")
        with pytest.raises(RoleDenied, match="run advice-ledger migrate"):
            connect(embedded, "reader")
    bring_up(embedded, None, lambda *_: None)
    connect(embedded, "reader").close()


def test_serve_uses_the_owner_only_if_there_is_something_to_do(
    embedded: Url, capsys: pytest.CaptureFixture[str]
) -> None:
    """It checks, and applies nothing: what somebody changed stays, and is named. Another version is migrated."""
    assert isinstance(embedded, RoleLogins)
    without_owner = RoleLogins(make_conninfo(embedded.url, user="nobody"))
    prepare(without_owner)
    assert "warning" not in capsys.readouterr().err
    with psycopg.connect(embedded.url, autocommit=True) as admin:
        admin.execute("ALTER FUNCTION ledger.append(text) SECURITY INVOKER")
        for url in (without_owner, embedded):
            prepare(url)
            assert (
                "warning: not as this version makes it: function append(batch text) differs; "
                in capsys.readouterr().err
            )
        for change in ("COMMENT ON SCHEMA ledger IS 'x'", "ALTER ROLE ledger_signer NOLOGIN"):
            admin.execute(change.encode())
            with pytest.raises(CannotConnect, match="nobody"):
                prepare(without_owner)
            prepare(embedded)
            capsys.readouterr()
            prepare(without_owner)
            assert "warning" not in capsys.readouterr().err


@pytest.mark.usefixtures("no_logins")
def test_the_file_has_a_password_for_each_role(database_url: str, tmp_path: Path) -> None:
    """Migrate makes file and logins; the server has SCRAM verifiers; again changes nothing; a lost login comes back."""
    path = tmp_path / "logins"
    ensure_passwords(path)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_text()
    assert [len(password) for password in read_passwords(path).values()] == [64] * len(ROLES)
    url = RoleLogins(database_url, path)
    stored = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname LIKE 'ledger\\_%' AND rolcanlogin ORDER BY 1"
    with connect(url, None) as admin:
        verifiers = []
        for _ in range(2):
            ensure_passwords(path)
            forget_logins(admin)
            make_logins(admin, url)
            verifiers.append(admin.execute(stored).fetchall())
    assert path.read_text() == before
    for rows in verifiers:
        assert [name for name, _ in rows] == sorted(read_passwords(path))
        assert all(verifier.startswith("SCRAM-SHA-256$") for _, verifier in rows)
    for role in ROLES:
        with database.connect(database.conninfo(url, role)) as conn:
            assert conn.execute("SELECT session_user::text").fetchone() == (f"ledger_{role}",)


def test_the_owners_password_is_not_sent_for_a_role(tmp_path: Path) -> None:
    """The login of a role has the host and options of the URL, the file's password, and not the owner's."""
    url = RoleLogins("postgresql://owner:s3cret@db.example:5433/advice?sslmode=verify-full", tmp_path / "logins")
    reader = psycopg.conninfo.conninfo_to_dict(database.login_of(url, "reader"))
    assert reader == {
        "user": "ledger_reader",
        "host": "db.example",
        "port": "5433",
        "dbname": "advice",
        "sslmode": "verify-full",
        "passfile": str(tmp_path / "logins"),
    }
    owner = psycopg.conninfo.conninfo_to_dict(database.login_of(url, "owner"))
    assert (owner["user"], owner["password"]) == ("owner", "s3cret")
    assert "passfile" not in owner
    assert "s3cret" not in repr(url)


@pytest.mark.parametrize("fault", ["missing", "readable", "a folder", "incomplete"])
def test_a_file_that_cannot_be_used_is_named(database_url: str, tmp_path: Path, fault: str) -> None:
    """BadPasswords has the file and what to do; nothing is changed."""
    path = tmp_path / "logins"
    if fault == "a folder":
        path.mkdir()
    elif fault != "missing":
        path.write_text("*:*:*:ledger_writer:secret\n")
        path.chmod(0o644 if fault == "readable" else 0o600)
    with connect(database_url, None) as admin, pytest.raises(BadPasswords, match=str(path)) as caught:
        make_logins(admin, RoleLogins(database_url, path))
    assert "secret" not in str(caught.value)
    with connect(database_url, None) as admin:
        logins = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'ledger\\_%' AND rolcanlogin"
        assert admin.execute(logins).fetchall() == []


def test_passwords_are_read_as_libpq_reads_them(tmp_path: Path) -> None:
    """Comments and other lines are left out; a backslash makes the next character a part of the field."""
    path = tmp_path / "logins"
    path.write_text("# mine\n\ndb:5432:*:ledger_reader:a\\:b\\\\c\nnonsense\n*:*:*:ledger_writer:d\n")
    path.chmod(0o600)
    assert read_passwords(path) == {"ledger_reader": "a:b\\c", "ledger_writer": "d"}


def test_a_login_with_too_many_rights_is_named(database_url: str) -> None:
    """A superuser and a member of the owner; not the login of a role."""
    with psycopg.connect(database_url) as admin:
        superuser = admin.info.user
    with connect(database_url, "reader") as conn:
        assert privileged_logins(conn, database_url) == [superuser]
    for role, named in (("owner", True), ("reader", False)):
        with login_url(database_url, f"ledger_{role}") as url, connect(url, role) as conn:
            assert privileged_logins(conn, url) == ([conn.info.user] if named else [])


def test_nobody_connects_without_a_grant(server_url: str) -> None:
    """After migrate, a login without grants is refused; the roles connect, and none of them makes temporary tables."""
    with scratch_database(server_url) as url:
        bring_up(url, None, lambda *_: None)
        with login_url(url) as stranger, pytest.raises(psycopg.OperationalError, match="permission denied for data"):
            psycopg.connect(stranger)
        for role in ROLES:
            with login_url(url, f"ledger_{role}") as member, connect(member, role) as conn, refused("42501"):
                conn.execute("CREATE TEMP TABLE mine ()")


def test_an_idle_transaction_of_the_writer_is_ended(database_url: str) -> None:
    """The server ends it, and the head is free; our connections and the login itself have that limit."""
    limit = "SELECT current_setting('idle_in_transaction_session_timeout')"
    with connect(database_url, "owner") as conn:
        assert conn.execute("SELECT rolconfig FROM pg_roles WHERE rolname = 'ledger_writer'").fetchone() == (
            ["idle_in_transaction_session_timeout=10s"],
        )
    with database.connect(database.conninfo(database_url, "writer")) as conn:
        assert conn.execute(limit).fetchone() == ("10s",)
    with login_url(database_url, "ledger_writer") as url:
        short = database.conninfo(url, "writer", idle_in_transaction_session_timeout="300ms")
        with database.connect(short) as idle, database.connect(database.conninfo(url, "writer")) as other:
            idle.execute("BEGIN")
            append(idle, new("lost"))
            [kept] = append(other, new("kept"))  # waits until the server has ended the first
            assert (kept.position, kept.stream) == (1, "kept")
            with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
                idle.execute("COMMIT")

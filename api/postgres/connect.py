"""Opens the database of a program: a server that the user names by URL, or the embedded one on a data folder.

The errors; each message says what to do:

    DatabaseError
    ├── BadDatabaseUrl     the URL cannot be read; the message does not repeat it, as it may hold a password
    ├── NoDataFolder       the folder has no embedded database yet
    ├── CannotConnect      the server does not answer, or refuses the login
    ├── BadPasswords       the file with the passwords of the roles cannot be used
    ├── NoLedger           the database has no ledger yet
    └── RoleDenied         the login may not act in the ledger's role
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.postgres.embedded import EmbeddedError, EmbeddedPostgres, default_data_dir
from ledger import database
from ledger.background import BackgroundWorker, Failure
from ledger.database import WRITING_ROLES, Connection, RoleLogins, Url, conninfo, login_of, one_line
from ledger.errors import is_operational
from schema.database_roles import ROLES, role_name

# The pause between two checks of the supervisor that the embedded server answers.
CHECK_S = 1.0

HAS_LEDGER = "SELECT to_regclass('head') IS NOT NULL"


class DatabaseError(Exception):
    """The database cannot be used; the message says what to do."""


class BadDatabaseUrl(DatabaseError):
    """The database URL cannot be read."""

    def __init__(self) -> None:
        super().__init__(
            "the database URL cannot be read: write postgresql://user:password@host:port/database, with special "
            "characters of the password percent-encoded (@ as %40, / as %2F)"
        )


class NoDataFolder(DatabaseError):
    """There is no embedded database in the folder."""


class CannotConnect(DatabaseError):
    """The server does not answer, or refuses the login."""


class BadPasswords(DatabaseError):
    """The file with the passwords of the ledger's roles cannot be used."""


class NoLedger(DatabaseError):
    """The database has no ledger."""


class RoleDenied(DatabaseError):
    """The login may not act in the ledger's role."""


@contextlib.contextmanager
def open_database(
    database_url: str | None,
    data_dir: Path | None,
    *,
    passwords: Path | None = None,
    make: bool = False,
    supervise: bool = False,
) -> Iterator[Url]:
    """Yield the URL to connect to: `database_url`, or the embedded server's, which runs while the block does.

    On the embedded server each role has a login. At `database_url` they have if `passwords` names their file. The
    default for `data_dir` is the user's own data folder. `make` allows creating the embedded database if there is none.
    `supervise` restarts the embedded server if it is killed. Raises DatabaseError or EmbeddedError.
    """
    if database_url is not None:
        check_url(database_url)
        yield database_url if passwords is None else RoleLogins(database_url, passwords)
        return
    folder = (data_dir or default_data_dir()).expanduser()
    if not make:
        _check_folder(folder)
    with EmbeddedPostgres(folder) as server, supervised(server) if supervise else contextlib.nullcontext():
        yield RoleLogins(server.url)


def check_url(url: str) -> None:
    """Raise BadDatabaseUrl if libpq cannot read the URL, or would misread it.

    With an unescaped @ or / in a password, libpq takes a part of the password for a host, a port or a database name,
    and its error messages then show that part.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise BadDatabaseUrl from None
    ports = str(parts.get("port") or "").split(",")
    misread = "://" in url and any("@" in str(parts.get(name)) for name in ("host", "dbname"))
    if not parts or misread or not all(port.isdecimal() or not port for port in ports):
        raise BadDatabaseUrl


def connect(url: Url, role: str | None, *, schema: str = "ledger") -> Connection:
    """Connect in autocommit mode, to act as the ledger's `role`. None keeps the login's own rights.

    A statement sets the role, because a refusal while connecting would have no SQLSTATE. Of several hosts, a role that
    writes takes the primary, and so does None. Raises CannotConnect; with a role also NoLedger and RoleDenied.
    """
    try:
        conn = _connect(_primary(login_of(url, role, schema=schema), role), schema)
    except CannotConnect as error:
        if isinstance(url, RoleLogins) and role in ROLES:
            with _connect(login_of(url, None), schema) as owner:  # raises if the server does not answer at all
                if owner.execute(HAS_LEDGER).fetchone() != (True,):
                    raise _no_ledger(owner) from error
            command = "migrate" if url.passwords is None else f"migrate --logins {url.passwords}"
            raise RoleDenied(f"{error}: run advice-ledger {command}, which makes the login") from error
        raise
    try:
        if role is not None:
            _act_as(conn, role_name(schema, role))
    except DatabaseError:
        conn.close()
        raise
    return conn


def _primary(url: str, role: str | None) -> str:
    """Let libpq look for the primary among several hosts. A single host is used in any role, and reports it itself."""
    parts = conninfo_to_dict(url)
    several = "," in str(parts.get("host") or parts.get("hostaddr") or "")
    if not several or "target_session_attrs" in parts or not (role is None or role in WRITING_ROLES):
        return url
    return make_conninfo(url, target_session_attrs="read-write")


def _connect(url: str, schema: str) -> Connection:
    try:
        # A client that reads much may pause, and the server would think that the peer is dead.
        return database.connect(conninfo(url, None, schema=schema, tcp_user_timeout="0"))
    except psycopg.OperationalError as error:
        raise CannotConnect(f"cannot connect to the database: {one_line(error)}") from error
    except UnicodeError as error:  # from Python's look-up of the host name
        raise CannotConnect("cannot connect to the database: the host in its URL is not a valid host name") from error


@contextlib.contextmanager
def supervised(server: EmbeddedPostgres) -> Iterator[None]:
    """While the block runs, check the server every CHECK_S in a thread, and restart it if it died."""
    supervisor = _Supervisor(server)
    supervisor.start()
    try:
        yield
    finally:
        supervisor.request_stop()
        supervisor.join()


class _Supervisor(BackgroundWorker):
    """Restart the embedded server after it was killed."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        super().__init__("the embedded PostgreSQL")
        self._server = server

    def work(self) -> None:
        while not self._stopping.wait(CHECK_S):
            if not self._server.is_running():
                self.report_failure("no answer; waiting for it, or starting it again")
                self._server.ensure_running()
            self.report("running")

    def on_failure(self, error: Exception) -> Failure | None:
        return Failure(str(error), CHECK_S) if isinstance(error, EmbeddedError) else None


def _check_folder(folder: Path) -> None:
    # If the folder cannot be read, the embedded server fails with a message that says why.
    with contextlib.suppress(OSError):
        if not (folder / "postgres").exists():
            raise NoDataFolder(
                f"there is no ledger in {folder}: create one with advice-ledger serve or advice-ledger migrate, choose "
                "another folder with --data-dir, or a server with --database-url"
            )


def _act_as(conn: Connection, role: str) -> None:
    try:
        conn.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    except psycopg.errors.InvalidParameterValue as error:
        raise _no_ledger(conn) from error
    except psycopg.errors.InsufficientPrivilege as error:
        if is_operational(error):
            raise
        raise RoleDenied(
            f"the database login {conn.info.user} may not act as {role}: grant it that role, or use a login that has it"
        ) from error
    if conn.execute(HAS_LEDGER).fetchone() != (True,):
        raise _no_ledger(conn)


def _no_ledger(conn: Connection) -> NoLedger:
    return NoLedger(f"the database {conn.info.dbname} has no ledger yet: run advice-ledger migrate")

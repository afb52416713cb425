"""Run the embedded PostgreSQL on a data folder, with the server of the `embedded` extra. It is used without a database
URL.

    data_dir/
        postgres/               the cluster (PGDATA), mode 0700, kept between runs
            advice_ledger.conf  our settings, rewritten before each start; ALTER SYSTEM overrides them
            server.log          the server's log
        .start-stop.lock        held while a process starts, checks or stops the server
        .users.lock             held, shared, by every user of the server

Sharing. The kernel drops a file lock when its holder dies, however it dies. So the users of the server are exactly the
holders of `.users.lock`. A user that can turn its shared lock into an exclusive one is the last user, and stops the
server. (The package's own list of process ids survives a kill -9, and then its server never stops.) If the last user is
killed with -9, the server runs on until the next user of the folder has come and gone.

Access. The server listens on no network address, only on a socket of mode 0700 in a folder of mode 0700. It trusts
every connection there, which only root and its own account (see `api.postgres.account`) can make. Within it each role
of the ledger is a login of its own; only migrating uses the superuser.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import platformdirs

from api.postgres.cluster import (
    DATABASE,
    POLL_S,
    START_TIMEOUT_S,
    STOP_TIMEOUT_S,
    Cluster,
    binaries,
    ignore_environment,
)
from api.postgres.errors import BusyError, DataVersionError, EmbeddedError, ExtraMissingError, FolderError, StartError

__all__ = [
    "BusyError",
    "DataVersionError",
    "EmbeddedError",
    "EmbeddedPostgres",
    "ExtraMissingError",
    "FolderError",
    "StartError",
    "default_data_dir",
]

LOCK_TIMEOUT_S = START_TIMEOUT_S + STOP_TIMEOUT_S


def default_data_dir() -> Path:
    """Return the current user's folder for our data, by the conventions of the platform. Does not create it."""
    return platformdirs.user_data_path("advice-ledger")


class EmbeddedPostgres:
    """PostgreSQL on `data_dir`, started by its first user and stopped by its last; a context manager.

    Several objects may share a folder, in one process or in many. After a fork, only the parent may call `stop`.
    `settings` are added to `cluster.SETTINGS` if this object starts the server, and ignored if the server runs already.
    Every method except `is_running` raises EmbeddedError; its message says what to do.
    """

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self._cluster = Cluster(self.data_dir / "postgres", settings or {})
        self._users: int | None = None  # file descriptor of our shared lock, while we are a user

    @property
    def url(self) -> str:
        """The URI of the database `advice_ledger`, as superuser, through the socket."""
        return self._cluster.uri(DATABASE)

    def start(self) -> None:
        """Become a user of the server: create cluster and database if needed, and start the server unless it runs.

        Returns once the server answers. If this object is a user already, this is `ensure_running`. Removes the
        variables PG* from the environment of this process: they are about other servers.
        """
        ignore_environment()
        if self._users is not None:
            self.ensure_running()
            return
        binaries()
        self._prepare_folder()
        with self._start_stop_lock(), contextlib.ExitStack() as undo:
            self._users = _open_lock(self.data_dir / ".users.lock")
            undo.callback(self._leave)
            # Does not block: only a holder of the start-stop lock takes the exclusive lock.
            fcntl.flock(self._users, fcntl.LOCK_SH)
            self._cluster.prepare()
            self._cluster.bring_up()
            self._cluster.create_database()
            undo.pop_all()

    def stop(self) -> None:
        """Stop being a user, and stop the server if there is no other user. Does nothing if not started."""
        if self._users is not None:
            with self._start_stop_lock():
                self._leave()

    def is_running(self) -> bool:
        """Return whether the server accepts connections, no matter who started it. It does not while it recovers."""
        return self._cluster.answers()

    def ensure_running(self) -> None:
        """Wait for a server that recovers. If it died, clean up after the crash and start it again. Thread-safe."""
        if self._users is not None and self.is_running():
            return
        with self._start_stop_lock():
            if self._users is None:
                raise StartError("This process does not use the embedded PostgreSQL: call start() first.")
            self._cluster.bring_up()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _leave(self) -> None:
        """Drop our user lock, and stop the server if no other user holds one. The caller holds the start-stop lock."""
        users, self._users = self._users, None
        if users is None:
            return
        try:
            if _try_exclusive(users):
                self._cluster.shut_down()
        finally:
            os.close(users)

    def _prepare_folder(self) -> None:
        with self._folder_errors():
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(_open_lock(self.data_dir / ".users.lock"))
            if self._cluster.pgdata.exists():
                os.scandir(self._cluster.pgdata).close()

    @contextlib.contextmanager
    def _folder_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FolderError(
                f"The data folder {self.data_dir} cannot be used: {error.strerror}: {error.filename}. Choose one that "
                "you can write to with --data-dir, or set ADVICE_LEDGER_DATABASE_URL to use a server of your own."
            ) from error

    @contextlib.contextmanager
    def _start_stop_lock(self) -> Iterator[None]:
        """Allow one start, check or stop at a time, also among threads, as each call opens the file anew."""
        with self._folder_errors(), _opened_lock(self.data_dir / ".start-stop.lock") as lock:
            deadline = time.monotonic() + LOCK_TIMEOUT_S
            while not _try_exclusive(lock):
                if time.monotonic() > deadline:
                    raise BusyError(
                        f"Another process has held {self.data_dir}/.start-stop.lock for {LOCK_TIMEOUT_S} s. "
                        f"If that process hangs, end it; the server's log is {self._cluster.log_path}."
                    )
                time.sleep(POLL_S)
            yield


def _open_lock(path: Path) -> int:
    """Open the lock file, and create it if needed. Child programs do not inherit the descriptor."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextlib.contextmanager
def _opened_lock(path: Path) -> Iterator[int]:
    lock = _open_lock(path)
    try:
        yield lock
    finally:
        os.close(lock)  # which also unlocks it


def _try_exclusive(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

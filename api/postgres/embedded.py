"""A PostgreSQL of our own, for when no database URL is given: the server from the `embedded` extra, run on a folder.

    data_dir/
        postgres/               the cluster (PGDATA), mode 0700, kept between runs
            advice_ledger.conf  our settings, rewritten before each start; ALTER SYSTEM overrides them
            server.log          the server's log
        .start-stop.lock        held while a process starts, checks or stops the server
        .users.lock             held, shared, by every user of the server

Sharing. The kernel drops a file lock when its holder dies, however it dies. So the server's users are exactly the
holders of `.users.lock`, and whoever can turn a shared lock on it into an exclusive one is the last, and stops the
server. (The package's own list of process ids survives a kill -9, and its server then never stops.) A user that is
killed with -9 as the last one leaves the server running until the next user of the folder has come and gone.

Who can connect. The server listens on no address, only on a socket of mode 0700 in a folder of mode 0700, and trusts
who reaches it: the account that it runs as (see `api.postgres.account`), and root.
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

from api.postgres.cluster import DATABASE, POLL_S, START_TIMEOUT_S, STOP_TIMEOUT_S, Cluster, binaries
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
    """The current user's folder for our data, by the conventions of the platform; not created here."""
    return platformdirs.user_data_path("advice-ledger")


class EmbeddedPostgres:
    """PostgreSQL on `data_dir`, started when first needed and stopped by its last user; a context manager.

    Several objects may share a folder, in one process or in many; after a fork only the parent may call `stop`.
    `settings` are added to `cluster.SETTINGS` by the object that starts the server, and ignored by one that
    joins it. Every method but `is_running` raises EmbeddedError with advice in its message.
    """

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self._cluster = Cluster(self.data_dir / "postgres", settings or {})
        self._users: int | None = None  # file descriptor of our shared lock, while we are a user

    @property
    def url(self) -> str:
        """URI of the database `advice_ledger`, as the server's superuser, through its socket."""
        return self._cluster.uri(DATABASE)

    def start(self) -> None:
        """Become a user of the server: make cluster and database where missing, start it unless it runs.

        Returns once the server answers. For an object that is a user already, this is `ensure_running`.
        """
        if self._users is not None:
            self.ensure_running()
            return
        binaries()
        self._prepare_folder()
        with self._start_stop_lock(), contextlib.ExitStack() as undo:
            self._users = _open_lock(self.data_dir / ".users.lock")
            undo.callback(self._leave)
            fcntl.flock(self._users, fcntl.LOCK_SH)  # does not wait: exclusive holders hold the start-stop lock too
            self._cluster.prepare()
            self._cluster.bring_up()
            self._cluster.create_database()
            undo.pop_all()

    def stop(self) -> None:
        """Cease to be a user, and stop the server if there is no other. Does nothing when not started."""
        if self._users is not None:
            with self._start_stop_lock():
                self._leave()

    def is_running(self) -> bool:
        """Whether the server takes connections now, whoever started it; one that is still recovering does not."""
        return self._cluster.answers()

    def ensure_running(self) -> None:
        """Wait for a server that is recovering, start one that died, clear away what its crash left. Thread-safe."""
        if self._users is not None and self.is_running():
            return
        with self._start_stop_lock():
            if self._users is None:
                raise StartError("This process is no user of the embedded PostgreSQL: call start() first.")
            self._cluster.bring_up()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _leave(self) -> None:
        """Drop our lock, with the start-stop lock held, and stop the server if nobody else holds one."""
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
        """One start, check or stop at a time; among threads too, as each call opens the file anew."""
        with self._folder_errors(), _opened_lock(self.data_dir / ".start-stop.lock") as lock:
            deadline = time.monotonic() + LOCK_TIMEOUT_S
            while not _try_exclusive(lock):
                if time.monotonic() > deadline:
                    raise BusyError(
                        f"Another process has held {self.data_dir}/.start-stop.lock for {LOCK_TIMEOUT_S} s. "
                        f"End that process if it hangs; the server's log is {self._cluster.log_path}."
                    )
                time.sleep(POLL_S)
            yield


def _open_lock(path: Path) -> int:
    """A descriptor of the lock file, made when missing. Child programs do not inherit it."""
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

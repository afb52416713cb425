"""A session or server that is at fault, with SQLSTATEs that mostly mean something else: 503, never 500 for ever."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from api.postgres.embedded import EmbeddedPostgres
from ledger.database import AsyncConnection, conninfo
from ledger.errors import Unavailable
from ledger.store.readers import Readers
from ledger.store.writer import Writer
from ledger.tlog.sign.last_signed import LastSigned
from ledger.tlog.sign.signer import Signer
from tests.api.served import make_tokens, problem, served
from tests.ledger.tlog.logs import key_for
from tests.projections.scenes import catch_up
from tests.support import append, connect, eventually, new

PATIENCE_S = 0.7
CONTEXT = "/portfolio/requests/1/context"  # read from the events
WAITS_FOR_STANDBY = """
    SELECT pg_cancel_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'SyncRep' AND application_name = %s
"""
EVENTS_FILE = "SELECT current_setting('data_directory') || '/' || pg_relation_filepath('ledger.events')"
END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.fixture
def no_standby(ledger: str) -> Iterator[str]:
    """The same, on a server whose commits wait for a standby that does not exist."""
    with connect(ledger) as conn:
        try:
            conn.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            conn.execute("SELECT pg_reload_conf()")
            eventually("it waits", lambda: conn.execute("SHOW synchronous_standby_names").fetchone() == ("nobody",))
            yield ledger
        finally:
            conn.execute("ALTER SYSTEM RESET synchronous_standby_names")
            conn.execute("SELECT pg_reload_conf()")


def cancelled(url: str, application: str) -> bool:
    """Cancel the statement that waits for the standby, as operators do when sessions hang; True if there is one."""
    with connect(url) as conn:
        return conn.execute(WAITS_FOR_STANDBY, [application]).fetchone() is not None


def test_a_cancelled_wait_for_the_standby_is_no_receipt(no_standby: str) -> None:
    """The event is on this server alone, so the caller is told that the outcome is unknown."""

    async def run() -> None:
        writer = Writer(conninfo(no_standby, "writer", application="waits"), patience_s=PATIENCE_S)
        await writer.start()
        appending = asyncio.create_task(writer.append([new("request-1")]))
        while not appending.done():
            await asyncio.to_thread(cancelled, no_standby, "waits")
        with pytest.raises(Unavailable):
            appending.result()
        await writer.close()

    asyncio.run(run())
    with connect(no_standby, "reader") as conn:
        assert conn.execute("SELECT count(*) FROM events").fetchone() == (1,)


def test_nothing_is_signed_that_is_on_no_standby(no_standby: str, tmp_path: Path) -> None:
    """A small ledger has no tiles to store, yet its signer waits. If the wait is cancelled, the state file stays."""
    with connect(no_standby, "writer", synchronous_commit="local") as conn:
        append(conn, new("request-1"), new("request-1"))
    key, path = key_for(no_standby), tmp_path / "last"
    with (
        connect(no_standby, "signer", application="signs", statement_timeout="30s") as conn,
        ThreadPoolExecutor(1) as threads,
        LastSigned(path, None, key.verifier).held() as files,
    ):
        step = threads.submit(Signer(conn, key, files).step)
        eventually("it waits, and is cancelled", lambda: cancelled(no_standby, "signs"), within_s=20)
        assert isinstance(step.exception(), Unavailable)
        assert files.read() == []


def reading(url: str, work: Callable[[Readers], Awaitable[None]]) -> None:
    """Run `work` with one pool of readers."""

    async def run() -> None:
        readers = Readers(conninfo(url, "reader"), most=4, patience_s=PATIENCE_S)
        await readers.open()
        try:
            await work(readers)
        finally:
            await readers.close()

    asyncio.run(run())


def test_reads_go_on_when_a_table_gets_other_columns(ledger: str) -> None:
    """As in a rolling upgrade: each connection has a plan that the table no longer fits."""
    with connect(ledger) as admin:
        admin.execute("CREATE TABLE ledger.changing AS SELECT 1 AS one")
        admin.execute("GRANT SELECT ON ledger.changing TO ledger_reader")

        async def work(readers: Readers) -> None:
            everywhere = asyncio.Barrier(4)

            async def read(conn: AsyncConnection) -> int:
                await everywhere.wait()
                cursor = await conn.execute("SELECT * FROM changing", prepare=True)
                return len((await cursor.fetchone()) or ())

            async def read_alone(conn: AsyncConnection) -> int:
                cursor = await conn.execute("SELECT * FROM changing", prepare=True)
                return len((await cursor.fetchone()) or ())

            assert await asyncio.gather(*(readers.run(read) for _ in range(4))) == [1, 1, 1, 1]
            admin.execute("ALTER TABLE ledger.changing ADD COLUMN two integer DEFAULT 2")
            assert [await readers.run(read_alone) for _ in range(4)] == [2, 2, 2, 2]

        reading(ledger, work)


def test_a_file_that_cannot_be_read_is_no_missing_ledger(ledger: str) -> None:
    """PostgreSQL says `permission denied` of a file with the SQLSTATE of a missing right: 503, and no wrong advice."""
    with connect(ledger) as conn:
        [(name,)] = conn.execute(EVENTS_FILE).fetchall()
        conn.execute("CHECKPOINT")
        tokens = make_tokens(ledger)
        with served(ledger, tokens=tokens, patience_s=PATIENCE_S) as api:
            assert api.asked() == 1
            file = Path(name)
            mode = file.stat().st_mode
            file.chmod(0)
            try:
                conn.execute(END_OTHERS)
                for response in (api.ask(), api.get(CONTEXT, "agent")):
                    found = problem(response, 503, "unavailable")
                    assert "migrate" not in found["detail"]
                    assert response.headers["retry-after"] == "1"
            finally:
                file.chmod(mode)
            eventually("writes work again", lambda: api.ask().status_code == 202)
            eventually("reads work again", lambda: api.get(CONTEXT, "agent").status_code == 200)


def test_a_standby_answers_503_until_it_is_promoted(server: EmbeddedPostgres, ledger: str) -> None:
    """A writer whose server is a standby for a moment, as behind a name that moves, writes as soon as it may."""
    writer_url = make_conninfo(ledger, target_session_attrs="any")  # so that it connects, and meets 25006
    tokens = make_tokens(ledger)
    with connect(ledger, "projector") as conn:
        catch_up(conn)  # nobody else does, and tokens are found by a read model
    with served(writer_url, tokens=tokens, patience_s=PATIENCE_S, projector="none") as api:
        assert api.asked() == 1
        server.stop()
        signal_file = server.data_dir / "postgres" / "standby.signal"
        signal_file.touch()
        owner = signal_file.parent.stat()
        shutil.chown(signal_file, owner.st_uid, owner.st_gid)
        server.start()
        for _ in range(3):
            problem(api.ask(), 503, "unavailable")
        with connect(ledger, "reader") as conn:
            assert conn.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        with connect(ledger) as conn:
            conn.execute("SELECT pg_promote()")
        eventually("writes work again", lambda: api.ask().status_code == 202)

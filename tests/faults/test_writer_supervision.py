"""Faults of the program in the writer: one caller gets a 500, the others are served, and an end is never silent."""

from __future__ import annotations

import asyncio
import signal
import threading
from dataclasses import replace

import httpx
import pytest

from ledger import database
from ledger.errors import Unavailable
from ledger.store.envelope import encode
from ledger.store.writer import Writer
from tests.api.program import cli, serving
from tests.api.served import Api, problem
from tests.support import connect, eventually, new

TOO_LATE_S = 8.0
ASKED = {"client_id": "client-1", "risk_profile": "balanced", "amount_usd": 250000}
# The driver and this program take an answer without arrays for a fault that nobody foresaw.
ARGUMENTS = (
    "text[], uuid[], text[], text[], integer[], text[], text[], integer[], text[], bytea[], text[], bigint, text[],"
    " bytea, bytea, bigint, bytea, bytea"
)
BREAK_APPEND = """
    ALTER FUNCTION append(ARGUMENTS) RENAME TO append_whole;
    CREATE FUNCTION append(
        ARGUMENTS, OUT before bigint, OUT positions bigint[], OUT names text[], OUT versions bigint[],
        OUT times timestamptz[], OUT hashes bytea[])
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    BEGIN
        IF $11 IS NULL OR NOT $11::text LIKE '%poison%' THEN
            SELECT * INTO before, positions, names, versions, times, hashes
            FROM append_whole($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18);
        END IF;
    END $$;
    GRANT EXECUTE ON FUNCTION append(ARGUMENTS) TO ledger_writer;
""".replace("ARGUMENTS", ARGUMENTS)
# A way in for the test: ends the writer's task inside a real server.
END_WRITER = """
import asyncio, signal
def end(*_):
    for task in asyncio.all_tasks():
        if task.get_name() == "ledger-writer":
            task.cancel()
signal.signal(signal.SIGUSR1, end)
"""


async def turn() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_fault_fails_its_own_caller_alone(database_url: str) -> None:
    """Text that no encoder made breaks the whole group; then it fails alone, and the others are recorded."""

    async def main() -> list[object]:
        writer = Writer(database.conninfo(database_url, "writer"))
        await writer.start()
        first = asyncio.create_task(writer.append([new("first")]))
        await turn()
        group = [encode(new("good")), replace(encode(new("bad")), head="\udcff"), encode(new("good"))]
        tasks = [asyncio.create_task(writer.append_lines([line])) for line in group]
        async with asyncio.timeout(TOO_LATE_S):
            await first
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await writer.append([new("later")])
            await writer.close()
        assert writer.status().failing_s == 0
        return list(results)

    assert [type(result) for result in asyncio.run(main())] == [list, UnicodeEncodeError, list]


def test_a_fault_is_a_500_and_others_are_served(fresh_api: Api) -> None:
    """Over HTTP: the request at fault is a 500, those beside and after it are recorded, and the server is ready."""
    with connect(fresh_api.url) as conn:
        conn.execute(BREAK_APPEND)
    found: list[httpx.Response] = []
    clients = [f"client-{number}" if number % 5 else f"poison-{number}" for number in range(20)]
    threads = [
        threading.Thread(target=lambda name=client: found.append(fresh_api.ask(client_id=name))) for client in clients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TOO_LATE_S)
    assert sorted(response.status_code for response in found) == [202] * 16 + [500] * 4
    assert fresh_api.get("/readyz", None).status_code == 200
    problem(fresh_api.ask(client_id="poison"), 500, "internal")
    assert fresh_api.ask().status_code == 202


@pytest.mark.parametrize("waiting", [0, 5])
def test_an_end_fails_everybody_at_once(database_url: str, caplog: pytest.LogCaptureFixture, waiting: int) -> None:
    """If the task ends all the same, those who wait and those who come get Unavailable at once; close() returns."""

    async def main() -> None:
        writer = Writer(database.conninfo(database_url, "writer"), patience_s=60)
        await writer.start()
        with connect(database_url) as conn, conn.transaction():
            conn.execute("SELECT FROM head FOR UPDATE")
            tasks = [asyncio.create_task(writer.append([new("waits")])) for _ in range(waiting)]
            await turn()
            next(task for task in asyncio.all_tasks() if task.get_name() == "ledger-writer").cancel()
        async with asyncio.timeout(TOO_LATE_S):
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results] == [Unavailable] * waiting
            with pytest.raises(Unavailable, match="restart"):
                await writer.append([new("late")])
            assert (await writer.check()).ended
            await writer.close()

    asyncio.run(main())
    assert "the writer of this process has ended" in caplog.text


def test_a_server_whose_writer_ended_says_so_and_stops(database_url: str) -> None:
    """A real server: 503 at once, the reason in /readyz and in the log, and SIGTERM ends the process."""
    assert cli("migrate", "--database-url", database_url).code == 0
    with serving("--database-url", database_url, "--no-worker", before=END_WRITER) as server:
        token = {"Authorization": f"Bearer {server.tokens()['advisor']}"}

        def ask() -> httpx.Response:
            return httpx.post(f"{server.base}/portfolio/recommendations", json=ASKED, headers=token, timeout=TOO_LATE_S)

        assert ask().status_code == 202
        server.process.send_signal(signal.SIGUSR1)
        eventually("writes are refused", lambda: ask().status_code == 503)
        ready = httpx.get(f"{server.base}/readyz", timeout=TOO_LATE_S)
        assert ready.status_code == 503
        assert any("the writer of this process has ended" in reason for reason in ready.json()["reasons"])
        assert "the writer of this process has ended" in server.err
        assert server.stop() == 0

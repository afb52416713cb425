"""Imports and erasures: what was erased in either ledger does not come back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ledger.imports.check import check
from ledger.imports.sources import read
from ledger.service.ledger import Ledger
from schema.events import ClientRegistered, PortfolioRequested, RecommendationRecorded, RequestErasure
from tests.conftest import Template, ledger_copy
from tests.ledger.erasure.test_eraser import ANN, BOB, opened
from tests.ledger.imports.scenes import imported, lines, positions, rows
from tests.projections.scenes import catch_up
from tests.support import append, connect, failed, new


def fill(url: str) -> None:
    """Append two clients with two requests each; the last ones wait for an answer."""
    with connect(url) as conn:
        for number in (1, 2):
            append(conn, new(f"client-{number}", ClientRegistered(client_id=f"name {number}")))
        for request in range(1, 5):
            asked = {"client_id": f"name {2 - request % 2}", "client": 2 - request % 2, "notes": "private"}
            event = PortfolioRequested(risk_profile="balanced", amount_usd="9", **asked)
            append(conn, new(f"request-{request}", event))
        append(conn, *(new(f"request-{request}", failed(detail="private")) for request in (1, 2, 3)))


def erase(url: str, client_id: str) -> None:
    """Erase a client, as two people do."""

    async def work() -> None:
        async with opened(url) as ledger:
            await _erase(ledger, url, client_id)

    asyncio.run(work())


async def _erase(ledger: Ledger, url: str, client_id: str) -> None:
    number = await ledger.clients.number(client_id)
    assert number is not None
    request = await ledger.erasures.request(ANN, number, RequestErasure(reason="client-request"))
    with connect(url) as conn:
        catch_up(conn)
    await ledger.erasures.confirm(BOB, request.position)


def write(url: str, file: Path) -> Path:
    """Write the lines of a ledger."""
    file.write_bytes(b"\n".join(lines(url)) + b"\n")
    return file


def test_a_client_that_the_history_has_erased_is_left_out(
    server_url: str, template_database: Template, tmp_path: Path, database_url: str
) -> None:
    """Its events have no values any more. The other client is imported as if the erased one had never been."""
    with ledger_copy(server_url, template_database) as old:
        fill(old)
        with connect(old) as conn:
            catch_up(conn)
        erase(old, "name 1")
        file = write(old, tmp_path / "old.ndjson")
        assert imported(database_url, file).recorded == 4
        assert check(read(file)).left_out["of a client that the history has erased"] == 5
        found = rows(database_url, positions(old, database_url))
        assert [row["client_id"] for row in found["clients"]] == ["name 2"]
        assert [(row["id"], row["status"]) for row in found["portfolio_requests"]] == [(1, "failed"), (2, "queued")]


def test_a_client_that_was_erased_here_does_not_come_back(
    server_url: str, template_database: Template, tmp_path: Path, database_url: str
) -> None:
    """A later export of the same ledger brings events about it: they are left out, and all others are imported."""
    with ledger_copy(server_url, template_database) as old:
        fill(old)
        first = imported(database_url, write(old, tmp_path / "old.ndjson"))
        assert first.recorded == 9
        with connect(database_url) as conn:
            catch_up(conn)
        erase(database_url, "name 1")
        with connect(old) as conn:
            append(conn, new("request-4", RecommendationRecorded(recommendation={}, model_name="m")))
            for request in (1, 3):
                append(conn, new(f"request-{request}", RecommendationRecorded(recommendation={}, model_name="m")))
            asked = PortfolioRequested(client_id="name 1", client=1, risk_profile="balanced", amount_usd="9")
            append(conn, new("request-5", asked), new("request-5", failed()))
        again = imported(database_url, write(old, tmp_path / "old.ndjson"), batch_events=4)
        assert (again.recorded, again.already) == (1, 9)
        assert again.left_out == {"of a client that was erased here": 4}
        with connect(database_url) as conn:
            assert conn.execute("SELECT count(*) FROM stream_clients WHERE client_id = 'name 1'").fetchone() == (0,)

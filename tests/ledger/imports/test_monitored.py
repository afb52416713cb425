"""A client whose portfolio is watched: bundles have its monitoring, and an import takes the client and the advice."""

from __future__ import annotations

import asyncio
import io
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger.export.selection import client_within
from ledger.imports.check import check
from ledger.imports.sources import read
from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.bundle.selection import Selection
from ledger.proof.tlog.trust import Trust
from tests.conftest import Template, ledger_copy
from tests.faults.watching import NAMES, price, scene
from tests.ledger.cases import Ledger
from tests.ledger.imports.scenes import count, imported, rows
from tests.ledger.proof.bundle.bundles import Case
from tests.ledger.service.test_clients import opened
from tests.ledger.service.test_monitoring_inputs import flow, valuation
from tests.ledger.service.watching import ANN, OPS
from tests.ledger.tlog.logs import key_for
from tests.support import connect

CLIENT = "client of p1"
# The streams of the client's portfolio, and those of runs and prices, which belong to no client.
OF_PORTFOLIO = {"portfolio-p1", "holdings-p1", "flows-p1", "valuation-p1"}
TAKEN = ("client-", "request-")


@pytest.fixture(scope="module")
def ledger(server_url: str, template_database: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A signed ledger with two portfolios of a client each, and a run of now that raises alerts and asks for advice."""

    async def work(url: str) -> None:
        async with opened(url) as [found]:
            await scene(found)
            await price(found, "70")
            today = f"{datetime.now(UTC):%Y-%m-%d}"
            await found.flows.record(ANN, [flow("p1", today, "5")])
            await found.valuations.record(ANN, [valuation("p1", today, EQ="70", BD="30")])
            report = (await found.monitoring.run(OPS, datetime.now(UTC)))[1]
            assert report.raised >= len(NAMES)

    with ledger_copy(server_url, template_database) as url:
        found = Ledger(url, key_for(url), tmp_path_factory.mktemp("key") / "last")
        asyncio.run(work(url))
        found.sign()
        yield found


def test_a_range_is_imported_without_the_monitoring(ledger: Ledger, tmp_path: Path, database_url: str) -> None:
    """Each event that is left out is counted by stream and type; requests that monitoring opened are all there."""
    data, _ = ledger.bundle(Selection("positions", first_position=1, last_position=count(ledger.url)))
    audit = audit_bundle(io.BytesIO(data), Trust((ledger.key.verifier,)))
    assert audit.ok, audit.findings
    file = tmp_path / "case.zip"
    file.write_bytes(data)
    done = imported(database_url, file)
    left_out = check(read(file)).left_out
    bodies = [json.loads(line["body"]) for line in Case.read(data).lines]
    left = Counter(_name(one) for one in bodies if not one["stream"].startswith(TAKEN))
    assert left_out == left
    assert done.recorded == len(bodies) - left.total()
    assert rows(database_url) == rows(ledger.url)
    with connect(database_url) as conn:
        opened_by_runs = conn.execute("SELECT portfolio FROM portfolio_requests ORDER BY portfolio").fetchall()
    assert opened_by_runs == [("p1",), ("p2",)]
    assert imported(database_url, file).recorded == 0


@pytest.mark.parametrize("is_window", [False, True])
def test_a_bundle_of_the_client_has_the_portfolio(
    ledger: Ledger, tmp_path: Path, database_url: str, is_window: bool
) -> None:
    """It has all streams of the portfolio and none of another one; the auditor verifies it, and it can be imported."""
    selection = Selection("client", client=CLIENT)
    if is_window:
        with connect(ledger.url) as conn:
            times = conn.execute("SELECT min(recorded_at), max(recorded_at) + interval '1 s' FROM events").fetchone()
            first, end = times or (None, None)
            selection = client_within(conn, CLIENT, first, end, 0)
    data, _ = ledger.bundle(selection)
    audit = audit_bundle(io.BytesIO(data), Trust((ledger.key.verifier,)))
    assert audit.ok, audit.findings
    streams = {json.loads(line["body"])["stream"] for line in Case.read(data).lines}
    assert streams >= OF_PORTFOLIO
    assert not {stream for stream in streams if stream.endswith("-p2")}
    file = tmp_path / "case.zip"
    file.write_bytes(data)
    imported(database_url, file)
    with connect(database_url) as conn:
        assert conn.execute("SELECT DISTINCT split_part(stream, '-', 1) FROM events ORDER BY 1").fetchall() == [
            ("client",),
            ("request",),
        ]


def _name(body: dict[str, str]) -> str:
    category = body["stream"].partition("-")[0]
    return f"{category}-*: {body['type']}"

"""A bundle of a client and a window of time can be imported."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from ledger.export.selection import client_within, with_referred
from ledger.imports.check import check
from ledger.imports.sources import read
from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.tlog.trust import Trust
from schema.clients import ClientRegistered
from schema.events import (
    LegalHoldPlaced,
    ModelCallStarted,
    PortfolioRequested,
    RecommendationRecorded,
    RequestWithdrawn,
    Shown,
)
from tests.ledger.cases import Ledger, signed_ledger
from tests.ledger.imports.scenes import imported
from tests.ledger.proof.bundle.bundles import Case
from tests.support import append, connect, failed, new


@pytest.fixture(scope="module")
def ledger(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A signed ledger."""
    with signed_ledger(server_url, tmp_path_factory.mktemp("key")) as found:
        yield found


def fill(url: str) -> tuple[datetime, datetime]:
    """Append a client before a window, and what names it, and other requests, within the window."""
    asked = PortfolioRequested(client_id="windowed", risk_profile="balanced", amount_usd="9", client=1)
    with connect(url) as conn:
        append(conn, new("client-", ClientRegistered(client_id="windowed")))
        held, replacing = (append(conn, new("request-", asked))[0].stream for _ in range(2))
        append(conn, new("client-1", LegalHoldPlaced(request_id=int(held[8:]), reason="letter")))
        [start] = conn.execute("SELECT clock_timestamp()").fetchone() or []
        [request] = append(conn, new("request-", asked))
        withdrawn = RequestWithdrawn(reason_code="duplicate", replaced_by=int(replacing[8:]))
        append(conn, new(request.stream, withdrawn))
        [end] = conn.execute("SELECT clock_timestamp()").fetchone() or []
        append(conn, new(replacing, failed()))
    return start, end


def test_a_bundle_of_a_window_can_be_imported(ledger: Ledger, tmp_path: Path, database_url: str) -> None:
    """It has what its events name: the client's registration, and requests outside the window."""
    start, end = fill(ledger.url)
    ledger.sign()
    with connect(ledger.url) as conn:
        data, manifest = ledger.bundle(client_within(conn, "windowed", start, end, 0))
    file = tmp_path / "case.zip"
    file.write_bytes(data)
    assert manifest.within.count == 2
    assert imported(database_url, file).recorded == 6
    audit = audit_bundle(io.BytesIO(data), Trust((ledger.key.verifier,)))
    assert audit.ok, audit.findings


def test_a_window_has_no_request_that_is_named_later(ledger: Ledger) -> None:
    """A hold that is placed after the window adds no case to it: nothing in the bundle names that request."""
    asked = PortfolioRequested(client_id="later", risk_profile="balanced", amount_usd="9")
    with connect(ledger.url) as conn:
        [registered] = append(conn, new("client-", ClientRegistered(client_id="later")))
        [before] = append(conn, new("request-", asked))
        [start] = conn.execute("SELECT clock_timestamp()").fetchone() or []
        [within] = append(conn, new("request-", asked))
        [end] = conn.execute("SELECT clock_timestamp()").fetchone() or []
        append(conn, new(registered.stream, LegalHoldPlaced(request_id=int(before.stream[8:]), reason="letter")))
    ledger.sign()
    with connect(ledger.url) as conn:
        data, _ = ledger.bundle(client_within(conn, "later", start, end, 0))
    streams = {json.loads(line["body"])["stream"] for line in Case.read(data).lines}
    assert within.stream in streams
    assert before.stream not in streams


def test_a_bundle_has_what_its_events_before_the_window_name(ledger: Ledger, tmp_path: Path, database_url: str) -> None:
    """A case of the window names advice in a call before it, and that case another request: all can be imported."""
    asked = PortfolioRequested(client_id="chained", risk_profile="balanced", amount_usd="9")
    advice = RecommendationRecorded(recommendation={"cash": "1"}, model_name="m")
    with connect(ledger.url) as conn:
        append(conn, new("client-", ClientRegistered(client_id="chained")))
        replacing, earlier, request = (append(conn, new("request-", asked))[0].stream for _ in range(3))
        [told] = append(conn, new(earlier, advice))
        shown = [Shown(kind="recommendation", id=str(told.position))]
        append(conn, new(request, ModelCallStarted(provider_name="p", request_model="m", shown=shown)))
        append(conn, new(earlier, RequestWithdrawn(reason_code="duplicate", replaced_by=int(replacing[8:]))))
        [start] = conn.execute("SELECT clock_timestamp()").fetchone() or []
        append(conn, new(request, failed()))
        [end] = conn.execute("SELECT clock_timestamp()").fetchone() or []
    ledger.sign()
    with connect(ledger.url) as conn:
        data, _ = ledger.bundle(client_within(conn, "chained", start, end, 0))
        [(head,)] = conn.execute("SELECT position FROM head").fetchall()
        found, before = (set(with_referred(conn, [request], upto)) for upto in (head, told.position))
    # A bundle of a search names the same, up to its end.
    assert {stream for stream in found if stream.startswith("request-")} == {replacing, earlier, request}
    assert {stream for stream in before if stream.startswith("request-")} == {request}
    file = tmp_path / "case.zip"
    file.write_bytes(data)
    assert imported(database_url, file).recorded == 8


def test_a_history_without_what_it_names_says_what_to_export(tmp_path: Path) -> None:
    """The line, the member, and the stream that is missing."""
    file = tmp_path / "events.ndjson"
    file.write_text(
        '{"id": "1", "stream": "request-1", "type": "portfolio.requested", "occurred_at": "2024-02-29T09:30:00Z",'
        ' "actor": {"id": "ann", "kind": "human", "role": "advisor"},'
        ' "data": {"client_id": "C-9", "client": 4, "risk_profile": "balanced", "amount_usd": "9"}}\n'
    )
    [fault] = check(read(file)).faults
    assert (fault.line, fault.field) == (1, "client")
    assert fault.reason == "there is no client 4 before this line in the history: export client-4 too"

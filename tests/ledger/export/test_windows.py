"""A bundle of a client and a window of time has what took place then, by the times of the acts."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ledger.database import Connection
from ledger.export.log_parts import CannotExport
from ledger.export.selection import EPOCH, TICK, client_within
from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.bundle.window import Within
from ledger.proof.tlog.trust import Trust
from ledger.store.envelope import Actor, Backfill, NewEvent, uuid7
from tests.ledger.cases import Ledger, signed_ledger
from tests.ledger.proof.bundle.bundles import Case
from tests.support import append, connect, failed, new, requested

ANN = Actor(id="ann", kind="human", role="advisor")
# Two are in the same microsecond, and one is before 1970.
TIMES = (
    "1969-12-31T23:59:59.999999Z",
    "2020-02-28T23:59:59.999999Z",
    "2020-02-29T00:00:00Z",
    "2020-02-29T00:00:00Z",
    "2020-03-01T00:00:00.5Z",
)
# The next request of the ledger.
FIRST = 7
ACTS = (
    "SELECT e.position, e.stream, e.version, e.recorded_at,"
    " coalesce((e.body::json->'backfill'->>'occurred_at')::timestamptz, e.recorded_at)"
    " FROM events e JOIN stream_clients c USING (stream) WHERE c.client_id = 'client-1' ORDER BY position"
)


def imported(stream: str, event: Any, at: str) -> NewEvent:
    """An imported event."""
    return NewEvent(uuid7(), stream, event, ANN, backfill=Backfill(ANN, at, {"name": "old", "line": 1}))


def fill(conn: Connection) -> None:
    """Append imported cases in another order than that of their times, and a live event between and after them."""
    for number, at in enumerate(reversed(TIMES)):
        old, live = f"request-{FIRST + 2 * number}", f"request-{FIRST + 2 * number + 1}"
        append(conn, imported(old, requested(), at), new(live, requested()))
        append(conn, imported(old, failed(), TIMES[-1]))
    mixed = f"request-{FIRST + 2 * len(TIMES)}"
    append(conn, new(mixed, requested()), imported(mixed, failed(), TIMES[2]), new(mixed, failed()))


@pytest.fixture(scope="module")
def ledger(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """A signed ledger with imported events."""
    with signed_ledger(server_url, tmp_path_factory.mktemp("key")) as found:
        with connect(found.url) as conn:
            fill(conn)
        found.sign()
        yield found


def test_a_window_is_a_filter_over_all_events(ledger: Ledger) -> None:
    """Any window has the streams with an act in it, each up to its last act before the end.

    The auditor counts the same. The edges are those of acts, and a tick off them; a stream may have imported events
    and others.
    """
    with connect(ledger.url) as conn:
        acts = conn.execute(ACTS).fetchall()
        # Windows begin in 1970: an earlier beginning is none.
        edges = sorted({max(EPOCH, at + tick) for *_, at in acts for tick in (-TICK, TICK * 0, TICK)})
        head = acts[-1][0]

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.none() | st.sampled_from(edges), st.sampled_from(edges))
        def check(start: datetime | None, end: datetime) -> None:
            assume((start or EPOCH) < end)
            begin = datetime.min.replace(tzinfo=UTC) if start is None or start == EPOCH else start
            inside = [act for act in acts if begin <= act[4] < end]
            last = {stream: version for _, stream, version, _, at in acts if at < end}
            wanted = [act[0] for act in acts if act[1] in {one[1] for one in inside} and act[2] <= last[act[1]]]
            window = client_within(conn, "client-1", start, end, head)
            if not inside:
                with pytest.raises(CannotExport):
                    ledger.bundle(window)
                return
            data, manifest = ledger.bundle(window)
            lines = Case.read(data).lines
            assert [line["position"] for line in lines if _of_client(line)] == wanted
            recorded = [(act[3] - EPOCH) // TICK for act in inside]
            assert manifest.within == Within(len(inside), recorded[0], recorded[-1])
            audit = audit_bundle(io.BytesIO(data), Trust((ledger.key.verifier,)))
            assert audit.ok, audit.findings
            assert audit.within == manifest.within

        check()


def _of_client(line: dict[str, Any]) -> bool:
    return str(json.loads(line["body"])["stream"]).startswith("request-")


def test_the_case_file_says_both_times(ledger: Ledger) -> None:
    """When an imported act took place, and when it was recorded; and which events are in the window."""
    with connect(ledger.url) as conn:
        first, last = datetime(2020, 2, 29, tzinfo=UTC), datetime(2020, 3, 1, tzinfo=UTC)
        data, manifest = ledger.bundle(client_within(conn, "client-1", first, last, 0))
    page = Case.read(data).files["case.html"].decode()
    assert "2020-02-29 00:00:00.000000 UTC" in page
    assert page.count("recorded here:") >= manifest.within.count
    assert page.count("in the window") == manifest.within.count + 1

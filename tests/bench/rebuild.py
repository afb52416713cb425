"""Row 4: rebuild of the two read models of the budget, and of all of them.

Beside the `eventsourcing` package's projection of as much as it gets through.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from projections.read_model import ReadModel
from projections.rebuild import RebuildReport, rebuild_read_models
from projections.registry import READ_MODELS
from tests.bench import es_peer
from tests.bench.bench import Bench, connect
from tests.bench.figures import Figure, Target

# The package's speed does not depend on the length of the log, and a million events would take it a good while.
MOST_PEER_EVENTS = 20_000
# Requests and recommendations: what the budget is about.
BOTH = READ_MODELS[:2]
PEER = "eventsourcing projection"
SPEED = Target("at least", 90_000, of="figure")
LEAD = Target("at least", 100)


def measure(bench: Bench, url: str) -> list[Figure]:
    """Chain to tables: where there are none yet, and beside those in use, which are then compared with the new."""
    bench.say("row 4: rebuild of both read models")
    events, first_s, cpu_us, first = _rebuild(bench, url, BOTH)
    _, again_s, again_us, again = _rebuild(bench, url, BOTH)
    assert {report.differing for report in again} == {0}
    bench.say("row 4: rebuild of all read models")
    _, all_s, all_us, _ = _rebuild(bench, url, READ_MODELS)
    peer_events = min(events, MOST_PEER_EVENTS)
    bench.say(f"row 4: {PEER} over {peer_events:,} events")
    with bench.database() as peer_url, bench.meter() as meter:
        peer = es_peer.projection_rate(peer_url, peer_events)
    cpu = {"peer_cpu_us": meter.us(peer_events)}
    detail = {"events": events, "rows": {report.name: report.rows for report in first}, "peer_events": peer_events}
    return [
        *_figures("rebuild of both read models", events / first_s, peer, detail, cpu_us=cpu_us, **cpu),
        *_figures(
            "rebuild of both, compared with the old ones", events / again_s, peer, detail, cpu_us=again_us, **cpu
        ),
        _beside(f"rebuild of all {len(READ_MODELS)} read models", events / all_s, peer, detail, cpu_us=all_us, **cpu),
    ]


def _figures(what: str, rate: float, peer: float, detail: dict[str, object], **cpu: float) -> list[Figure]:
    return [
        Figure(4, what, rate, "events/s", target=SPEED, detail=detail, cpu_us=cpu["cpu_us"]),
        _beside(what, rate, peer, detail, **cpu),
    ]


def _beside(what: str, rate: float, peer: float, detail: dict[str, object], **cpu: float) -> Figure:
    return Figure(4, what, rate, "events/s", PEER, peer, rate / peer, LEAD, detail, **cpu)


def _rebuild(bench: Bench, url: str, read_models: Sequence[ReadModel]) -> tuple[int, float, float, list[RebuildReport]]:
    """(events in the chain, seconds for all of these, processor time in microseconds an event, reports)."""
    with connect(url) as conn:
        conn.execute("CHECKPOINT")
        row = conn.execute("SELECT position FROM head").fetchone()
    assert row is not None
    with bench.meter() as meter:
        started = perf_counter()
        reports = rebuild_read_models(url, list(read_models))
        took_s = perf_counter() - started
    return int(row[0]), took_s, meter.us(int(row[0])), reports

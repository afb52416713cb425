"""Row 8: requests end to end: posted over HTTP, claimed by the worker, answered by the built-in agent, on record."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from time import monotonic, perf_counter, sleep

import orjson

from projections.rebuild import rebuild_outdated
from tests.bench import load
from tests.bench.bench import SPAWN, Bench, connect
from tests.bench.figures import Figure, Target
from tests.bench.http import ASKED, CONNECTIONS
from tests.bench.servers import running
from tests.subjects import subject

REQUESTS = 1000
LONGEST_S = 300.0
TARGET = Target("at least", 450, of="figure")
ANSWERED = "SELECT count(*) FROM portfolio_requests WHERE status = 'recommended'"
RECORDED = "SELECT type, count(*) FROM events GROUP BY type"


def measure(bench: Bench) -> list[Figure]:
    """From the first request sent to the last answer read, on a server that does both."""
    requests = min(REQUESTS, bench.options.events)
    bench.say(f"row 8: {requests} requests through worker and built-in agent")
    with bench.ledger() as url:
        rebuild_outdated(url)
        headers = {"Authorization": f"Bearer {subject(url, 'bench', 'advisor')}"}
        with running("answering", url) as (port, _), ProcessPoolExecutor(1, mp_context=SPAWN) as generator:
            generator.submit(abs, 0).result()  # it is there before the clock runs
            body = orjson.dumps({**ASKED, "client_id": load.NUMBER.decode()})
            asked = (port, headers, body, CONNECTIONS, LONGEST_S, 0, requests)
            with bench.meter() as meter:
                started = perf_counter()
                sent = generator.submit(load.run, *asked).result()
                assert set(sent.status) == {202}
                _wait(url, requests)
                took_s = perf_counter() - started
        with connect(url) as conn:
            recorded = dict(conn.execute(RECORDED).fetchall())
    one_each = ("portfolio.requested", "model-call.started", "model-call.completed", "recommendation.recorded")
    assert [recorded[name] for name in one_each] == [requests] * len(one_each)
    what = "requests through worker and built-in agent"
    detail = {"requests": requests, "posted_per_s": sent.rate}
    return [Figure(8, what, requests / took_s, "requests/s", target=TARGET, detail=detail, cpu_us=meter.us(requests))]


def _wait(url: str, requests: int) -> None:
    deadline = monotonic() + LONGEST_S
    with connect(url) as conn:
        while conn.execute(ANSWERED).fetchone() != (requests,):
            assert monotonic() < deadline, "not answered in time"
            sleep(0.02)

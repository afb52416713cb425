"""A hundred thousand events as CSV, from a server in a process of its own."""

from __future__ import annotations

import httpx
import psutil
import pytest

from projections.rebuild import rebuild_read_models
from projections.registry import READ_MODELS
from tests.api.program import serving
from tests.bench import workload
from tests.bench.growth import MULTIPLY
from tests.subjects import subject
from tests.support import append, connect

CASES, COPIES = 250, 200
EVENTS = 2 * CASES * COPIES
CSV = {"Accept": "text/csv"}
# What the server may take more for five times as many lines. The answer has 13 MB.
MOST_MORE = 12 * 2**20


@pytest.mark.slow
def test_memory_is_flat_however_long_the_answer(database_url: str) -> None:
    """All lines come, each position once, while the memory of the server stays where a fifth of them left it."""
    with connect(database_url) as conn:
        asked = [workload.requested(workload.client_name(number)) for number in range(CASES)]
        append(conn, *asked)
        append(conn, *(workload.recommended(number) for number in range(1, CASES + 1)))
        conn.execute(MULTIPLY)
        conn.execute("SELECT pg_temp.multiply(1, %s, %s)", [COPIES - 1, CASES])
    rebuild_read_models(database_url, list(READ_MODELS))
    token = subject(database_url, "reviewer", "compliance")
    with connect(database_url) as conn:
        conn.execute("VACUUM ANALYZE")
    with serving("--database-url", database_url, "--no-worker") as server:
        process = psutil.Process(server.process.pid)
        with httpx.Client(base_url=server.base, headers={**CSV, "Authorization": f"Bearer {token}"}) as client:
            few, before, _ = _read(client, process, EVENTS // 5)
            assert few == list(range(1, EVENTS // 5 + 1))
            many, most, size = _read(client, process, EVENTS)
    assert many == list(range(1, EVENTS + 1))
    assert size > MOST_MORE
    assert most - before < MOST_MORE


def _read(client: httpx.Client, process: psutil.Process, events: int) -> tuple[list[int], int, int]:
    """Read the first events; return their positions, the most memory of the server meanwhile, and the bytes read."""
    query: dict[str, str | int] = {"position_to": events, "order": "oldest"}
    positions, most, size = [], 0, 0
    with client.stream("GET", "/events", params=query, timeout=120) as answer:
        assert answer.status_code == 200, answer.read()
        for line in answer.iter_lines():
            positions.append(line.partition(",")[0])
            size += len(line)
            if len(positions) % 500 == 0:
                most = max(most, process.memory_info().rss)
    assert positions[0].endswith("position")
    return [int(position) for position in positions[1:]], most, size

"""Query the state of the read models and of what they show, for `/readyz`, `status` and metrics.

`READ_MODELS_LAG` returns rows of ReadModelLag, `QUEUE` one of Queue, `RECENT_CALLS` rows of CallCount, `SET_ASIDE` the
first rows of SetAside, `SET_ASIDE_COUNTS` the number of them by read model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from schema.states import ModelCallState

HERE = Path(__file__).parent
READ_MODELS_LAG, QUEUE, RECENT_CALLS = (
    (HERE / name).read_bytes() for name in ("lag.sql", "portfolio_requests/queue.sql", "model_calls/recent_calls.sql")
)
# The most streams in a short list.
SHORT_LIST = 20
SET_ASIDE = "SELECT read_model, stream, position, sqlstate FROM streams_set_aside ORDER BY position, stream LIMIT %s"
SET_ASIDE_COUNTS = "SELECT read_model, count(*) FROM streams_set_aside GROUP BY read_model ORDER BY read_model"
# The number of last calls that must all have failed before an agent is reported.
LAST_CALLS = 5


class ReadModelLag(NamedTuple):
    """The state of a read model. `stalled_s`: how long it has not moved although events wait."""

    name: str
    position: int
    lag: int
    error: str | None
    stalled_s: float


class Queue(NamedTuple):
    """The number of queued requests, and the waiting time of the oldest in seconds."""

    requests: int
    oldest_s: float


class CallCount(NamedTuple):
    """Recent calls of an agent that ended in the same way. `last` says how many are among the newest five."""

    agent: str
    state: str
    error_type: str
    calls: int
    last: int


def failing_agents(calls: Sequence[CallCount]) -> list[str]:
    """Return the agents whose last five calls have all failed."""
    failed: dict[str, int] = {}
    for call in calls:
        if call.state == ModelCallState.FAILED:
            failed[call.agent] = failed.get(call.agent, 0) + call.last
    return [agent for agent, count in failed.items() if count >= LAST_CALLS]

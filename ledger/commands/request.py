"""The life of a request, as its stream tells it.

(nothing) --portfolio.requested--> queued --recommendation.recorded--> recommended
                                      \\-----request.failed----------> failed
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ledger.errors import NotFound, Refused

CATEGORY = "request-"

# What each event makes of the request; other types in the stream leave it as it is.
STATUS_AFTER = {
    "portfolio.requested": "queued",
    "recommendation.recorded": "recommended",
    "request.failed": "failed",
}


@dataclass(frozen=True)
class RequestState:
    """`status` is None while there is no such request; `version` is that of the stream's last event."""

    status: str | None = None
    version: int = 0


def stream_of(request_id: int) -> str:
    """The stream that a request's events are in."""
    return f"{CATEGORY}{request_id}"


def fold(types: Iterable[str]) -> RequestState:
    """The state after the stream's events, given their types in order."""
    state = RequestState()
    for name in types:
        state = replace(state, status=STATUS_AFTER.get(name, state.status), version=state.version + 1)
    return state


def check_answer(state: RequestState) -> None:
    """Whether the request still waits for an answer. Raises NotFound, or Refused `request-finished`."""
    if state.status is None:
        raise NotFound("request-unknown", "there is no such request")
    if state.status != "queued":
        raise Refused("request-finished", f"the request is {state.status} already: it takes no further answer")

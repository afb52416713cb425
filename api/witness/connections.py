"""How long a connection to a witness may last: uvicorn has no limit for a caller that sends no whole head.

A connection either waits for the head of a request, or has one that is being answered; each has its time. Where there
are as many connections as may be, a new one takes the place of the one that has waited longest: who merely holds
connections open locks nobody out. Limits for each caller are the business of the proxy in front.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

# From the connection, or from the answer before, until the next head is complete.
HEAD_S = 10.0
# From the head until the answer is with the network: the body has 10 s, the state as long again.
ANSWER_S = 60.0
# Idle after an answer. Callers that lose such a connection open another.
KEEP_ALIVE_S = 5
# Beyond so many connections, 503; also beyond so many requests in hand.
MOST_AT_ONCE = 200

# Not the loop's clock, which stands still while many connections are taken at once.
_turns = itertools.count(1)


class Bounded(H11Protocol):
    """h11 and not httptools, which takes a head of any length."""

    head_s = HEAD_S
    answer_s = ANSWER_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self.turn = 0  # in the order in which they began what they do now

    @property
    def waiting(self) -> bool:
        """Whether no request is in hand."""
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr] # uvicorn's is wrong

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counts it, and makes room for it."""
        super().connection_made(transport)
        self._begin()
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """A part of a head changes nothing; a whole one does."""
        waited = self.waiting
        super().data_received(data)
        if waited and not self.waiting:
            self._begin()

    def on_response_complete(self) -> None:
        """The next request may be there already."""
        super().on_response_complete()
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is left to be closed."""
        self._end()
        super().connection_lost(exc)

    def drop(self) -> None:
        """Closes at once: a caller that does not read would never let it be flushed."""
        self._end()
        self.connections.discard(self)
        self.transport.abort()

    def _begin(self) -> None:
        self._end()
        self.turn = next(_turns)
        self._timer = self.loop.call_later(self.head_s if self.waiting else self.answer_s, self.drop)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _make_room(self) -> None:
        if self.limit_concurrency is None:
            return
        # uvicorn answers 503 from the limit on, this connection counted.
        over = len(self.connections) - self.limit_concurrency + 1
        if over > 0:
            others = [one for one in self.connections if isinstance(one, Bounded) and one is not self and one.waiting]
            for one in sorted(others, key=lambda one: one.turn)[:over]:
                one.drop()


def make_config(
    app: Starlette, *, grace_s: int, http: type[Bounded] = Bounded, most_at_once: int = MOST_AT_ONCE
) -> uvicorn.Config:
    """How uvicorn serves a witness. Requests in hand are finished for `grace_s` once it is to end."""
    return uvicorn.Config(
        app,
        http=http,
        ws="none",
        log_config=copy.deepcopy(uvicorn.config.LOGGING_CONFIG),
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=most_at_once,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s,
    )

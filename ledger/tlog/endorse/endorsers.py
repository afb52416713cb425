"""Ask the endorsers of a log, its witnesses and timestamp authorities, about its checkpoints.

The process that signs runs one poller for each endorser. Only once(), and running() for a moment at its end, wait for
an endorser.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

from ledger.tlog.endorse.poller import Poller, RetryPolicy
from ledger.tlog.endorse.timestamp_client import Authority, TimestampPoller
from ledger.tlog.endorse.witness_client import SharedSizes, WitnessPoller
from ledger.tlog.quorum import WitnessPolicy

# The time of a poll in addition to that of the HTTP request.
SPARE_S = 1.0
# The time that stop() waits for the cancellation of current requests.
STOP_S = 2.0
LATE = "no answer in time"


class EndorserStatus(NamedTuple):
    """The size that an endorser endorsed last, if known, and the error of the last try."""

    name: str
    size: int
    error: str | None


@dataclass(frozen=True)
class EndorserConfig:
    """The configured witnesses and timestamp authorities, with the limits and pauses of requests to them."""

    policy: WitnessPolicy = field(default_factory=WitnessPolicy)
    authorities: Sequence[Authority] = ()
    pace: RetryPolicy = field(default_factory=RetryPolicy)


class Endorsers:
    """Poll all endorsers. `conninfo` connects with the role signer."""

    def __init__(self, conninfo: str, config: EndorserConfig) -> None:
        self._conninfo = conninfo
        self._config = config
        self._pollers: list[Poller] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Poll while the block runs, beginning with the newest checkpoint."""
        self._pollers = self._make()
        for poller in self._pollers:
            poller.start()
        try:
            yield
        finally:
            for poller in self._pollers:
                poller.request_stop()
            for poller in self._pollers:
                poller.stop(STOP_S)

    def once(self) -> list[EndorserStatus]:
        """Ask all endorsers about the newest checkpoint, at the same time, and wait until their answers or the time
        limit.

        This is for a program that signs and ends. The status of an endorser that did not answer in time has an error.
        """
        until_s = monotonic() + self._config.pace.timeout_s + SPARE_S
        with self.running():
            late = {
                poller.endorser for poller in self._pollers if not poller.settled.wait(max(until_s - monotonic(), 0))
            }
            states = self.progress()
        return [state._replace(error=state.error or LATE) if state.name in late else state for state in states]

    def checkpoint_signed(self) -> None:
        """Tell the pollers that there is a new checkpoint in the database."""
        for poller in self._pollers:
            poller.wake()

    def progress(self) -> list[EndorserStatus]:
        """Return the status of each endorser."""
        return [
            EndorserStatus(poller.endorser, poller.size, poller.status.error if poller.is_alive() else "not running")
            for poller in self._pollers
        ]

    def _make(self) -> list[Poller]:
        sizes = SharedSizes()
        witnesses = [
            WitnessPoller(self._conninfo, witness, sizes, self._config.pace)
            for witness in self._config.policy.witnesses
        ]
        return [
            *witnesses,
            *(TimestampPoller(self._conninfo, authority, self._config.pace) for authority in self._config.authorities),
        ]

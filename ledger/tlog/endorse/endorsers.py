"""Everybody outside whom a log asks about its checkpoints: witnesses and timestamp authorities.

Run by the process that signs. None of its methods waits for anybody but once(), and running() at its end, for a moment.
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

# For what a round does beside waiting for the answer.
SPARE_S = 1.0
# How long the end waits for requests in hand to be cancelled.
STOP_S = 2.0
LATE = "no answer in time"


class EndorserStatus(NamedTuple):
    """How one is doing: the size it last did something for, as far as known, and why the last try failed."""

    name: str
    size: int
    error: str | None


@dataclass(frozen=True)
class EndorserConfig:
    """Whom to ask, as configured."""

    policy: WitnessPolicy = field(default_factory=WitnessPolicy)
    authorities: Sequence[Authority] = ()
    pace: RetryPolicy = field(default_factory=RetryPolicy)


class Endorsers:
    """`conninfo` connects with the role signer."""

    def __init__(self, conninfo: str, config: EndorserConfig) -> None:
        self._conninfo = conninfo
        self._config = config
        self._pollers: list[Poller] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Asks while the block runs, beginning with the newest checkpoint there is."""
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
        """Asks everybody once, at the same time, about the newest checkpoint; waits no longer than an answer may take.

        For a program that signs and ends. Who has not answered by then has its error said.
        """
        until_s = monotonic() + self._config.pace.timeout_s + SPARE_S
        with self.running():
            late = [one for one in self._pollers if not one.settled.wait(max(until_s - monotonic(), 0))]
            found = self.progress()
        names = {one.endorser for one in late}
        return [one._replace(error=one.error or LATE) if one.name in names else one for one in found]

    def checkpoint_signed(self) -> None:
        """There is a new checkpoint in the database."""
        for poller in self._pollers:
            poller.wake()

    def progress(self) -> list[EndorserStatus]:
        """How each is doing."""
        return [
            EndorserStatus(one.endorser, one.size, one.status.error if one.is_alive() else "not running")
            for one in self._pollers
        ]

    def _make(self) -> list[Poller]:
        chosen = SharedSizes()
        witnesses = [
            WitnessPoller(self._conninfo, one, chosen, self._config.pace) for one in self._config.policy.witnesses
        ]
        return [
            *witnesses,
            *(TimestampPoller(self._conninfo, one, self._config.pace) for one in self._config.authorities),
        ]

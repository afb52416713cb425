"""Everybody outside whom a log asks about its checkpoints: witnesses and timestamp authorities.

Run by the process that signs. None of its methods waits for anybody but once(), and running() at its end, for a moment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

from ledger.tlog.endorse.poller import Errand, Pace
from ledger.tlog.endorse.timestamp_client import Authority, Stamper
from ledger.tlog.endorse.witness_client import Asker, Chosen
from ledger.tlog.quorum import Policy

# For what a round does beside waiting for the answer.
SPARE_S = 1.0
LATE = "no answer in time"


class Progress(NamedTuple):
    """How one is doing: the size it last did something for, as far as known, and why the last try failed."""

    name: str
    size: int
    trouble: str | None


@dataclass(frozen=True)
class Asked:
    """Whom to ask, as configured."""

    policy: Policy = field(default_factory=Policy)
    authorities: Sequence[Authority] = ()
    pace: Pace = field(default_factory=Pace)


class Outside:
    """`conninfo` connects with the role signer."""

    def __init__(self, conninfo: str, asked: Asked) -> None:
        self._conninfo = conninfo
        self._asked = asked
        self._errands: list[Errand] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Asks while the block runs, beginning with the newest checkpoint there is."""
        self._errands = self._make()
        for errand in self._errands:
            errand.start()
        try:
            yield
        finally:
            for errand in self._errands:
                errand.end()
            for errand in self._errands:
                errand.join()

    def once(self) -> list[Progress]:
        """Asks everybody once, at the same time, about the newest checkpoint; waits no longer than an answer may take.

        For a program that signs and ends. Who has not answered by then has its trouble said.
        """
        until_s = monotonic() + self._asked.pace.timeout_s + SPARE_S
        with self.running():
            late = [one for one in self._errands if not one.settled.wait(max(until_s - monotonic(), 0))]
            found = self.progress()
        names = {one.name for one in late}
        return [one._replace(trouble=one.trouble or LATE) if one.name in names else one for one in found]

    def checkpoint_signed(self) -> None:
        """There is a new checkpoint in the database."""
        for errand in self._errands:
            errand.wake()

    def progress(self) -> list[Progress]:
        """How each is doing."""
        return [Progress(one.name, one.size, one.trouble if one.alive else "not running") for one in self._errands]

    def _make(self) -> list[Errand]:
        chosen = Chosen()
        witnesses = [Asker(self._conninfo, one, chosen, self._asked.pace) for one in self._asked.policy.witnesses]
        return [*witnesses, *(Stamper(self._conninfo, one, self._asked.pace) for one in self._asked.authorities)]

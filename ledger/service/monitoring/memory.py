"""Keep what the runs of one process have read, so that the next run reads only newer records, however long the history
is.

Nothing here outlives an erasure unseen: each run reads which salts are left, and reads a portfolio whose salt has gone
anew. It is memory of this process alone. A run of another position, such as a replay, starts with an empty one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ledger.database import AsyncConnection
from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.monitoring.arithmetic import parts
from ledger.domain.monitoring.drift import Plans
from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.portfolio import CATEGORY, HOLDINGS, Portfolio, fold, stream_of
from ledger.domain.monitoring.prices import Market, OneFile, read_file
from ledger.domain.monitoring.settled import for_runs
from ledger.service.monitoring.streams import holdings_at, read_streams, touched_streams

PRICES = "prices-"


class Held(NamedTuple):
    """The newest holdings of a portfolio: their day, and quantities in parts. None: erased, or no client's."""

    day: str
    positions: Mapping[str, int] | None


@dataclass(frozen=True)
class Kept:
    """Portfolios, holdings and files of prices as of a position."""

    position: int = 0
    states: Mapping[str, Portfolio] = field(default_factory=dict)
    holdings: Mapping[str, Held] = field(default_factory=dict)
    # By day, the files of the days that were asked for last.
    days: Mapping[str, Sequence[OneFile]] = field(default_factory=dict)
    # The portfolios that were read after their erasure.
    erased: frozenset[str] = frozenset()


class Memory:
    """Reads as of positions that go up, and keeps what was read last. Several runs may use it at a time."""

    def __init__(self) -> None:
        self._newest = Kept()
        self._plans: dict[str, Plans] = {}

    async def upto(self, conn: AsyncConnection, salts: Mapping[str, bytes | None], position: int) -> Kept:
        """Return these portfolios and their newest holdings as of a position. `salts` are read now."""
        known = self._newest if self._newest.position <= position else Kept()
        touched = set(await touched_streams(conn, known.position, position)) if known.position else set()
        erased = frozenset(name for name, salt in salts.items() if salt is None)
        anew = {name for name in salts if name not in known.states} | (erased - known.erased)
        states = await _states(conn, known.states, _named(CATEGORY, touched) - anew, known.position, position)
        states |= await _states(conn, {}, anew, 0, position)
        found = await holdings_at(conn, sorted(anew | _named(HOLDINGS, touched)), position)
        holdings = {name: held_of(event) for name, event in found.items()}
        lasting = {name: held for name, held in known.holdings.items() if name not in anew}
        days = {day: files for day, files in known.days.items() if PRICES + day not in touched}
        kept = Kept(position, {**known.states, **states}, {**lasting, **holdings}, days, erased)
        self._keep(kept)
        return kept

    async def market(self, conn: AsyncConnection, kept: Kept, days: Sequence[str]) -> Market:
        """Return the prices and rates of these days, as of the position of `kept`."""
        streams = [PRICES + day for day in days if day not in kept.days]
        found = await read_streams(conn, streams, kept.position)
        read = {stream.removeprefix(PRICES): _files(events) for stream, events in found.items()}
        files = {day: kept.days.get(day) or read.get(day, ()) for day in days}
        self._keep(replace(kept, days=files))
        return Market.of(file for one in files.values() for file in one)

    def plans(self, name: str, policy: MonitoringText) -> Plans:
        """Return the plans of portfolios under the policy with this name: those of the run before if it is the same."""
        known = self._plans.get(name)
        if known is None or known.policy != policy:
            known = self._plans[name] = Plans(policy)
        return known

    def _keep(self, kept: Kept) -> None:
        if kept.position >= self._newest.position:
            self._newest = kept


async def _states(
    conn: AsyncConnection, known: Mapping[str, Portfolio], names: set[str], after: int, upto: int
) -> dict[str, Portfolio]:
    """Return the states of portfolios as of `upto`; those that are known are as of `after`."""
    found = await read_streams(conn, [stream_of(name) for name in sorted(names)], upto, after)
    read = {stream.removeprefix(CATEGORY): events for stream, events in found.items()}
    return {name: for_runs(fold(name, events, known.get(name))) for name, events in read.items()}


def _named(category: str, streams: set[str]) -> set[str]:
    return {stream.removeprefix(category) for stream in streams if stream.startswith(category)}


def _files(events: Sequence[RecordedEvent]) -> tuple[OneFile, ...]:
    """Return the files of a day. An event that no client can send is passed over: it must not end all runs."""
    return tuple(file for event in events if (file := read_file(event)) is not None)


def held_of(event: RecordedEvent) -> Held:
    """Return recorded holdings with quantities in parts."""
    return Held(str(event.data.get("as_of")), _quantities(event))


def _quantities(event: RecordedEvent) -> dict[str, int] | None:
    with contextlib.suppress(*MALFORMED):
        return {asset: parts(quantity) for asset, quantity in event.fields["positions"].items()}
    return None

"""The inputs of a run, read from the chain as of its position: portfolios, holdings, policies, prices and rates."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
from psycopg.rows import class_row

from ledger.database import AsyncConnection
from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.monitoring.arithmetic import parts
from ledger.domain.monitoring.drift import Judgement
from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.portfolio import (
    CATEGORY,
    HOLDINGS,
    Definition,
    Portfolio,
    fold,
    holdings_of,
    stream_of,
)
from ledger.domain.monitoring.prices import Market, days_until, looks_back
from ledger.domain.monitoring.run import Conditions, Run, judged, leaf, shown
from ledger.domain.policy import Policy

HERE = Path(__file__).parent
STREAMS = (HERE / "streams.sql").read_bytes()
PORTFOLIOS = (HERE / "portfolios.sql").read_bytes()
HELD = (HERE / "holdings.sql").read_bytes()
# The name of a monitoring policy follows this in the name of the policy on record.
NAMED = "monitoring-"
NOW = 2**62
ERASED = bytes(32)


@dataclass(frozen=True)
class Inputs:
    """The record up to the run's position. `states` are the portfolios as they are now: people may act."""

    run: Run
    names: Sequence[str]
    salts: Mapping[str, bytes | None]
    definitions: Mapping[str, Definition]
    states: Mapping[str, Portfolio]
    # Quantities in parts, by asset.
    holdings: Mapping[str, Mapping[str, int] | None]
    conditions: Mapping[str, Conditions]

    def judge(self, name: str) -> Judgement:
        """Judge one portfolio."""
        definition = self.definitions[name]
        conditions = self.conditions[definition.policy]
        return judged(definition.weights, self.holdings.get(name), definition.base, conditions)

    def leaf(self, name: str, judgement: Judgement) -> bytes:
        """Return the leaf of a portfolio. One whose salt was erased has nothing left to hide."""
        return leaf(self.salts[name] or ERASED, self.run, name, judgement)


async def read_streams(
    conn: AsyncConnection, streams: Sequence[str], upto: int = NOW
) -> dict[str, list[RecordedEvent]]:
    """Return the events of each stream that has some, with sealed values and times."""
    events = await _events(conn, STREAMS, {"streams": list(streams), "upto": upto})
    return {stream: list(found) for stream, found in groupby(events, key=lambda event: event.stream)}


async def read_states(conn: AsyncConnection, names: Sequence[str]) -> dict[str, Portfolio]:
    """Return the state of each portfolio as it is now."""
    found = await read_streams(conn, [stream_of(name) for name in names])
    return {name: fold(name, found.get(stream_of(name), [])) for name in names}


async def newest_holdings(conn: AsyncConnection, name: str) -> RecordedEvent | None:
    """Return the newest holdings of a portfolio, of whatever day, or None."""
    found = await _events(conn, HELD, {"streams": [holdings_of(name)], "upto": NOW, "day": "9999-12-31"})
    return found[0] if found else None


async def newest_of_each(conn: AsyncConnection, names: Sequence[str]) -> dict[str, RecordedEvent]:
    """Return the newest holdings of each portfolio that has any."""
    streams = [holdings_of(name) for name in names]
    found = await _events(conn, HELD, {"streams": streams, "upto": NOW, "day": "9999-12-31"})
    return {event.stream.removeprefix(HOLDINGS): event for event in found}


async def read_inputs(conn: AsyncConnection, run: Run, only: str | None = None) -> Inputs:
    """Read what a run judges; with `only` what it needs for this portfolio.

    What no client can send takes no part: a portfolio without a definition, or under a policy that is not on record.
    """
    upto = {"upto": run.position}
    rows = await (await conn.execute(PORTFOLIOS, upto, prepare=True)).fetchall()
    salts = {stream.removeprefix(CATEGORY): None if salt is None else bytes.fromhex(salt) for stream, salt in rows}
    listed = [name for name in salts if only in {None, name}]
    histories = await read_streams(conn, [stream_of(name) for name in listed])
    states = {name: fold(name, histories[stream_of(name)]) for name in listed}
    found = {name: _definition_at(states[name], histories[stream_of(name)], run.position) for name in listed}
    conditions = await _conditions(conn, {one.policy for one in found.values() if one is not None}, run)
    definitions = {name: one for name, one in found.items() if one is not None and one.policy in conditions}
    names = list(definitions)
    held = await _events(
        conn, HELD, {**upto, "streams": [holdings_of(name) for name in names], "day": run.as_of.date().isoformat()}
    )
    holdings = {event.stream.removeprefix(HOLDINGS): _positions(event) for event in held}
    return Inputs(run, names, salts, definitions, states, holdings, conditions)


async def read_policies(
    conn: AsyncConnection, names: Iterable[str], upto: int = NOW
) -> dict[str, tuple[MonitoringText, str]]:
    """Return the text in force of each monitoring policy that is on record, and its digest.

    An event that no client can send is passed over.
    """
    found = await read_streams(conn, [policy_stream(name) for name in names], upto)
    texts: dict[str, tuple[MonitoringText, str]] = {}
    for stream, events in found.items():
        for event in events:
            with contextlib.suppress(*MALFORMED):
                text = MonitoringText.model_validate_json(orjson.dumps(event.data["policy"]))
                texts[stream.removeprefix(policy_stream(""))] = (text, str(event.data["sha256"]))
    return texts


def policy_stream(name: str) -> str:
    """Return the name of the stream that a monitoring policy is adopted in."""
    return Policy(f"{NAMED}{name}", "", "", {}).stream


async def _conditions(conn: AsyncConnection, names: Iterable[str], run: Run) -> dict[str, Conditions]:
    policies = await read_policies(conn, names, run.position)
    today = run.as_of.date()
    back = max((looks_back(text) for text, _ in policies.values()), default=0)
    market = await read_market(conn, days_until(today, back), run.position)
    return {
        name: Conditions(text, digest, market.prices(text, today), market.rates_of(text, today))
        for name, (text, digest) in policies.items()
    }


async def read_market(conn: AsyncConnection, days: Sequence[str], upto: int = NOW) -> Market:
    """Return the prices and rates of these days."""
    found = await read_streams(conn, [f"prices-{day}" for day in days], upto)
    return Market.of(event for events in found.values() for event in events)


async def read_drift(conn: AsyncConnection, run: Run, name: str) -> dict[str, Any] | None:
    """Compute what a run found about one portfolio; None if the portfolio was not there yet."""
    inputs = await read_inputs(conn, run, name)
    return shown(name, inputs.judge(name)) if name in inputs.names else None


async def _events(conn: AsyncConnection, query: bytes, parameters: Mapping[str, object]) -> list[RecordedEvent]:
    async with conn.cursor(row_factory=class_row(RecordedEvent)) as cursor:
        await cursor.execute(query, parameters, prepare=True)
        return await cursor.fetchall()


def _definition_at(state: Portfolio, history: Sequence[RecordedEvent], position: int) -> Definition | None:
    """Return the definition as of a position; None if there is none that a client can have sent."""
    if state.definition is None or state.definition.position > position:
        state = fold(state.name, [event for event in history if event.position <= position])
    return state.definition


def _positions(event: RecordedEvent) -> dict[str, int] | None:
    """Return the quantities in parts; None if they were erased, or are what no client can send."""
    with contextlib.suppress(*MALFORMED):
        return {asset: parts(quantity) for asset, quantity in event.fields["positions"].items()}
    return None

"""The inputs of a run, read from the chain as of its position: portfolios, holdings, policies, prices and rates."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from ledger.database import AsyncConnection
from ledger.domain.history import MALFORMED
from ledger.domain.monitoring.actions import Actions
from ledger.domain.monitoring.custody import NO_CUSTODY, RECEIVED, VALUATION, Custody, ready_of
from ledger.domain.monitoring.drift import Judgement
from ledger.domain.monitoring.leaf import leaf
from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.portfolio import CATEGORY, Definition, Portfolio
from ledger.domain.monitoring.prices import Market, days_until, looks_back
from ledger.domain.monitoring.run import Conditions, Run, judged, judged_ready
from ledger.domain.policy import Policy
from ledger.service.monitoring.memory import Held, Kept, Memory, held_of
from ledger.service.monitoring.streams import HERE, NOW, holdings_at, newest_of, read_actions, read_streams
from schema.events import ValuationRecorded

PORTFOLIOS = (HERE / "portfolios.sql").read_bytes()
# The name of a monitoring policy follows this in the name of the policy on record.
NAMED = "monitoring-"
ERASED = bytes(32)
NOTHING = Held("", None)


@dataclass(frozen=True)
class Inputs:
    """The record up to the run's position."""

    run: Run
    names: Sequence[str]
    salts: Mapping[str, bytes | None]
    definitions: Mapping[str, Definition]
    states: Mapping[str, Portfolio]
    holdings: Mapping[str, Held]
    conditions: Mapping[str, Conditions]
    custody: Custody = NO_CUSTODY

    def judge(self, name: str) -> Judgement:
        """Judge one portfolio."""
        definition = self.definitions[name]
        conditions = self.conditions[definition.policy]
        held, ready = self.holdings.get(name, NOTHING), self.custody.ready.get(name)
        if ready is not None and ready.day >= held.day:
            return judged_ready(definition.weights, ready, self.custody.age(ready), definition.base, conditions, name)
        return judged(definition.weights, held.positions, definition.base, conditions, held.day, name)

    def valued_on(self, name: str) -> str:
        """Return the day of the value of a portfolio: that of its holdings, or of its custodian's valuation."""
        ready = self.custody.ready.get(name)
        return max(self.holdings.get(name, NOTHING).day, "" if ready is None else ready.day)

    def leaf(self, name: str, judgement: Judgement) -> bytes:
        """Return the leaf of a portfolio. One whose salt was erased has nothing left to hide."""
        return leaf(self.salts[name] or ERASED, self.run, name, judgement)


async def read_inputs(conn: AsyncConnection, run: Run, only: str | None = None, memory: Memory | None = None) -> Inputs:
    """Read what a run judges; with `only` what it needs for this portfolio. With `memory` only what is new is read.

    What no client can send takes no part: a portfolio without a definition, or under a policy that is not on record.
    """
    rows = await (await conn.execute(PORTFOLIOS, {"upto": run.position}, prepare=True)).fetchall()
    salts = {stream.removeprefix(CATEGORY): None if salt is None else bytes.fromhex(salt) for stream, salt in rows}
    memory = memory or Memory()
    kept = await memory.upto(conn, {name: salt for name, salt in salts.items() if only in {None, name}}, run.position)
    states = {name: state for name in salts if (state := kept.states.get(name)) is not None}
    found = {name: state.definition for name, state in states.items()}
    policies = await read_policies(conn, {one.policy for one in found.values() if one is not None}, run.position)
    definitions = {name: one for name, one in found.items() if one is not None and one.policy in policies}
    today, names = run.as_of.date(), list(definitions)
    back = max((looks_back(text) for text, _ in policies.values()), default=0)
    market = await memory.market(conn, kept, days_until(today, back))
    actions = Actions.of(await read_actions(conn, run.position), today)
    conditions = {
        name: Conditions(
            actions.policy(text),
            digest,
            market.prices(text, today, actions),
            market.rates_of(text, today),
            actions,
            memory.plans(name, actions.policy(text)),
        )
        for name, (text, digest) in policies.items()
    }
    holdings = await _holdings(conn, kept, names, today.isoformat())
    first = {name: days_until(today, looks_back(text))[0] for name, (text, _) in policies.items()}
    earliest = {name: first[one.policy] for name, one in definitions.items()}
    custody = await _custody(conn, earliest, run.position, days_until(today, back))
    return Inputs(run, names, salts, definitions, states, holdings, conditions, custody)


async def _holdings(conn: AsyncConnection, kept: Kept, names: Sequence[str], day: str) -> dict[str, Held]:
    """Return what portfolios hold on a day. The newest holdings of some may be of a later one."""
    newest = {name: held for name in names if (held := kept.holdings.get(name)) is not None}
    later = [name for name, held in newest.items() if held.day > day]
    earlier = await holdings_at(conn, later, kept.position, day) if later else {}
    found = {name: held for name, held in newest.items() if held.day <= day}
    return found | {name: held_of(event) for name, event in earlier.items()}


async def _custody(conn: AsyncConnection, earliest: Mapping[str, str], upto: int, days: Sequence[str]) -> Custody:
    """Return the newest valuations of these days, the last of which is the day of the run.

    `earliest` is the day of each portfolio before which there is none for it.
    """
    received = await read_streams(conn, [RECEIVED + day for day in days], upto)
    by_source: dict[str, set[str]] = {}
    for stream, events in received.items():
        for event in events:
            by_source.setdefault(str(event.data.get("source")), set()).add(stream.removeprefix(RECEIVED))
    if not by_source:
        return NO_CUSTODY
    found = await newest_of(conn, VALUATION, ValuationRecorded.type, list(earliest), upto, days[-1])
    ready = {name: ready_of(event) for name, event in found.items()}
    return Custody(
        {name: one for name, one in ready.items() if one.day >= earliest[name]},
        {source: frozenset(sent) for source, sent in by_source.items()},
    )


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


async def read_market(conn: AsyncConnection, days: Sequence[str]) -> Market:
    """Return the prices and rates of these days, as they are on record now."""
    return await Memory().market(conn, Kept(NOW), days)

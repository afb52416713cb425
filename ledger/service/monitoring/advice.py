"""Requests for advice about portfolios: the one that is open, and those that the alerts of a run open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from uuid import UUID

from ledger.domain.case import CATEGORY, fold_case
from ledger.domain.monitoring.drift import Judgement
from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.portfolio import Definition, Portfolio, Watched, request_id_of, stream_of
from ledger.domain.monitoring.rebalancing import amount_usd, candidates, hindrance, is_open, notes, request
from ledger.domain.monitoring.run import transition_id
from ledger.errors import ClientErased, IdConflict, Refused, VersionConflict
from ledger.service.authority import judged_as
from ledger.service.execute import TRIES, Executor, encoded
from ledger.service.monitoring.inputs import Inputs
from ledger.service.monitoring.streams import read_states
from ledger.store.envelope import Actor, NewEvent
from schema.events import PortfolioRequested, RebalancingDecided


async def open_request(executor: Executor, state: Portfolio) -> int | None:
    """Return the number of the portfolio's request that is open, or None."""
    if state.requested is None or (number := await request_number(executor, state.requested)) is None:
        return None
    [history] = await executor.readers.streams(f"{CATEGORY}{number}")
    return number if is_open(fold_case(history)) else None


async def request_number(executor: Executor, request: UUID) -> int | None:
    """Return the number of the request that an event with this id opened, or None."""
    found = await executor.find(request)
    return None if found is None else int(found[0].stream.removeprefix(CATEGORY))


def with_request(decided: NewEvent, event: PortfolioRequested) -> list[NewEvent]:
    """Return the request and the decision that opens it. The decision's id is the correlation of the case."""
    opening = NewEvent(
        request_id_of(decided.id), CATEGORY, event, decided.actor, "no_stream", decided.causation, decided.id
    )
    return [opening, replace(decided, correlation=decided.id)]


@dataclass(frozen=True)
class Advice:
    """Open requests for advice because of a run's alerts, in the order of names: at most so many for each policy.

    A run that was killed goes on: an alert that has its request is left out, and the requests of the run are counted.
    """

    executor: Executor

    async def ask(self, actor: Actor, inputs: Inputs, judgements: Mapping[str, Judgement]) -> None:
        """Check each portfolio whose policy asks for advice. A historical run opens no request.

        Raises Refused `busy`.
        """
        policies = {name: inputs.conditions[one.policy].policy for name, one in inputs.definitions.items()}
        asking = [name for name in inputs.names if policies[name].request_advice]
        if inputs.run.historical or not asking:
            return
        states = await self.executor.readers.run(lambda conn: read_states(conn, asking))
        left = {policy.name: policy.requests_per_run for policy in policies.values()}
        for name in asking:
            left[policies[name].name] -= states[name].requested_by == inputs.run.number
        for name in asking:
            policy = policies[name]
            if states[name].erased:
                continue
            one = Asking(self.executor, actor, inputs, judgements[name], policy)
            left[policy.name] -= await one.ask(states[name], left[policy.name])


@dataclass(frozen=True)
class Asking:
    """One portfolio of a run whose policy asks for advice."""

    executor: Executor
    actor: Actor
    inputs: Inputs
    judgement: Judgement
    policy: MonitoringText

    async def ask(self, state: Portfolio, left: int) -> int:
        """Decide about each alert that has no request yet; return how many requests were opened. Raises Refused."""
        opened, done, tries = 0, set[int](), 0
        while (
            found := next((one for one in candidates(state, self.policy) if one.number not in done), None)
        ) is not None:
            event = await self._decide(state, found, left - opened)
            if event.cause is not None and event.cause == found.advice:
                done.add(found.number)  # on record since an earlier run
                continue
            if await self._append(state, found, event):
                done.add(found.number)
                opened += event.outcome == "opened"
            elif (tries := tries + 1) == TRIES:
                raise Refused("busy", "others are acting on this portfolio; try again")
            name = state.name
            state = (await self.executor.readers.run(partial(read_states, names=[name])))[name]
        return opened

    async def _decide(self, state: Portfolio, found: Watched, left: int) -> RebalancingDecided:
        """Return what is recorded about an alert: a request that is open takes it in, whatever hinders another one."""
        of_alert = partial(RebalancingDecided, alert=found.number, run=self.inputs.run.number)
        if (number := await open_request(self.executor, state)) is not None:
            return of_alert(outcome="joined", request=number)
        cause = hindrance(self.judgement, self.policy, self._definition(state), found.key[0])
        if cause is None and self._amount(state) is None:
            cause = "no-rate"
        if cause is None and left <= 0:
            cause = "requests-per-run"
        return of_alert(outcome="opened" if cause is None else "withheld", cause=cause)

    async def _append(self, state: Portfolio, found: Watched, event: RebalancingDecided) -> bool:
        """Append the decision, and the request that it opens; False if another append came first."""
        run = self.inputs.run
        new_id = transition_id(run.number, state.name, f"{event.type}\n{found.number}")
        decided = NewEvent(new_id, stream_of(state.name), event, self.actor, state.version, causation=found.raised)
        events, amount = [decided], self._amount(state)
        if event.outcome == "opened" and amount is not None:
            told = notes(state.name, f"its alert {found.position} by the rule {found.key[0]}", self.judgement, run.at)
            events = with_request(decided, request(state.name, self._definition(state), amount, told, None))
        try:
            await self.executor.writer.append_lines(await encoded(judged_as(self.actor, events)))
        except (VersionConflict, IdConflict, ClientErased):
            return False
        return True

    def _definition(self, state: Portfolio) -> Definition:
        return self.inputs.definitions[state.name]

    def _amount(self, state: Portfolio) -> Decimal | None:
        definition = self._definition(state)
        return amount_usd(self.judgement, self.inputs.conditions[definition.policy].rates, definition.base)

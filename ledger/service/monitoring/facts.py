"""Read the input of a run's triggers: flows of portfolios, and advice that was approved since the run before."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from ledger.database import AsyncConnection
from ledger.domain.case import fold_case
from ledger.domain.history import MALFORMED, RecordedEvent
from ledger.domain.monitoring.flows import NO_FLOWS, Flows, Unread
from ledger.domain.monitoring.triggers import Facts
from ledger.errors import StreamUnreadable
from ledger.service.monitoring.inputs import Inputs, policy_stream
from ledger.service.monitoring.streams import HERE, MOST_FLOWS, flows_of, read_streams
from ledger.store.readers import Readers
from schema.states import RecommendationState

APPROVALS = (HERE / "approvals.sql").read_bytes()
APPROVED = {RecommendationState.APPROVED, RecommendationState.EDITED, RecommendationState.COMMUNICATED}
DECISIONS = {"recommendation.decided", "recommendation.confirmed"}


async def read_facts(readers: Readers, inputs: Inputs) -> dict[str, Facts]:
    """Return what the triggers of a run look at, of the portfolios whose policies have them."""
    flows = await readers.run(lambda conn: _flows(conn, inputs))
    approved = await _approved(readers, inputs)
    return {name: Facts(flows.get(name, NO_FLOWS), approved.get(name, 0)) for name in flows.keys() | approved.keys()}


async def _flows(conn: AsyncConnection, inputs: Inputs) -> dict[str, Flows]:
    policies = {name: inputs.conditions[one.policy].policy for name, one in inputs.definitions.items()}
    names = [name for name, policy in policies.items() if policy.flow is not None or policy.depreciation_notices]
    today = inputs.run.as_of.date().isoformat()
    found = await flows_of(conn, names, inputs.run.position, today) if names else {}
    return {name: _flows_of(inputs, name, events, today) for name, events in found.items()}


def _flows_of(inputs: Inputs, name: str, events: Sequence[RecordedEvent], today: str) -> Flows:
    held_on, base = inputs.valued_on(name), inputs.definitions[name].base
    if len(events) <= MOST_FLOWS:
        return Flows.of(events, today, held_on, base)
    return Flows.of(events[1:], today, held_on, base, Unread.upto(events[0]))


async def _approved(readers: Readers, inputs: Inputs) -> Mapping[str, int]:
    """Return the position of the last approval of advice for each portfolio, or for its client at large."""
    looking = {
        name: one for name, one in inputs.definitions.items() if inputs.conditions[one.policy].policy.target_superseded
    }
    if not looking:
        return {}
    policies, upto = sorted({policy_stream(one.policy) for one in looking.values()}), inputs.run.position

    async def work(conn: AsyncConnection) -> list[tuple[str]]:
        # A policy that is new since the run before looks at all approvals: no run did so for it.
        is_new = await read_streams(conn, policies, upto, inputs.run.after)
        limits = {"after": 0 if is_new else inputs.run.after, "upto": upto}
        return await (await conn.execute(APPROVALS, limits, prepare=True)).fetchall()

    found: dict[object, int] = {}
    for (stream,) in await readers.run(work):
        [history] = await readers.streams(stream)
        with contextlib.suppress(StreamUnreadable, *MALFORMED):
            about, position = _approval([event for event in history if event.position <= inputs.run.position])
            found[about] = max(position, found.get(about, 0))
    return {name: max(found.get(name, 0), found.get(one.client, 0)) for name, one in looking.items()}


def _approval(history: Sequence[RecordedEvent]) -> tuple[object, int]:
    """Return the portfolio that advice is about, or its client's number, and the position of its approval; 0: none."""
    case = fold_case(history)
    if case.request is None or case.recommendation is None or case.recommendation.state not in APPROVED:
        return None, 0
    position = max(event.position for event in history if event.type in DECISIONS)
    return case.request.data.get("portfolio") or case.request.data.get("client"), position

"""Replay a recommendation: run the recorded agent, in the recorded version, on exactly the data that it saw.

The new call and the new answer are compared with the recorded ones. Only the fact of the replay is recorded; the new
answer is not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

from api.agents.openai import agent as openai_compatible
from api.agents.protocol import Agent, AgentRequest
from api.agents.registry import UnknownAgent, agent_for
from api.agents.run.context import contexts
from api.agents.run.json_diff import Difference, differences
from api.agents.run.runner import AgentRunner, AttemptResult
from api.extras import MissingExtra
from ledger.database import AsyncConnection
from ledger.domain.case import fold_case, stream_of
from ledger.domain.history import RecordedEvent
from ledger.proof.format.canonical import NotCanonical
from ledger.service.ledger import Ledger
from ledger.store import events
from ledger.store.envelope import Actor
from ledger.store.events import Receipt
from ledger.store.recorded import Unreadable, read_events
from schema.events import Event, ModelCallStarted, RecommendationReplayed, RequestFailed

# Limit for the call, and again for the answer.
MAX_DIFFERENCES = 50
# Members that the ledger adds to an answer.
ADDED_BY_LEDGER = frozenset({"supersedes"})
UNKNOWN_VERSION = "unknown"

Sameness = Literal["identical", "different"]


class CannotReplay(Exception):
    """No replay is possible; the message says why. Nothing is recorded."""


class NotRun(Exception):
    """The agent cannot be run, or gave no answer. `reason` is a short code, the message is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Report:
    """The result of a replay. `asked` and `answered` are None if it ended earlier; then `reason` says why.

    `deterministic` is the agent's own claim that the same call gets the same answer; None without an agent.
    """

    request_id: int
    recommendation_id: int
    model_call_id: int | None
    as_of: int | None
    agent: str
    agent_version: str
    deterministic: bool | None = None
    outcome: Literal["identical", "different", "failed"] = "failed"
    asked: Sameness | None = None
    answered: Sameness | None = None
    differences: tuple[Difference, ...] = ()
    more_differences: int = 0
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Subject:
    """The recorded side: a recommendation, the call that it came from, and all events that the call was shown."""

    request_id: int
    recommendation_id: int
    recommendation: RecordedEvent
    call_id: int | None
    call: RecordedEvent | None
    seen: Sequence[RecordedEvent]

    @property
    def report(self) -> Report:
        """Return the report before the agent is run."""
        data = self.call.data if self.call else {}
        return Report(
            self.request_id,
            self.recommendation_id,
            self.call_id,
            data.get("as_of"),
            self.call.by if self.call else self.recommendation.by,
            data.get("agent_version") or self.recommendation.data.get("model_version") or UNKNOWN_VERSION,
        )


async def replay_recommendation(
    ledger: Ledger, actor: Actor, request_id: int, recommendation_id: int | None, server: Mapping[str, Any]
) -> tuple[Report, Receipt]:
    """Replay a request's recommendation, by default the current one, and record that `actor` did.

    `server` has options for the agent that asks a language model: base_url, api_key, and optionally another model.
    Raises CannotReplay, and LedgerError if the database does not answer.
    """
    try:
        subject = await ledger.readers.run(lambda conn: _subject(conn, request_id, recommendation_id))
    except Unreadable as error:
        raise CannotReplay("the record cannot be read: run advice-ledger verify to see the findings") from error
    report = await _run(ledger, subject, server)
    event = RecommendationReplayed(
        recommendation_id=report.recommendation_id,
        as_of=report.as_of,
        agent_version=report.agent_version,
        outcome=report.outcome,
    )
    return report, await ledger.decisions.record_replay(actor, stream_of(request_id), event)


# --- the recorded side ------------------------------------------------------------------------------------------------


async def _subject(conn: AsyncConnection, request_id: int, wanted: int | None) -> Subject:
    [history] = await events.streams(conn, stream_of(request_id))
    recommendation = _recommendation(history, request_id, wanted)
    call_id = recommendation.data.get("model_call_id")
    positions = [history[0].position, recommendation.position, *([call_id] if call_id else [])]
    entries = await read_events(conn, positions)
    call = None if call_id is None else entries.get(call_id)
    seen = await read_events(conn, list(_shown(call)) if call else [])
    return Subject(
        request_id,
        recommendation.position,
        entries[recommendation.position],
        call_id,
        call,
        [*entries.values(), *seen.values()],
    )


def _recommendation(history: Sequence[RecordedEvent], request_id: int, wanted: int | None) -> RecordedEvent:
    if not history:
        raise CannotReplay(f"there is no request {request_id}")
    if wanted is None:
        current = fold_case(history).recommendation
        if current is None:
            raise CannotReplay(f"request {request_id} has no recommendation to replay")
        return current.event
    for event in history:
        if event.position == wanted and event.type == "recommendation.recorded":
            return event
    raise CannotReplay(f"{wanted} is not a recommendation of request {request_id}")


def _shown(call: RecordedEvent) -> Iterator[int]:
    """Yield the positions of the recommendations and decisions that a call was shown."""
    for shown in call.data.get("shown", []):
        if shown["kind"] in {"recommendation", "decision"} and shown["id"].isascii() and shown["id"].isdecimal():
            yield int(shown["id"][:18])


# --- the replay --------------------------------------------------------------------------------


async def _run(ledger: Ledger, subject: Subject, server: Mapping[str, Any]) -> Report:
    report = subject.report
    try:
        call = _call(subject)
        agent = _agent(call, server)
        report = replace(report, deterministic=agent.deterministic)
        return await _compared(report, subject, call, agent, await _context(ledger, report))
    except NotRun as error:
        return replace(report, reason=error.reason, detail=str(error))
    except NotCanonical as error:
        return replace(report, reason="not-canonical", detail=f"a value cannot be compared: {error}")


def _call(subject: Subject) -> RecordedEvent:
    if subject.call is None:
        raise NotRun(
            "not-from-a-call",
            f"{subject.recommendation.by} answered without a recorded model call, so its input is not known",
        )
    # Without this check, the agent would be blamed for a change that somebody made to the record.
    altered = [entry.altered for entry in subject.seen if entry.altered]
    if altered:
        raise NotRun("record-altered", f"{'; '.join(altered)}. Run advice-ledger verify to see all findings")
    if any(entry.erased for entry in subject.seen):
        raise NotRun("erased", "values that the agent was shown, or its answer, were erased")
    for name in ("agent_version", "as_of"):
        if subject.call.data.get(name) is None:
            raise NotRun("not-told", f"the recorded model call has no {name}")
    return subject.call


def _agent(call: RecordedEvent, server: Mapping[str, Any]) -> Agent:
    try:
        return agent_for(call.by, call.data["agent_version"], **_options(call, server))
    except UnknownAgent as error:
        raise NotRun("agent-unknown", str(error)) from error
    except MissingExtra as error:
        raise NotRun("extra-missing", str(error)) from error
    except ValueError as error:
        raise NotRun("agent-options", str(error)) from error


def _options(call: RecordedEvent, server: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recorded model and settings, for the agent that asks a language model.

    The address is always the caller's: client data and a key are never sent to an address from a record.
    """
    if call.by != openai_compatible.NAME:
        return {}
    recorded = call.data.get("request_parameters", {})
    if "base_url" not in server:
        raise NotRun(
            "no-server", f"name the model's address with --agent-url; the record has {recorded.get('base_url')!r:.200}"
        )
    settings = {name: recorded[name] for name in ("seed", "max_tokens") if name in recorded}
    if "temperature" in recorded:
        settings["temperature"] = float(recorded["temperature"])
    return {"model": call.data["request_model"], **settings, **server}


async def _context(ledger: Ledger, report: Report) -> AgentRequest:
    requests = await ledger.readers.run(lambda conn: contexts(conn, [report.request_id], report.as_of))
    if not requests:
        raise NotRun("no-context", "the read model portfolio_requests lacks this request: run advice-ledger rebuild")
    return requests[0]


async def _compared(
    report: Report, subject: Subject, call: RecordedEvent, agent: Agent, context: AgentRequest
) -> Report:
    """Run the agent as the worker does, but record nothing."""
    assert subject.call_id is not None, "there is a call"
    runner = AgentRunner(agent)
    prepared = await runner.prepare(context)
    if isinstance(prepared, AttemptResult):
        return _failed(report, prepared)
    report = _with_differences(report, "asked", _differing("call", call, ModelCallStarted(**dict(prepared))))
    result = await runner.answer(context, prepared, subject.call_id)
    if isinstance(result.event, RequestFailed):
        return _failed(report, result)
    report = _with_differences(report, "answered", _differing("answer", subject.recommendation, result.event))
    return replace(report, outcome="different" if report.differences else "identical")


def _with_differences(report: Report, part: Literal["asked", "answered"], found: Iterator[Difference]) -> Report:
    """Add the differences of the call or of the answer to the report."""
    first = tuple(islice(found, MAX_DIFFERENCES))
    same: dict[str, Any] = {part: "different" if first else "identical"}
    more = report.more_differences + sum(1 for _ in found)
    return replace(report, **same, differences=report.differences + first, more_differences=more)


def _differing(path: str, recorded: RecordedEvent, event: Event) -> Iterator[Difference]:
    replayed = event.model_dump(exclude_none=True)
    members = {name: value for name, value in recorded.members.items() if name not in ADDED_BY_LEDGER}
    return differences(members, replayed, path)


def _failed(report: Report, result: AttemptResult) -> Report:
    assert isinstance(result.event, RequestFailed)
    return replace(report, reason=result.event.reason, detail=result.event.detail)

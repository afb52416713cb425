"""A recommendation once more: the recorded agent, in the recorded version, on exactly what it had seen.

What would be asked and what is answered is compared with what is on record. The fact of a replay is recorded, and
nothing else: the new answer is not kept.
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
from api.agents.run.runner import Asking, Outcome
from api.extras import MissingExtra
from ledger.database import AsyncConnection
from ledger.domain import case as cases
from ledger.domain.history import RecordedEvent
from ledger.proof.format.canonical import NotCanonical
from ledger.service.ledger import Ledger
from ledger.store import events
from ledger.store.envelope import Actor
from ledger.store.events import Receipt
from ledger.store.recorded import Unreadable, read_events
from schema.events import Event, ModelCallStarted, RecommendationReplayed, RequestFailed

# So many of the question, and as many of the answer.
MOST_DIFFERENCES = 50
# What the ledger adds to an answer, and is not the agent's.
OF_THE_LEDGER = frozenset({"supersedes"})
UNTOLD = "unknown"

Sameness = Literal["identical", "different"]


class CannotReplay(Exception):
    """There is nothing that could be replayed; the message says why. Nothing is recorded."""


class NotRun(Exception):
    """The agent cannot be run again, or gave no answer: `reason` is a short code, the message is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Report:
    """What a replay found. `asked` and `answered` are None where it did not come so far; then `reason` says why.

    `deterministic`: whether the agent says that the same question gets the same answer; None without an agent.
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
    """What is replayed: a recommendation, the call that it came from, and every event that the call was shown."""

    request_id: int
    recommendation_id: int
    recommendation: RecordedEvent
    call_id: int | None
    call: RecordedEvent | None
    seen: Sequence[RecordedEvent]

    @property
    def report(self) -> Report:
        """What is known before anything is run."""
        data = self.call.data if self.call else {}
        return Report(
            self.request_id,
            self.recommendation_id,
            self.call_id,
            data.get("as_of"),
            self.call.by if self.call else self.recommendation.by,
            data.get("agent_version") or self.recommendation.data.get("model_version") or UNTOLD,
        )


async def replay(
    ledger: Ledger, actor: Actor, request_id: int, recommendation_id: int | None, server: Mapping[str, Any]
) -> tuple[Report, Receipt]:
    """Replays a request's recommendation, the current one unless given, and records that `actor` did.

    `server` are options of the agent that asks a language model: base_url, api_key, and model where it is to be another
    one. Raises CannotReplay, and LedgerError where the database does not answer.
    """
    try:
        subject = await ledger.readers.run(lambda conn: _subject(conn, request_id, recommendation_id))
    except Unreadable as error:
        raise CannotReplay("what is on record cannot be read: advice-ledger verify tells what is wrong") from error
    report = await _run(ledger, subject, server)
    event = RecommendationReplayed(
        recommendation_id=report.recommendation_id,
        as_of=report.as_of,
        agent_version=report.agent_version,
        outcome=report.outcome,
    )
    return report, await ledger.decisions.record_replay(actor, cases.stream_of(request_id), event)


# --- what is on record ------------------------------------------------------------------------------------------------


async def _subject(conn: AsyncConnection, request_id: int, wanted: int | None) -> Subject:
    [history] = await events.streams(conn, cases.stream_of(request_id))
    found = _recommendation(history, request_id, wanted)
    call_id = found.data.get("model_call_id")
    positions = [history[0].position, found.position, *([call_id] if call_id else [])]
    entries = await read_events(conn, positions)
    call = None if call_id is None else entries.get(call_id)
    seen = await read_events(conn, list(_shown(call)) if call else [])
    return Subject(
        request_id, found.position, entries[found.position], call_id, call, [*entries.values(), *seen.values()]
    )


def _recommendation(history: Sequence[RecordedEvent], request_id: int, wanted: int | None) -> RecordedEvent:
    if not history:
        raise CannotReplay(f"there is no request {request_id}")
    if wanted is None:
        current = cases.fold(history).recommendation
        if current is None:
            raise CannotReplay(f"request {request_id} has no recommendation that could be replayed")
        return current.event
    for past in history:
        if past.position == wanted and past.type == "recommendation.recorded":
            return past
    raise CannotReplay(f"{wanted} is no recommendation of request {request_id}")


def _shown(call: RecordedEvent) -> Iterator[int]:
    """Positions of the recommendations and decisions that a call was shown."""
    for shown in call.data.get("shown", []):
        if shown["kind"] in {"recommendation", "decision"} and shown["id"].isascii() and shown["id"].isdecimal():
            yield int(shown["id"][:18])


# --- what happens when it is run again --------------------------------------------------------------------------------


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
        return replace(report, reason="not-canonical", detail=f"there is something that cannot be compared: {error}")


def _call(subject: Subject) -> RecordedEvent:
    if subject.call is None:
        raise NotRun(
            "not-from-a-call",
            f"{subject.recommendation.by} answered without a recorded model call, so what it was shown is not known",
        )
    # Or the agent would be blamed for what somebody wrote into the record.
    altered = [entry.altered for entry in subject.seen if entry.altered]
    if altered:
        raise NotRun("record-altered", f"{'; '.join(altered)}. advice-ledger verify tells all that is wrong")
    if any(entry.erased for entry in subject.seen):
        raise NotRun("erased", "values that the agent was shown, or its answer, were erased")
    for name, what in (("agent_version", "which version of the agent made it"), ("as_of", "what had been read then")):
        if subject.call.data.get(name) is None:
            raise NotRun("not-told", f"the recorded model call does not say {what}")
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
    """Of the agent that asks a language model: the recorded model and settings. The address is always the caller's.

    What a client said, and a key, are not sent to an address because it stands in a record.
    """
    if call.by != openai_compatible.NAME:
        return {}
    recorded = call.data.get("request_parameters", {})
    if "base_url" not in server:
        raise NotRun(
            "no-server", f"say where the model is with --agent-url; the record has {recorded.get('base_url')!r:.200}"
        )
    settings = {name: recorded[name] for name in ("seed", "max_tokens") if name in recorded}
    if "temperature" in recorded:
        settings["temperature"] = float(recorded["temperature"])
    return {"model": call.data["request_model"], **settings, **server}


async def _context(ledger: Ledger, report: Report) -> AgentRequest:
    found = await ledger.readers.run(lambda conn: contexts(conn, [report.request_id], report.as_of))
    if not found:
        raise NotRun("no-context", "the read model portfolio_requests lacks this request: run advice-ledger rebuild")
    return found[0]


async def _compared(
    report: Report, subject: Subject, call: RecordedEvent, agent: Agent, context: AgentRequest
) -> Report:
    """Asks as the worker does, recording nothing."""
    assert subject.call_id is not None, "there is a call"
    asking = Asking(agent)
    try:
        prepared = await asking.prepare(context)
        if isinstance(prepared, Outcome):
            return _failed(report, prepared)
        report = _told(report, "asked", _differing("call", call, ModelCallStarted(**dict(prepared))))
        outcome = await asking.answer(context, prepared, subject.call_id)
    finally:
        asking.close()
    if isinstance(outcome.event, RequestFailed):
        return _failed(report, outcome)
    report = _told(report, "answered", _differing("answer", subject.recommendation, outcome.event))
    return replace(report, outcome="different" if report.differences else "identical")


def _told(report: Report, what: Literal["asked", "answered"], found: Iterator[Difference]) -> Report:
    """The report with what was found of the question, or of the answer."""
    first = tuple(islice(found, MOST_DIFFERENCES))
    same: dict[str, Any] = {what: "different" if first else "identical"}
    more = report.more_differences + sum(1 for _ in found)
    return replace(report, **same, differences=report.differences + first, more_differences=more)


def _differing(what: str, recorded: RecordedEvent, event: Event) -> Iterator[Difference]:
    replayed = event.model_dump(exclude_none=True)
    said = {name: value for name, value in recorded.members.items() if name not in OF_THE_LEDGER}
    return differences(said, replayed, what)


def _failed(report: Report, outcome: Outcome) -> Report:
    assert isinstance(outcome.event, RequestFailed)
    return replace(report, reason=outcome.event.reason, detail=outcome.event.detail)

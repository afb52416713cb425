"""The read models about agents, their calls, and accesses folded a second time, in plain Python."""

from __future__ import annotations

from collections.abc import Iterable

from schema.events import (
    AccessRecorded,
    AgentRegistered,
    AgentResumed,
    AgentSuspended,
    ModelCallCompleted,
    ModelCallContentRecorded,
    ModelCallFailed,
    ModelCallStarted,
    RecommendationRecorded,
)
from tests.projections.naive import Entry, Row

STARTED = (
    "operation_name",
    "provider_name",
    "request_model",
    "request_parameters",
    "agent_version",
    "prompt_name",
    "prompt_version",
    "prompt_sha256",
    "tool_definitions_sha256",
    "as_of",
    "capture",
    "mapper_version",
    "trace_id",
    "span_id",
    "claimed_start",
)
ENDED = (
    "latency_ms",
    "response_id",
    "response_model",
    "response_finish_reasons",
    "usage_input_tokens",
    "usage_output_tokens",
    "usage_cache_read_input_tokens",
    "usage_cache_write_input_tokens",
    "usage_reasoning_output_tokens",
    "time_to_first_chunk_ms",
    "error_type",
)


def model_calls(history: Iterable[Entry], clients: dict[str, str]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: dict[tuple[str, object], Row] = {}
    ids: dict[tuple[str, object], Row] = {}
    for entry in history:
        event, stream = entry.event, entry.at.stream
        if isinstance(event, ModelCallStarted):
            ids[stream, entry.at.id] = rows[stream, entry.at.position] = _started(entry, event, clients)
        elif isinstance(event, ModelCallCompleted | ModelCallFailed):
            row = ids.get((stream, entry.new.causation))
            if row is not None and row["state"] == "open":
                row |= _ended(entry, event)
        elif isinstance(event, ModelCallContentRecorded):
            row = ids.get((stream, entry.new.causation))
            if row is not None:
                row["content_positions"] = [*(row["content_positions"] or []), entry.at.position]
        elif isinstance(event, RecommendationRecorded) and entry.request_id is not None:
            row = rows.get((stream, event.model_call_id))
            if row is not None and row["recommendation_id"] is None:
                row["recommendation_id"] = entry.at.position
    return list(rows.values())


def _started(entry: Entry, event: ModelCallStarted, clients: dict[str, str]) -> Row:
    return (
        {name: getattr(event, name) for name in STARTED}
        | dict.fromkeys(ENDED)
        | {
            "stream": entry.at.stream,
            "id": entry.at.position,
            "request_id": entry.request_id,
            "client_id": clients.get(entry.at.stream),
            "state": "open",
            "agent": entry.by,
            "shown": [one.model_dump(exclude_none=True) for one in event.shown],
            "created_at": entry.at.recorded_at,
            "ended_at": None,
            "ended_position": None,
            "recommendation_id": None,
            "content_positions": None,
        }
    )


def _ended(entry: Entry, event: ModelCallCompleted | ModelCallFailed) -> Row:
    return {name: getattr(event, name, None) for name in ENDED} | {
        "state": "completed" if isinstance(event, ModelCallCompleted) else "failed",
        "ended_at": entry.at.recorded_at,
        "ended_position": entry.at.position,
    }


def agents(history: Iterable[Entry]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: dict[str, Row] = {}
    for entry in history:
        name = entry.at.stream.removeprefix("agent-")
        if name != entry.at.stream and isinstance(entry.event, AgentRegistered | AgentSuspended | AgentResumed):
            rows.setdefault(name, _agent(name, entry)).update(_changed(entry, entry.event))
    return list(rows.values())


def _agent(name: str, entry: Entry) -> Row:
    stopped = ("suspended_at", "suspended_by", "suspend_reason", "resumed_at", "resumed_by", "resume_reason")
    return dict.fromkeys((*stopped, "answer_schema")) | {
        "stream": entry.at.stream,
        "name": name,
        "id": entry.at.position,
        "suspended": False,
        "created_at": entry.at.recorded_at,
    }


def _changed(entry: Entry, event: AgentRegistered | AgentSuspended | AgentResumed) -> Row:
    at = entry.at.recorded_at
    match event:
        case AgentRegistered():
            return {"updated_at": at, "answer_schema": event.answer_schema}
        case AgentSuspended():
            told = {"suspended_at": at, "suspended_by": entry.by, "suspend_reason": event.reason}
            return {"updated_at": at, "suspended": True} | told
        case AgentResumed():
            told = {"resumed_at": at, "resumed_by": entry.by, "resume_reason": event.reason}
            return {"updated_at": at, "suspended": False} | told


def accesses(history: Iterable[Entry]) -> list[Row]:
    """Return the rows, in the order of id."""
    return [
        {
            "stream": entry.at.stream,
            "id": entry.at.position,
            **entry.event.model_dump(),
            "created_at": entry.at.recorded_at,
        }
        for entry in history
        if isinstance(entry.event, AccessRecorded) and entry.at.stream.startswith("access-")
    ]

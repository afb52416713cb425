"""Calls of models: one row for each, without its messages."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from psycopg import sql
from pydantic import BaseModel, JsonValue

from projections.read_model import Filter, ReadModel, changing, fixed, of_client
from schema.events import Shown
from schema.fields import Digest
from schema.states import ModelCallState


class ModelCall(BaseModel):
    """A model call without its messages. They are sealed; `GET /model-calls/{id}` has them."""

    id: int
    request_id: int | None
    client_id: str | None
    state: ModelCallState
    agent: str
    operation_name: str
    provider_name: str
    request_model: str
    request_parameters: dict[str, JsonValue] | None
    agent_version: str | None
    prompt_name: str | None
    prompt_version: str | None
    prompt_sha256: Digest | None
    tool_definitions_sha256: Digest | None
    shown: list[Shown]
    as_of: int | None
    capture: Literal["direct", "otlp"]
    mapper_version: str | None
    trace_id: str | None
    span_id: str | None
    claimed_start: str | None
    created_at: datetime
    ended_at: datetime | None
    latency_ms: int | None
    response_id: str | None
    response_model: str | None
    response_finish_reasons: list[str] | None
    usage_input_tokens: int | None
    usage_output_tokens: int | None
    usage_cache_read_input_tokens: int | None
    usage_cache_write_input_tokens: int | None
    usage_reasoning_output_tokens: int | None
    time_to_first_chunk_ms: int | None
    error_type: str | None
    recommendation_id: int | None
    ended_position: int | None
    content_positions: list[int] | None


MODEL_CALLS = ReadModel(
    Path(__file__).parent,
    ModelCall,
    {
        **of_client(),
        **fixed("request_id", "agent", "request_model"),
        # By the clock of the database, as orphans.sql.
        "older_than_s": Filter(
            sql.SQL("model.created_at <= statement_timestamp() - %(older_than_s)s * interval '1 second'")
        ),
        **changing("state", "recommendation_id"),
    },
    request_column="request_id",
)

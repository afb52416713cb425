"""Read OpenTelemetry's own conventions, and the names of older releases and OpenLLMetry.

https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/client-inference.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from api.otlp.attributes import Attributes, first, name, structured
from api.otlp.dialects.dialect import Dialect, Kind, kind_in, present, renamed

MODEL_OPERATIONS = frozenset({"chat", "text_completion", "generate_content", "embeddings"})
# Spans around a model's span, and other spans of the conventions that name a model.
AROUND = frozenset({"create_agent", "invoke_agent", "invoke_workflow", "retrieval", "plan", "agent"})
OTHER = frozenset({"execute_tool", "tool"})
OLDER_NAMES = {
    "gen_ai.system": "gen_ai.provider.name",
    "gen_ai.usage.prompt_tokens": "gen_ai.usage.input_tokens",
    "gen_ai.usage.completion_tokens": "gen_ai.usage.output_tokens",
    "gen_ai.usage.cache_creation.input_tokens": "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.openai.request.seed": "gen_ai.request.seed",
    "gen_ai.openai.request.service_tier": "gen_ai.request.service_tier",
    "openai.request.service_tier": "gen_ai.request.service_tier",
}
PIECE = re.compile(r"gen_ai\.(prompt|completion)\.([0-9]{1,4})\.(.+)", re.DOTALL)


def _kind_of(attributes: Attributes) -> Kind | None:
    operation = name(attributes.get("gen_ai.operation.name"))
    if (kind := kind_in(operation, MODEL_OPERATIONS, AROUND, OTHER)) is not None:
        return kind
    by_model = first(attributes, "gen_ai.request.model", "gen_ai.response.model") is not None
    provider = first(attributes, "gen_ai.provider.name", "gen_ai.system")
    return Kind.LIKELY if by_model and provider is not None else None


def _translate(attributes: Attributes) -> Attributes:
    older = {
        "gen_ai.input.messages": _whole_or_pieces(attributes, "prompt"),
        "gen_ai.output.messages": _whole_or_pieces(attributes, "completion"),
    }
    return {**present(older), **renamed(attributes, OLDER_NAMES)}


def _whole_or_pieces(attributes: Attributes, older: str) -> Any:
    return structured(attributes.get(f"gen_ai.{older}")) or _pieces(attributes.items(), older) or None


def _pieces(attributes: Iterable[tuple[str, Any]], older: str) -> list[dict[str, Any]]:
    """Assemble messages from attributes such as gen_ai.prompt.0.role, in the order of their numbers."""
    by_number: dict[int, dict[str, Any]] = {}
    for key, value in attributes:
        piece = PIECE.fullmatch(key)
        if piece and piece[1] == older:
            by_number.setdefault(int(piece[2]), {})[piece[3]] = value
    return [by_number[number] for number in sorted(by_number)]


GEN_AI = Dialect("gen_ai", _kind_of, _translate)

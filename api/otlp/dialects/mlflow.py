"""Read MLflow Tracing spans, as its autologging writes the types CHAT_MODEL, LLM, EMBEDDING and RERANKER.

https://mlflow.org/docs/latest/genai/concepts/span/

Each attribute is JSON text. With MLFLOW_ENABLE_OTEL_GENAI_SEMCONV its spans speak OpenTelemetry's conventions instead.
"""

from __future__ import annotations

from typing import Any

from api.otlp.attributes import Attributes, first, structured
from api.otlp.dialects.chat import conversation
from api.otlp.dialects.dialect import Dialect, Kind, kind_in, mapping, present, requested, usage

OPERATIONS = {"CHAT_MODEL": "chat", "LLM": "text_completion", "EMBEDDING": "embeddings", "RERANKER": "rerank"}
# The type UNKNOWN does not say what the span is.
AROUND = frozenset({"AGENT", "CHAIN", "TASK", "WORKFLOW"})
OTHER = frozenset({"EVALUATOR", "GUARDRAIL", "MEMORY", "PARSER", "RETRIEVER", "TOOL"})


def _type_of(attributes: Attributes) -> str:
    return str(structured(attributes.get("mlflow.spanType"))).upper()


def _kind_of(attributes: Attributes) -> Kind | None:
    return kind_in(_type_of(attributes), OPERATIONS, AROUND, OTHER)


def _translate(attributes: Attributes) -> Attributes:
    asked, answer = (structured(attributes.get(f"mlflow.span{side}")) for side in ("Inputs", "Outputs"))
    settings, result = mapping(asked), mapping(answer)
    model = structured(attributes.get("mlflow.llm.model"))
    kind = _type_of(attributes)
    translated = {
        "gen_ai.operation.name": OPERATIONS.get(kind),
        "gen_ai.provider.name": structured(attributes.get("mlflow.llm.provider")),
        "gen_ai.request.model": settings.get("model") or model,
        "gen_ai.response.model": model if settings.get("model") else None,
        "gen_ai.response.id": result.get("id"),
        "gen_ai.response.finish_reasons": [choice.get("finish_reason") for choice in _choices(result)] or None,
        "gen_ai.conversation.id": structured(attributes.get("session.id")),
        "gen_ai.tool.definitions": structured(attributes.get("mlflow.chat.tools")) or settings.get("tools"),
        "gen_ai.input.messages": conversation(first(settings, "messages", "input", "prompt") or asked),
        # Vectors stay only in the raw span, because they are large and nobody reads them.
        "gen_ai.output.messages": None if kind == "EMBEDDING" else conversation(_messages(result) or answer),
        **usage({**mapping(result.get("usage")), **mapping(attributes.get("mlflow.chat.tokenUsage"))}),
    }
    return {**requested(settings), **present(translated)}


def _choices(result: dict[str, Any]) -> list[dict[str, Any]]:
    choices = result.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _messages(result: dict[str, Any]) -> list[Any]:
    return [choice["message"] for choice in _choices(result) if choice.get("message") is not None]


MLFLOW = Dialect("mlflow", _kind_of, _translate)

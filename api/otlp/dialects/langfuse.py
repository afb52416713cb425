"""Read Langfuse spans, as its SDKs write observations of the types `generation` and `embedding`.

https://langfuse.com/integrations/native/opentelemetry#property-mapping
"""

from __future__ import annotations

from typing import Any

from api.otlp.attributes import Attributes, structured
from api.otlp.dialects.chat import conversation
from api.otlp.dialects.dialect import Dialect, Kind, kind_in, mapping, present, renamed, requested, usage

TYPE = "langfuse.observation.type"
OPERATIONS = {"generation": "chat", "embedding": "embeddings"}
# The types `span` and `event` do not say what the span is.
AROUND = frozenset({"agent", "chain"})
OTHER = frozenset({"evaluator", "guardrail", "retriever", "tool"})
NAMES = {
    "langfuse.observation.model.name": "gen_ai.request.model",
    "langfuse.observation.prompt.name": "gen_ai.prompt.name",
    "langfuse.session.id": "gen_ai.conversation.id",
    "session.id": "gen_ai.conversation.id",
}


def _kind_of(attributes: Attributes) -> Kind | None:
    kind = attributes.get(TYPE)
    return kind_in(kind if isinstance(kind, str) else None, OPERATIONS, AROUND, OTHER)


def _translate(attributes: Attributes) -> Attributes:
    asked = structured(attributes.get("langfuse.observation.input"))
    tools = asked.get("tools") if isinstance(asked, dict) else None
    version = attributes.get("langfuse.observation.prompt.version")
    translated = {
        "gen_ai.operation.name": OPERATIONS.get(str(attributes.get(TYPE))),
        "gen_ai.prompt.version": None if version is None else str(version),
        "gen_ai.tool.definitions": tools,
        "gen_ai.input.messages": conversation(_messages(asked)),
        "gen_ai.output.messages": conversation(attributes.get("langfuse.observation.output")),
        **usage(mapping(attributes.get("langfuse.observation.usage_details"))),
    }
    parameters = requested(attributes.get("langfuse.observation.model.parameters"))
    return {**parameters, **present(translated), **renamed(attributes, NAMES)}


def _messages(asked: Any) -> Any:
    return asked["messages"] if isinstance(asked, dict) and "messages" in asked else asked


LANGFUSE = Dialect("langfuse", _kind_of, _translate)

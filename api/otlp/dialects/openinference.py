"""Read OpenInference spans, as the instrumentors of Arize Phoenix write them.

https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md

Lists are flattened into names such as `llm.input_messages.0.message.role`.
"""

from __future__ import annotations

from typing import Any

from api.otlp.attributes import Attributes, first, structured
from api.otlp.dialects.chat import conversation
from api.otlp.dialects.dialect import Dialect, Kind, kind_in, mapping, present, renamed, requested

KIND = "openinference.span.kind"
OPERATIONS = {"LLM": "chat", "EMBEDDING": "embeddings", "RERANKER": "rerank"}
AROUND = frozenset({"AGENT", "CHAIN"})
OTHER = frozenset({"DECISION", "EVALUATOR", "GUARDRAIL", "PROMPT", "RETRIEVER", "TOOL"})
NAMES = {
    "llm.provider": "gen_ai.provider.name",
    "llm.system": "gen_ai.provider.name",
    "llm.response.model_name": "gen_ai.response.model",
    "llm.finish_reason": "gen_ai.response.finish_reasons",
    "llm.prompt_template.version": "gen_ai.prompt.version",
    "llm.token_count.prompt": "gen_ai.usage.input_tokens",
    "llm.token_count.completion": "gen_ai.usage.output_tokens",
    "llm.token_count.prompt_details.cache_read": "gen_ai.usage.cache_read.input_tokens",
    "llm.token_count.prompt_details.cache_write": "gen_ai.usage.cache_write.input_tokens",
    "llm.token_count.completion_details.reasoning": "gen_ai.usage.reasoning.output_tokens",
    "session.id": "gen_ai.conversation.id",
}
MODEL_NAMES = ("llm.model_name", "embedding.model_name", "reranker.model_name")
# A list longer or deeper than this stays flat, in the raw span.
MAX_DIGITS, MAX_LEVELS = 4, 12
# Names between a list and the members of its items.
WRAPPERS = frozenset({"embedding", "message", "message_content", "prompt", "tool", "tool_call"})


def _kind_of(attributes: Attributes) -> Kind | None:
    kind = attributes.get(KIND)
    return kind_in(kind.upper() if isinstance(kind, str) else None, OPERATIONS, AROUND, OTHER)


def _translate(attributes: Attributes) -> Attributes:
    parameters = mapping(first(attributes, "llm.invocation_parameters", "embedding.invocation_parameters"))
    model = first(attributes, *MODEL_NAMES)
    asked = first(attributes, "llm.request.model_name") or parameters.get("model")
    translated = {
        "gen_ai.operation.name": OPERATIONS.get(str(attributes.get(KIND)).upper()),
        "gen_ai.request.model": asked or model,
        # Instrumentors replace the requested name by the name that the model returned.
        "gen_ai.response.model": model if asked else None,
        "gen_ai.tool.definitions": _tools(attributes),
        "gen_ai.input.messages": _input(attributes),
        "gen_ai.output.messages": _output(attributes),
    }
    return {**requested(parameters), **present(translated), **renamed(attributes, NAMES)}


def _input(attributes: Attributes) -> Any:
    texts = [item.get("text") for item in unflattened(attributes, "embedding.embeddings") if isinstance(item, dict)]
    return (
        _messages(attributes, "llm.input_messages")
        or unflattened(attributes, "llm.prompts")
        or [text for text in texts if text is not None]
        or structured(attributes.get("input.value"))
    )


def _output(attributes: Attributes) -> Any:
    """Return the model's output. Vectors stay only in the raw span, because they are large and nobody reads them."""
    if str(attributes.get(KIND)).upper() == "EMBEDDING":
        return None
    return _messages(attributes, "llm.output_messages") or structured(attributes.get("output.value"))


def _messages(attributes: Attributes, prefix: str) -> Any:
    return conversation(unflattened(attributes, prefix))


def _tools(attributes: Attributes) -> Any:
    tools = [tool for tool in unflattened(attributes, "llm.tools") if isinstance(tool, dict)]
    return [structured(tool.get("json_schema")) for tool in tools] or None


def unflattened(attributes: Attributes, prefix: str) -> list[Any]:
    """Assemble a list from attributes such as `PREFIX.0.message.role`; names in WRAPPERS are left out."""
    tree: dict[str, Any] = {}
    for key, value in attributes.items():
        if key.startswith(f"{prefix}."):
            path = key[len(prefix) + 1 :].split(".")
            if len(path) <= MAX_LEVELS:
                _put(tree, [name for name in path if name not in WRAPPERS] or path, value)
    content = _lists(tree)
    return content if isinstance(content, list) else []


def _put(tree: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        below = tree.setdefault(name, {})
        if not isinstance(below, dict):
            return
        tree = below
    tree.setdefault(path[-1], value)


def _lists(tree: Any) -> Any:
    """Turn each object whose names are numbers into a list. MAX_LEVELS bounds the recursion."""
    if not isinstance(tree, dict):
        return tree
    if tree and all(name.isascii() and name.isdigit() and len(name) <= MAX_DIGITS for name in tree):
        return [_lists(tree[name]) for name in sorted(tree, key=int)]
    return {name: _lists(value) for name, value in tree.items()}


OPENINFERENCE = Dialect("openinference", _kind_of, _translate)

"""Read spans of the AI SDK of Vercel (the npm package `ai`).

https://ai-sdk.dev/docs/ai-sdk-core/telemetry#span-details

`ai.generateText` and the like surround the requests to a model, whose spans are `ai.generateText.doGenerate` and so on.
"""

from __future__ import annotations

import re
from typing import Any

from api.otlp.attributes import Attributes, first, structured
from api.otlp.dialects.chat import conversation, said, text_part, tool_call
from api.otlp.dialects.dialect import Dialect, Kind, kind_in, mapping, present, renamed

OPERATION = "ai.operationId"
# A request to a model: ai.generateText.doGenerate, ai.rerank.doRerank and the like.
REQUEST = re.compile(r"ai\.[A-Za-z]+\.do([A-Z][A-Za-z]*)")
OPERATIONS = {"Generate": "chat", "Stream": "chat", "Embed": "embeddings"}
AROUND = frozenset(
    f"ai.{call}"
    for call in ("embed", "embedMany", "generateObject", "generateText", "rerank", "streamObject", "streamText")
)
OTHER = frozenset({"ai.toolCall"})
SETTINGS = "ai.settings."
NAMES = {
    "ai.model.provider": "gen_ai.provider.name",
    "ai.model.id": "gen_ai.request.model",
    "ai.response.id": "gen_ai.response.id",
    "ai.response.model": "gen_ai.response.model",
    "ai.response.finishReason": "gen_ai.response.finish_reasons",
    "ai.usage.inputTokens": "gen_ai.usage.input_tokens",
    "ai.usage.promptTokens": "gen_ai.usage.input_tokens",
    "ai.usage.tokens": "gen_ai.usage.input_tokens",
    "ai.usage.outputTokens": "gen_ai.usage.output_tokens",
    "ai.usage.completionTokens": "gen_ai.usage.output_tokens",
    "ai.usage.inputTokenDetails.cacheReadTokens": "gen_ai.usage.cache_read.input_tokens",
    "ai.usage.cachedInputTokens": "gen_ai.usage.cache_read.input_tokens",
    "ai.usage.inputTokenDetails.cacheWriteTokens": "gen_ai.usage.cache_write.input_tokens",
    "ai.usage.outputTokenDetails.reasoningTokens": "gen_ai.usage.reasoning.output_tokens",
    "ai.usage.reasoningTokens": "gen_ai.usage.reasoning.output_tokens",
}
RENAMED_SETTINGS = {"max_output_tokens": "max_tokens"}
MS_PER_S = 1000


def _kind_of(attributes: Attributes) -> Kind | None:
    operation = attributes.get(OPERATION)
    if not isinstance(operation, str):
        return None
    return Kind.MODEL if REQUEST.fullmatch(operation) else kind_in(operation, (), AROUND, OTHER)


def _translate(attributes: Attributes) -> Attributes:
    request = REQUEST.fullmatch(str(attributes.get(OPERATION)))
    translated = {
        "gen_ai.operation.name": request and OPERATIONS.get(request[1], request[1].lower()),
        "gen_ai.response.time_to_first_chunk": _seconds(attributes.get("ai.response.msToFirstChunk")),
        "gen_ai.request.tool_choice": mapping(attributes.get("ai.prompt.toolChoice")).get("type"),
        "gen_ai.tool.definitions": _each(attributes.get("ai.prompt.tools")),
        "gen_ai.input.messages": _each(attributes.get("ai.values"))
        or conversation(first(attributes, "ai.prompt.messages", "ai.prompt", "ai.value")),
        "gen_ai.output.messages": _answer(attributes),
    }
    return {**_settings(attributes), **present(translated), **renamed(attributes, NAMES)}


def _settings(attributes: Attributes) -> Attributes:
    """Read ai.settings.maxOutputTokens and the like as gen_ai.request.max_tokens."""
    found: Attributes = {}
    for key, value in attributes.items():
        if key.startswith(SETTINGS):
            setting = re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", key.removeprefix(SETTINGS))
            found[f"gen_ai.request.{RENAMED_SETTINGS.get(setting, setting)}"] = value
    return found


def _answer(attributes: Attributes) -> Any:
    calls = structured(attributes.get("ai.response.toolCalls"))
    return said(
        "assistant",
        text_part(attributes.get("ai.response.reasoning"), "reasoning"),
        text_part(attributes.get("ai.response.text")),
        text_part(structured(attributes.get("ai.response.object")), "json"),
        *map(_call, calls if isinstance(calls, list) else []),
    )


def _call(call: Any) -> Any:
    if not isinstance(call, dict):
        return call
    return tool_call(call.get("toolCallId"), call.get("toolName"), call.get("input", call.get("args")))


def _each(values: Any) -> list[Any] | None:
    """Return a list whose items are JSON text."""
    return [structured(value) for value in values] or None if isinstance(values, list) else None


def _seconds(milliseconds: Any) -> float | None:
    return milliseconds / MS_PER_S if type(milliseconds) in {int, float} else None


VERCEL = Dialect("vercel", _kind_of, _translate)

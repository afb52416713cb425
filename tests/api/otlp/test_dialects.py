"""Dialects: exports of real instrumentors become calls with messages, and no text of theirs is recorded in clear."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.otlp import encoding
from api.otlp.dialects import gen_ai, langfuse, mlflow, openinference, vercel
from api.otlp.dialects.recognise import DIALECTS, dialect_of_lookalike, recognise
from api.otlp.mapper import Mapped, MappedCall, map_request
from api.otlp.not_recorded import MAX_CHARS, summary
from api.otlp.signals import TRACES
from ledger.errors import InvalidEvent
from ledger.store.envelope import NewEvent, encode
from schema.events import ModelCallCompleted, ModelCallFailed, ModelCallStarted
from tests.api.otlp.instrumentors.fake_openai import ANSWER, BROKEN, FAULT, MODEL, MODEL_GIVEN
from tests.api.otlp.spans import AGENT, attributes, mapped, span

CANARY = "Jane Doe, born 1970"
EXPORTS = Path(__file__).parent / "exports"
# What the programs said and were told (tests/api/otlp/instrumentors); none of it may be in clear.
SECRETS = (b"SECRET", b"Jane")
QUESTION = {"role": "user", "parts": [{"type": "text", "content": "SECRET what is ABC worth?"}]}
CALL = {"type": "tool_call", "id": "call_1", "name": "price", "arguments": {"symbol": "ABC"}}
# Dialect, provider, and the model as the instrumentor names it: Langfuse and MLflow's translation keep one name alone.
RECORDED = {
    "langfuse": ("langfuse", "unknown", MODEL_GIVEN),
    "mlflow": ("mlflow", "unknown", MODEL),
    "mlflow-gen-ai": ("gen_ai", "unknown", MODEL_GIVEN),
    "openinference": ("openinference", "openai", MODEL),
    "openllmetry": ("gen_ai", "openai", MODEL),
    "opentelemetry-spans": ("gen_ai", "openai", MODEL),
    "vercel": ("vercel", "openai.chat", MODEL),
}
BY_HAND = {"langfuse", "mlflow", "mlflow-gen-ai"}


def exported(name: str) -> Mapped:
    """Map the captured exports of an instrumentor."""
    requests = orjson.loads((EXPORTS / f"{name}.traces.json").read_bytes())
    found = [map_request(encoding.decode(orjson.dumps(one), "application/json", TRACES), AGENT) for one in requests]
    return Mapped([call for one in found for call in one.calls], [told for one in found for told in one.refusals])


def events(call: MappedCall) -> tuple[ModelCallStarted, Any]:
    """Return start and end of a call."""
    assert isinstance(call.started.event, ModelCallStarted)
    return call.started.event, call.ended.event


def texts(messages: Any) -> str:
    """Return messages as text to search in."""
    return orjson.dumps(messages).decode()


def in_clear(new: NewEvent) -> bytes:
    """Return the body that would be appended."""
    return encode(new).body()


@pytest.mark.parametrize("name", RECORDED)
def test_each_question_of_an_instrumentor_is_a_call(name: str) -> None:
    """All calls are there once, with messages, tool calls, models, parameters, tokens and the error."""
    found = exported(name)
    assert found.refusals == []
    calls = [events(call) for call in found.calls]
    assert len(calls) == (6 if name in BY_HAND else 5)
    dialect, provider, model = RECORDED[name]
    assert {call.dialect for call in found.calls} == {dialect}
    with_tool, with_result, streamed, failed, embedded = calls[:5]
    for started, ended in (with_tool, with_result, streamed):
        assert (started.operation_name, started.provider_name, started.request_model) == ("chat", provider, model)
        assert isinstance(ended, ModelCallCompleted)
        assert (ended.usage_input_tokens, ended.usage_output_tokens) == (21, 7)
        assert QUESTION["parts"][0]["content"] in texts(started.input_messages)  # type: ignore[index]
        assert started.request_parameters is not None
        assert (started.request_parameters["temperature"], started.request_parameters["max_tokens"]) == (0.5, 100)
    assert with_tool[0].tool_definitions_sha256 == with_result[0].tool_definitions_sha256 is not None
    assert with_tool[1].output_messages[0]["parts"] == [CALL]
    assert "SECRET 17" in texts(with_result[0].input_messages)
    assert all(ANSWER in texts(ended.output_messages) for _, ended in (with_result, streamed))
    assert isinstance(failed[1], ModelCallFailed)
    assert FAULT in (failed[1].detail or "")
    assert embedded[0].operation_name == "embeddings"


@pytest.mark.parametrize("name", ["langfuse", "mlflow", "openinference", "vercel"])
def test_messages_of_all_dialects_have_one_form(name: str) -> None:
    """Messages are in the conventions' form, whatever the dialect; so the same question is the same everywhere."""
    calls = [events(call) for call in exported(name).calls]
    system = {"role": "system", "parts": [{"type": "text", "content": "SECRET be brief"}]}
    assert calls[0][0].input_messages == [system, QUESTION]
    assert calls[1][0].input_messages[:3] == [system, QUESTION, {"role": "assistant", "parts": [CALL]}]  # type: ignore[index]
    assert calls[1][0].input_messages[3]["parts"][0]["type"] == "tool_call_response"  # type: ignore[index,call-overload]
    assert calls[3][0].request_model == BROKEN


@pytest.mark.parametrize("name", [*RECORDED, "opentelemetry-events"])
def test_no_text_of_an_instrumentor_is_recorded_in_clear(name: str) -> None:
    """Questions, answers, error texts and metadata leave only commitments in the chain."""
    recorded = [new for call in exported(name).calls for new in (call.started, call.ended)]
    assert [secret for secret in SECRETS for new in recorded if secret in in_clear(new)] == []
    assert any(SECRETS[0].decode() in one.value for new in recorded for one in encode(new).sealed)


BOTH = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "own",
    "openinference.span.kind": "LLM",
    "llm.model_name": "theirs",
    "llm.token_count.prompt": 3,
    "langfuse.observation.type": "generation",
    "langfuse.observation.output": "said",
    "langfuse.observation.prompt.version": 4,
}


def test_a_span_in_several_dialects_is_one_call() -> None:
    """The conventions' own names count first; the other dialects add what these do not say."""
    [call] = mapped(span(attributes=attributes(BOTH))).calls
    started, ended = events(call)
    assert (started.request_model, started.prompt_version) == ("own", "4")
    assert (ended.usage_input_tokens, ended.output_messages, call.dialect) == (3, "said", "gen_ai")


AROUND = [
    *({"gen_ai.operation.name": name} for name in sorted(gen_ai.AROUND)),
    *({openinference.KIND: kind, "llm.model_name": "m"} for kind in sorted(openinference.AROUND)),
    *({langfuse.TYPE: kind, "langfuse.observation.model.name": "m"} for kind in sorted(langfuse.AROUND)),
    *({"mlflow.spanType": f'"{kind}"', "mlflow.llm.model": '"m"'} for kind in sorted(mlflow.AROUND)),
    *({vercel.OPERATION: name, "ai.model.id": "m"} for name in sorted(vercel.AROUND)),
]


@pytest.mark.parametrize("given", AROUND, ids=lambda given: "-".join(map(str, given.values())))
def test_spans_around_a_call_are_passed_over_in_each_dialect(given: dict[str, str]) -> None:
    """Agents and chains repeat what the model's own span has: they are neither recorded nor told of."""
    found = mapped(span(attributes=attributes(given)))
    assert (found.calls, found.refusals) == ([], [])


@pytest.mark.parametrize(
    ("given", "dialect"),
    [
        ({"llm.model_name": "m"}, "openinference"),
        ({"openinference.span.kind": "llm-2"}, None),
        ({"llm.token_count.total": 3}, "openinference"),
        ({"gen_ai.request.model": "m"}, "gen_ai"),
        ({"gen_ai.usage.input_tokens": 3}, "gen_ai"),
        ({"gen_ai.input.messages": "[]"}, "gen_ai"),
        ({"langfuse.observation.model.name": "m", "langfuse.observation.type": "span"}, "langfuse"),
        ({"mlflow.llm.model": "m", "mlflow.spanType": '"UNKNOWN"'}, "mlflow"),
        ({"ai.model.id": "m"}, "vercel"),
        ({"vendor.span.kind": "LLM"}, "other"),
        ({"openinference.span.kind": "TOOL"}, None),
        ({"ai.operationId": "ai.toolCall", "ai.toolCall.name": "price"}, None),
        ({"langfuse.observation.type": "tool", "langfuse.observation.input": "asked"}, None),
        ({"mlflow.spanType": '"TOOL"', "mlflow.spanInputs": '{"model": "m"}'}, None),
        ({"gen_ai.operation.name": "execute_tool", "gen_ai.prompt.name": "quarterly"}, None),
        ({"vendor.run_type": "chat_model"}, "other"),
        ({"db.system": "postgresql", "device.model.name": "m", "http.tokens": 3}, None),
        ({"x" * 300 + ".span.kind": "LLM"}, None),
    ],
)
def test_a_span_that_looks_like_a_model_s_is_told_of(given: dict[str, Any], dialect: str | None) -> None:
    """A span with attributes that only a model's span has, and no kind, is refused by the name of its dialect."""
    assert recognise(given) is None
    assert dialect_of_lookalike(given) == dialect
    found = mapped(span(attributes=attributes(given)))
    assert [refusal.dialect for refusal in found.refusals] == ([] if dialect is None else [dialect])


def test_the_summary_counts_and_is_bounded() -> None:
    """Equal reasons are counted together, and the text has a bound."""
    spans = [span(attributes=attributes({"ai.model.id": "m"}), spanId=f"{number + 1:016x}") for number in range(100)]
    found = mapped(*spans, *(span(spanId=f"{number:04x}") for number in range(1000)))
    assert summary(found.refusals).startswith("100 times: span that looks like a call of a model (vercel)")
    assert len(summary(found.refusals)) <= MAX_CHARS


@pytest.mark.parametrize(
    ("given", "member", "kept"),
    [
        ({"gen_ai.usage.input_tokens": 10.0}, "usage_input_tokens", 10),
        ({"gen_ai.usage.input_tokens": 10.5}, "usage_input_tokens", None),
        ({"gen_ai.usage.input_tokens": -1}, "usage_input_tokens", None),
        ({"langfuse.observation.usage_details": '{"input": 1e300}', **BOTH}, "usage_input_tokens", 3),
        ({"gen_ai.response.time_to_first_chunk": 0.0125}, "time_to_first_chunk_ms", 12),
        ({"gen_ai.response.time_to_first_chunk": 1e15}, "time_to_first_chunk_ms", None),
        ({"gen_ai.response.time_to_first_chunk": True}, "time_to_first_chunk_ms", None),
        ({"gen_ai.usage.cache_creation.input_tokens": 4}, "usage_cache_write_input_tokens", 4),
        ({"gen_ai.prompt.version": "2026-01"}, "prompt_version", "2026-01"),
        ({"gen_ai.prompt.version": CANARY}, "prompt_version", None),
        ({"gen_ai.conversation.id": CANARY}, "conversation_id", CANARY),
        ({"gen_ai.conversation.id": " \u202e"}, "conversation_id", None),
        ({"gen_ai.conversation.id": 7}, "conversation_id", None),
        ({"gen_ai.request.reasoning.level": "high"}, "request_parameters", {"reasoning_level": "high"}),
    ],
)
def test_newer_attributes_are_read_and_odd_ones_left_out(given: dict[str, Any], member: str, kept: Any) -> None:
    """An attribute with an unusual value is left out, in the raw span alone; it does not cost the call."""
    [call] = mapped(span(given)).calls
    assert {**events(call)[0].model_dump(), **events(call)[1].model_dump()}[member] == kept


@pytest.mark.parametrize("index", ["9" * 5000, "00001", "-1", "٣"])
def test_odd_names_of_lists_stay_flat(index: str) -> None:
    """A name that only looks like an index is no index."""
    given = {openinference.KIND: "LLM", f"llm.input_messages.{index}.message.role": "user", "input.value": "asked"}
    [call] = mapped(span(attributes=attributes(given))).calls
    assert events(call)[0].input_messages == "asked"


NAMES = st.sampled_from(
    sorted(
        {
            *gen_ai.OLDER_NAMES,
            *openinference.NAMES,
            *openinference.MODEL_NAMES,
            *langfuse.NAMES,
            *vercel.NAMES,
            *gen_ai.OLDER_NAMES.values(),
            *openinference.NAMES.values(),
            *(f"langfuse.observation.{name}" for name in ("input", "output", "model.parameters", "usage_details")),
            *(f"mlflow.{name}" for name in ("spanInputs", "spanOutputs", "chat.tools", "chat.tokenUsage", "llm.model")),
            *(f"ai.prompt.{name}" for name in ("messages", "tools", "toolChoice")),
            *(f"ai.response.{name}" for name in ("text", "toolCalls", "object", "reasoning", "msToFirstChunk")),
            *(f"ai.settings.{name}" for name in ("temperature", "topP", CANARY)),
            *(f"llm.input_messages.{name}" for name in ("0.message.role", "0.message", "0", "999999.x", "x.0", CANARY)),
            "llm.invocation_parameters",
            "llm.output_messages.0.message.contents.0.message_content.text",
            "llm.prompts.1.prompt.text",
            "gen_ai.request.reasoning.level",
            "gen_ai.prompt.0.content",
            "error.type",
            CANARY,
        }
    )
)
JSONS = st.recursive(
    st.sampled_from([CANARY, None, 7, 0.5, True, "", "assistant"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["role", "content", "messages", "tool_calls", "function", "choices", "model", CANARY]),
            inner,
        )
    ),
    max_leaves=8,
)
VALUES = JSONS.filter(lambda value: value is not None) | st.builds(lambda value: orjson.dumps(value).decode(), JSONS)
KINDS = st.sampled_from(
    [
        {"gen_ai.operation.name": "chat"},
        {openinference.KIND: "LLM"},
        {openinference.KIND: "EMBEDDING"},
        {langfuse.TYPE: "generation"},
        {"mlflow.spanType": '"CHAT_MODEL"'},
        {vercel.OPERATION: "ai.generateText.doGenerate"},
        {vercel.OPERATION: "ai.embed.doEmbed"},
        {},
    ]
)


@given(KINDS, st.dictionaries(NAMES, VALUES, max_size=6))
def test_no_text_of_any_attribute_is_recorded_or_told_in_clear(kind: dict[str, str], given: dict[str, Any]) -> None:
    """Whatever a dialect's attributes hold, text of a person is neither in the chain nor in the answer."""
    found = mapped(span(attributes=attributes({**given, **kind})))
    assert CANARY not in summary(found.refusals)
    for call in found.calls:
        for new in (call.started, call.ended):
            try:
                assert CANARY.encode() not in in_clear(new)
            except InvalidEvent as error:
                assert CANARY not in error.reason  # noqa: PT017 - the reason is what a sender is told


def test_each_dialect_stands_once_in_the_table() -> None:
    """Names of dialects are labels of a metric."""
    names = [dialect.name for dialect in DIALECTS]
    assert names == ["gen_ai", "openinference", "langfuse", "mlflow", "vercel"]

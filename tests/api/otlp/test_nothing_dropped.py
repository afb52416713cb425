"""A span or log record with a model's name, messages or kind is recorded, or its sender is told: never dropped."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.otlp import encoding
from api.otlp.dialects import gen_ai, langfuse, mlflow, openinference, vercel
from api.otlp.dialects.recognise import DIALECTS
from api.otlp.log_mapper import MappedLogs, map_logs
from api.otlp.messages import MESSAGE_EVENTS
from api.otlp.signals import LOGS
from tests.api.otlp.logs import export, record
from tests.api.otlp.spans import AGENT, attributes, mapped, span

MODEL_NAMES = [
    *openinference.MODEL_NAMES,
    *("gen_ai.request.model", "gen_ai.response.model", "llm.request.model_name", "mlflow.llm.model"),
    *(
        name
        for dialect in (openinference, langfuse, vercel)
        for name, meaning in dialect.NAMES.items()
        if meaning in {"gen_ai.request.model", "gen_ai.response.model"}
    ),
]
MESSAGES = [
    *("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.prompt"),
    *("gen_ai.completion", "gen_ai.prompt.0.role", "gen_ai.prompt.0.content", "gen_ai.completion.12.content"),
    *("llm.input_messages.0.message.content", "llm.output_messages.3.message.role", "llm.prompts.0.prompt.text"),
    *("embedding.embeddings.0.embedding.text", "ai.prompt", "ai.prompt.messages", "ai.value", "ai.values"),
    *("ai.response.text", "ai.response.object", "ai.response.toolCalls", "ai.response.reasoning"),
]
KINDS = [
    *({"gen_ai.operation.name": name} for name in gen_ai.MODEL_OPERATIONS),
    *({openinference.KIND: name} for name in openinference.OPERATIONS),
    *({langfuse.TYPE: name} for name in langfuse.OPERATIONS),
    *({"mlflow.spanType": f'"{name}"'} for name in mlflow.OPERATIONS),
    *({vercel.OPERATION: f"ai.x.do{name}"} for name in ("Generate", "Stream", "Embed", "Rerank", "Transcribe")),
    *({name: "llm"} for name in ("weave.kind", "traceloop.span.kind", "langsmith.span.kind")),
    {"llm.request.type": "chat"},
]
# What else a span may say of itself: that it is another activity, or a kind that nobody knows.
ELSE = [
    *({"gen_ai.operation.name": name} for name in [*gen_ai.OTHER, "x"]),
    *({openinference.KIND: name} for name in [*openinference.OTHER, "X"]),
    *({langfuse.TYPE: name} for name in [*langfuse.OTHER, "span", "event"]),
    *({"mlflow.spanType": f'"{name}"'} for name in [*mlflow.OTHER, "UNKNOWN"]),
    *({vercel.OPERATION: name} for name in [*vercel.OTHER, "ai.x"]),
    {},
]
CALLS = st.sampled_from([*({name: "m"} for name in MODEL_NAMES + MESSAGES), *KINDS])
OTHER_ATTRIBUTES = st.dictionaries(
    st.sampled_from(["gen_ai.system", "llm.system", "db.system", "session.id", "input.value", "http.route"]),
    st.sampled_from(["", "x", 7]),
)
AROUND = [
    *({"gen_ai.operation.name": name} for name in sorted(gen_ai.AROUND)),
    *({openinference.KIND: name} for name in sorted(openinference.AROUND)),
    *({langfuse.TYPE: name} for name in sorted(langfuse.AROUND)),
    *({"mlflow.spanType": f'"{name}"'} for name in sorted(mlflow.AROUND)),
    *({vercel.OPERATION: name} for name in sorted(vercel.AROUND)),
]


def mapped_log(given: dict[str, Any], **members: Any) -> MappedLogs:
    """Map one log record that is not an event of `gen_ai`."""
    written = export(record(given, eventName="", **members))
    return map_logs(encoding.decode(orjson.dumps(written), "application/json", LOGS), AGENT)


def test_the_names_of_each_dialect_are_all_here() -> None:
    """A name that a dialect reads as a model's or as messages is among those that the next tests send."""
    assert {dialect.name for dialect in DIALECTS} == {"gen_ai", "openinference", "langfuse", "mlflow", "vercel"}
    assert len(set(MODEL_NAMES)) == 11


@given(CALLS, OTHER_ATTRIBUTES, st.sampled_from(ELSE))
def test_each_span_of_a_model_is_recorded_or_told_of(
    call: dict[str, Any], given: dict[str, Any], spoken: dict[str, Any]
) -> None:
    """Whatever else the span says; only a span that surrounds a call may be passed over."""
    found = mapped(span(attributes=attributes({**given, **spoken, **call})))
    assert len(found.calls) + len(found.refusals) == 1


@given(CALLS, OTHER_ATTRIBUTES, st.sampled_from(ELSE), st.sampled_from(["attributes", "body", "text"]))
def test_each_log_record_of_a_model_is_told_of(
    call: dict[str, Any], given: dict[str, Any], spoken: dict[str, Any], place: str
) -> None:
    """In its attributes, in its body, and in a body that is JSON text."""
    of_record = {**given, **spoken}
    match place:
        case "attributes":
            found = mapped_log({**of_record, **call})
        case "body":
            found = mapped_log(of_record, body=call)
        case _:
            found = mapped_log(of_record, body=orjson.dumps(call).decode())
    assert (len(found.contents), len(found.refusals)) == (0, 1)


@pytest.mark.parametrize("name", sorted(MESSAGE_EVENTS))
def test_messages_in_events_of_an_unknown_span_are_told_of(name: str) -> None:
    """A span that has messages only in its events."""
    found = mapped(span(attributes=[], events=[{"name": name, "attributes": attributes({"content": "hello"})}]))
    assert [refusal.dialect for refusal in found.refusals] == ["gen_ai"]


@pytest.mark.parametrize("around", AROUND, ids=str)
def test_a_span_around_a_call_is_recorded_if_another_dialect_says_call(around: dict[str, str]) -> None:
    """Rather recorded once too often than lost; alone it is passed over."""
    assert mapped(span(attributes=attributes({**around, "llm.model_name": "m"}))).refusals == []
    kind = langfuse.TYPE if openinference.KIND in around else openinference.KIND
    both = {**around, kind: "generation" if kind == langfuse.TYPE else "LLM"}
    assert len(mapped(span(attributes=attributes(both))).calls) == 1


def test_a_rerank_of_vercel_is_a_call_of_its_own_kind() -> None:
    """`ai.rerank.doRerank` beside the names of the conventions."""
    given = {vercel.OPERATION: "ai.rerank.doRerank", "gen_ai.request.model": "m", "gen_ai.system": "cohere"}
    [call] = mapped(span(attributes=attributes(given))).calls
    assert (call.started.event.operation_name, call.started.event.request_model) == ("rerank", "m")  # type: ignore[attr-defined]


def test_a_model_and_a_provider_count_whatever_another_dialect_says() -> None:
    """A tool of OpenInference that has a model and a provider in the names of the conventions."""
    given = {openinference.KIND: "TOOL", "gen_ai.request.model": "m", "gen_ai.system": "cohere"}
    assert len(mapped(span(attributes=attributes(given))).calls) == 1

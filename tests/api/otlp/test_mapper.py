"""Mapping spans: the selection of model calls, their fields, and that no span makes the mapper fail."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from api.otlp.call_members import MAPPER_VERSION
from api.otlp.dialects.gen_ai import AROUND, MODEL_OPERATIONS
from api.otlp.mapper import map_request
from ledger.errors import InvalidEvent
from ledger.proof.format.canonical import canonical
from ledger.store.envelope import NewEvent, encode
from schema.events import ModelCallCompleted, ModelCallFailed
from tests.api.otlp.spans import AGENT, MODEL, SPAN, START_NS, TRACE, attributes, mapped, one, span

SAID = [{"role": "user", "parts": [{"type": "text", "content": "hello"}]}]
TOOLS: Any = [{"type": "function", "name": "price", "parameters": {"type": "object"}}]


def test_a_span_of_a_model_is_a_call() -> None:
    """Each attribute of the conventions is mapped to its field."""
    stream, started, ended = one(
        span(
            {
                "gen_ai.request.temperature": 0.5,
                "gen_ai.request.max_tokens": 100,
                "gen_ai.request.encoding_formats": ["float"],
                "gen_ai.request.stop_sequences": ["Doe"],
                "gen_ai.agent.version": "a-1",
                "gen_ai.prompt.name": "quarterly",
                "gen_ai.tool.definitions": orjson.dumps(TOOLS).decode(),
                "gen_ai.system_instructions": '[{"type":"text","content":"Be brief."}]',
                "gen_ai.input.messages": orjson.dumps(SAID).decode(),
                "gen_ai.output.messages": orjson.dumps(SAID).decode(),
                "gen_ai.response.id": "r-1",
                "gen_ai.response.model": "gpt-5-2025",
                "gen_ai.response.finish_reasons": ["stop"],
                "gen_ai.usage.input_tokens": 10,
                "gen_ai.usage.output_tokens": 20,
            }
        )
    )
    assert stream == f"trace-{TRACE}"
    assert started.model_dump(exclude_none=True) == {
        "operation_name": "chat",
        "provider_name": "openai",
        "request_model": "gpt-5",
        "request_parameters": {"temperature": 0.5, "max_tokens": 100, "encoding_formats": ["float"]},
        "agent_version": "a-1",
        "prompt_name": "quarterly",
        "tool_definitions_sha256": sha256(canonical(TOOLS)).hexdigest(),
        "shown": [],
        "system_instructions": [{"type": "text", "content": "Be brief."}],
        "input_messages": SAID,
        "capture": "otlp",
        "mapper_version": MAPPER_VERSION,
        "trace_id": TRACE,
        "span_id": SPAN,
        "claimed_start": "2023-11-14T22:13:20.123456789Z",
    }
    raw = ended.raw_span
    assert raw["scopeSpans"][0]["scope"] == {"name": "my.library", "version": "1.0"}
    assert raw["scopeSpans"][0]["spans"][0]["spanId"] == SPAN
    assert ended.model_dump(exclude_none=True, exclude={"raw_span"}) == {
        "response_id": "r-1",
        "response_model": "gpt-5-2025",
        "response_finish_reasons": ["stop"],
        "usage_input_tokens": 10,
        "usage_output_tokens": 20,
        "latency_ms": 1876,
        "output_messages": SAID,
    }


def test_the_raw_span_is_the_span() -> None:
    """The raw span is OTLP JSON that maps to the same call again."""
    sent = span(
        {"gen_ai.request.seed": 2**60, "x": [1, 2.5, {"y": True}], "big": 1e300},
        links=[{"traceId": "ab" * 16, "spanId": "cd" * 8}],
        parentSpanId="ef" * 8,
    )
    _, _, ended = one(sent)
    again = ended.raw_span["scopeSpans"][0]["spans"][0]
    assert {key: again[key] for key in ("traceId", "spanId", "parentSpanId", "links", "kind")} == {
        key: sent[key] for key in ("traceId", "spanId", "parentSpanId", "links", "kind")
    }
    assert again["attributes"][-1] == {"key": "big", "value": {"doubleValue": "1e+300"}}
    assert one(again)[1] == one(sent)[1]


def test_calls_come_in_the_order_in_which_they_began() -> None:
    """The order of the calls does not depend on the order of the spans."""
    spans = [span(spanId=f"{number:016x}", startTimeUnixNano=str(START_NS + number)) for number in (3, 1, 2)]
    assert [call.ended.id for call in mapped(*spans).calls] == [
        call.ended.id for call in mapped(*sorted(spans, key=lambda one: str(one["spanId"]))).calls
    ]


def test_ids_follow_from_caller_and_span() -> None:
    """The same span has the same event ids; another span, trace or caller has others; the start causes the end."""
    [call] = mapped(span()).calls
    [again] = mapped(span({"more": 1})).calls
    others = mapped(span(spanId="ab" * 8), span(traceId="ab" * 16)).calls
    assert (call.started.id, call.ended.id) == (again.started.id, again.ended.id)
    assert call.ended.causation == call.started.id
    assert len({event.id for found in (call, *others) for event in (found.started, found.ended)}) == 6


@pytest.mark.parametrize("operation", sorted(AROUND))
def test_spans_around_a_model_s_are_passed_over(operation: str) -> None:
    """Spans of agents and workflows repeat the model's own span; they are skipped, not refused."""
    found = mapped(span({"gen_ai.operation.name": operation}))
    assert (found.calls, found.refusals) == ([], [])


def test_spans_of_anything_else_are_passed_over() -> None:
    """Spans of HTTP, databases, or operations without a model are skipped."""
    plain = {**span(), "attributes": []}
    found = mapped(plain, {**span(), "attributes": [{"key": "gen_ai.system", "value": {"stringValue": "openai"}}]})
    assert (found.calls, found.refusals) == ([], [])


@pytest.mark.parametrize("operation", [*sorted(MODEL_OPERATIONS), "rerank"])
def test_operations_of_models_keep_their_names(operation: str) -> None:
    """Well-known names are kept, and others if the span names a model."""
    assert one(span({"gen_ai.operation.name": operation}))[1].operation_name == operation


def test_the_older_conventions_are_understood() -> None:
    """gen_ai.system without an operation, and prompt and completion tokens, are understood."""
    old = {"gen_ai.system": "openai", "gen_ai.request.model": "gpt-4", "gen_ai.usage.prompt_tokens": 1}
    _, started, ended = one(span(attributes=attributes({**old, "gen_ai.usage.completion_tokens": 0})))
    assert (started.operation_name, started.provider_name, started.request_model) == ("chat", "openai", "gpt-4")
    assert (ended.usage_input_tokens, ended.usage_output_tokens) == (1, 0)


def event(name: str, **given: Any) -> dict[str, Any]:
    """Write an event of a span."""
    return {"name": name, "timeUnixNano": "1", "attributes": attributes(given)}


def test_messages_in_events_and_in_pieces() -> None:
    """Without the current attributes, each older form is kept with the sender's names."""
    events = [
        event("gen_ai.system.message", content="Be brief."),
        event("gen_ai.user.message", content="hello"),
        event("gen_ai.choice", index=0, message='{"role":"assistant"}'),
    ]
    _, started, ended = one(span(events=events))
    assert started.input_messages == [
        {"event": "gen_ai.system.message", "content": "Be brief."},
        {"event": "gen_ai.user.message", "content": "hello"},
    ]
    assert ended.output_messages == [{"event": "gen_ai.choice", "index": 0, "message": {"role": "assistant"}}]
    content = [event("gen_ai.content.prompt", **{"gen_ai.prompt": '["hello"]'})]
    assert one(span(events=content))[1].input_messages == [
        {"event": "gen_ai.content.prompt", "gen_ai.prompt": ["hello"]}
    ]
    details = [event("gen_ai.client.inference.operation.details", **{"gen_ai.input.messages": [{"role": "user"}]})]
    assert one(span(events=details))[1].input_messages == [{"role": "user"}]
    pieces = {"gen_ai.prompt.10.role": "user", "gen_ai.prompt.2.role": "system", "gen_ai.prompt.2.content": "Be brief."}
    _, started, ended = one(span({**pieces, "gen_ai.completion.0.content": "hi"}))
    assert started.input_messages == [{"role": "system", "content": "Be brief."}, {"role": "user"}]
    assert ended.output_messages == [{"content": "hi"}]


DEEP = "[" * 100 + "]" * 100
HUGE = "12345678901234567890"


@pytest.mark.parametrize("said", ["not JSON", '{"n": 1e400}', DEEP, '"\\u0000"', '["\\ud800"]', HUGE])
def test_messages_without_a_canonical_form_stay_text(said: str) -> None:
    """Text that canonical JSON cannot hold stays text; nothing is lost."""
    _, started, _ = one(span({"gen_ai.input.messages": said}))
    assert started.input_messages == said


def test_a_failed_span_is_recorded_with_its_error_type() -> None:
    """A failure is recognised by status or error.type; the type is in clear, the message sealed."""
    thrown = event("exception", **{"exception.type": "httpx.ReadTimeout", "exception.message": "slow"})
    for members, kind, detail in (
        ({"status": {"code": 2, "message": "no"}}, "unknown", "no"),
        ({"status": {"code": 2}, "events": [thrown]}, "httpx.ReadTimeout", "slow"),
    ):
        _, _, ended = one(span(**members))
        assert isinstance(ended, ModelCallFailed)
        assert (ended.error_type, ended.detail, ended.latency_ms) == (kind, detail, 1876)
    assert one(span({"error.type": "429"}))[2].error_type == "429"
    assert isinstance(one(span(status={"code": 1}))[2], ModelCallCompleted)


@pytest.mark.parametrize(
    ("given", "kind", "detail"),
    [
        ({"error.type": "Jane hung up"}, "unknown", "Jane hung up: no"),
        ({"error.type": "e" * 300}, "unknown", f"{'e' * 300}: no"),
        ({"error.type": "app.call.<locals>.Slow"}, "app.call.locals.Slow", "no"),
        ({"error.type": 7}, "unknown", "no"),
    ],
)
def test_text_in_place_of_an_error_type_is_sealed(given: dict[str, Any], kind: str, detail: str) -> None:
    """Only a code or a class name is recorded in clear; other text becomes part of the detail."""
    _, _, ended = one(span(given, status={"code": 2, "message": "no"}))
    assert (ended.error_type, ended.detail) == (kind, detail)


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("some/model:7b-q4_0", True),
        ("claude-3-5@20240620", True),
        ("ft:gpt-4:org::id+1", True),
        ("jane@doe.example", False),
        ("Jane Doe", False),
        ("Jane\n", False),
        ("J\u00e4ne", False),
    ],
)
def test_names_in_clear_are_names(name: str, kept: bool) -> None:
    """Unusual names are left out, or `unknown` where one is required; the raw span has them."""
    given = {
        "gen_ai.request.model": name,
        "gen_ai.provider.name": name,
        "gen_ai.prompt.name": name,
        "gen_ai.agent.version": name,
        "gen_ai.response.id": name,
        "gen_ai.response.model": name,
    }
    _, started, ended = one(span(given))
    assert {started.request_model, started.provider_name} == {name if kept else "unknown"}
    assert {started.prompt_name, started.agent_version} == {name if kept else None}
    assert {ended.response_id, ended.response_model} == {name if kept else None}
    assert orjson.dumps(name) in orjson.dumps(ended.raw_span)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (0.5, True),
        (7, True),
        (True, True),
        ("auto", True),
        (["float", "int8"], True),
        ("Jane Doe", False),
        ("x" * 51, False),
        ({"a": 1}, False),
        (["Jane Doe"], False),
        ([["a"]], False),
    ],
)
def test_parameters_in_clear_are_known_and_small(value: Any, kept: bool) -> None:
    """Only known parameters are recorded, with numbers, booleans and short names."""
    _, started, _ = one(span({"gen_ai.request.tool_choice": value, "gen_ai.request.user": value}))
    assert started.request_parameters == ({"tool_choice": value} if kept else None)


def test_a_deep_span_is_kept_as_text() -> None:
    """A span deeper than the ledger accepts, and not deeper than protobuf reads, is kept as text."""
    deep: Any = "x"
    for _ in range(30):
        deep = [deep]
    _, _, ended = one(span({"deep": deep}))
    raw = orjson.loads(ended.raw_span["json"])
    assert raw["scopeSpans"][0]["spans"][0] == span({"deep": deep})


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"traceId": "00" * 16}, "traceId"),
        ({"traceId": ""}, "traceId"),
        ({"spanId": "00" * 8}, "spanId"),
        ({"spanId": "ab"}, "spanId"),
        ({"request": {"advice_ledger.request_id": "seven"}}, "advice_ledger.request_id"),
        ({"request": {"advice_ledger.request_id": 0}}, "advice_ledger.request_id"),
        ({"request": {"advice_ledger.request_id": True}}, "advice_ledger.request_id"),
    ],
)
def test_a_span_that_cannot_be_recorded_is_refused_by_name(wrong: dict[str, Any], reason: str) -> None:
    """A refusal names the attribute, and the other spans of the export are mapped."""
    given = wrong.pop("request", None)
    found = mapped(span(given, **wrong), span(traceId="ab" * 16))
    [refusal] = found.refusals
    assert reason in refusal.message
    assert len(found.calls) == 1


def test_a_span_twice_in_an_export() -> None:
    """A repeated span is ignored; another span with the same id is refused."""
    assert len(mapped(span(), span()).calls) == 1
    found = mapped(span(), span({"gen_ai.request.seed": 1}))
    assert len(found.calls) == 1
    assert "same id" in found.refusals[0].message


LINK = {"advice_ledger.request_id": 7}
OTHER_LINK = {"advice_ledger.request_id": 8}
PARENT, OTHER = "aa" * 8, "bb" * 8


def around(given: dict[str, Any] | None, span_id: str, parent: str = "") -> dict[str, Any]:
    """Write a span that is not a model's."""
    return span({"gen_ai.operation.name": "invoke_agent", **(given or {})}, spanId=span_id, parentSpanId=parent)


@pytest.mark.parametrize(
    "export",
    [
        ([span(LINK)], None),
        ([span({"advice_ledger.request_id": "7"})], None),
        ([span()], LINK),
        ([span(parentSpanId=PARENT), around(LINK, PARENT)], None),
        (
            [span(parentSpanId=PARENT), around(None, PARENT, OTHER), around(LINK, OTHER)],
            {"advice_ledger.request_id": 8},
        ),
        ([span(), around(LINK, OTHER)], None),
        ([span(LINK), around({"advice_ledger.request_id": 8}, OTHER)], {"advice_ledger.request_id": 9}),
    ],
)
def test_how_a_span_names_its_request(export: tuple[list[dict[str, Any]], dict[str, Any] | None]) -> None:
    """The request is looked up on the span, around it, on its resource, and in its trace, in this order."""
    spans, resource = export
    assert one(*spans, resource=resource)[0] == "request-7"


def test_other_traces_do_not_matter_and_doubt_is_refused() -> None:
    """Links of other traces are ignored; two different links in a trace are refused as ambiguous."""
    assert one(span(), {**around(LINK, OTHER), "traceId": "ab" * 16})[0] == f"trace-{TRACE}"
    found = mapped(span(), around(LINK, OTHER), around({"advice_ledger.request_id": 8}, PARENT))
    assert "several requests" in found.refusals[0].message


def test_a_resource_is_recorded_with_each_span_and_so_is_small() -> None:
    """A large resource is refused: with a thousand spans, one megabyte would become a gigabyte."""
    found = mapped(span(), resource={"x": "y" * 70_000})
    assert found.calls == []
    assert "resource" in found.refusals[0].message


def test_spans_around_each_other_end() -> None:
    """A circle of spans ends the lookup."""
    assert one(span(parentSpanId=OTHER), around(None, OTHER, SPAN))[0] == f"trace-{TRACE}"


KEYS = st.sampled_from(
    [
        *MODEL,
        "gen_ai.system",
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.system_instructions",
        "gen_ai.tool.definitions",
        "gen_ai.response.finish_reasons",
        "gen_ai.usage.input_tokens",
        "gen_ai.prompt.1.role",
        "gen_ai.completion",
        "gen_ai.request.a.b",
        "advice_ledger.request_id",
        "error.type",
    ]
)
SCALARS = st.one_of(
    st.builds(AnyValue, string_value=st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
    st.builds(AnyValue, string_value=st.sampled_from(["chat", "7", "[]", '{"a": [1e999]}', '"\\ud800"', "[" * 70])),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, double_value=st.floats()),
    st.builds(AnyValue, bytes_value=st.binary(max_size=8)),
    st.just(AnyValue()),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.builds(AnyValue, array_value=st.builds(ArrayValue, values=st.lists(inner, max_size=3)))
        | st.builds(
            AnyValue,
            kvlist_value=st.builds(
                KeyValueList, values=st.lists(st.builds(KeyValue, key=KEYS, value=inner), max_size=3)
            ),
        )
    ),
    max_leaves=6,
)
ATTRIBUTES = st.lists(st.builds(KeyValue, key=KEYS, value=VALUES), max_size=8)
NANOSECONDS = st.sampled_from([0, 1, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)
SPANS = st.builds(
    Span,
    trace_id=st.sampled_from([b"", b"t" * 16, bytes(16), b"x"]),
    span_id=st.sampled_from([b"", b"s" * 8, bytes(8)]) | st.binary(min_size=8, max_size=8),
    parent_span_id=st.sampled_from([b"", b"s" * 8]),
    start_time_unix_nano=NANOSECONDS,
    end_time_unix_nano=NANOSECONDS,
    attributes=ATTRIBUTES,
    events=st.lists(
        st.builds(
            Span.Event,
            name=st.sampled_from(["exception", "gen_ai.choice", "gen_ai.client.inference.operation.details", "x"]),
            attributes=ATTRIBUTES,
        ),
        max_size=2,
    ),
)


REASON = re.compile("[a-z-]{1,30}")


def field_at_fault(new: NewEvent) -> str | None:
    """Return the field that keeps an event from being recorded, or None."""
    try:
        encode(new)
    except InvalidEvent as error:
        return error.field
    return None


@given(st.lists(SPANS, max_size=4), ATTRIBUTES)
def test_any_span_is_mapped_or_passed_over_or_refused_by_name(spans: list[Span], resource: list[KeyValue]) -> None:
    """Nothing raises; a mapped call can be recorded, or the ledger names the field that cannot."""
    request = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])])
    request.resource_spans[0].resource.attributes.extend(resource)
    found = map_request(request, AGENT)
    assert len(found.calls) + len(found.refusals) <= len(spans)
    assert all(REASON.fullmatch(refusal.reason) for refusal in found.refusals)
    for call in found.calls:
        for new in (call.started, call.ended):
            assert field_at_fault(new) != ""

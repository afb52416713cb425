"""POST /v1/traces of the running application: by hand, and by the OpenTelemetry SDK under a real pydantic-ai agent."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import httpx
import orjson
import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped] # no types are published for it
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from pydantic_ai import Agent
from pydantic_ai.capabilities import Instrumentation
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.models.test import TestModel

from api.callers import Callers
from api.http.problem_types import PROBLEMS
from api.otlp import encoding
from api.otlp.signals import TRACES
from ledger.errors import LedgerError, Unavailable
from ledger.proof.format.canonical import canonical
from ledger.service.requests import RequestCommands
from tests.api.otlp.spans import TRACE, attributes, export, span
from tests.api.served import Api
from tests.client.test_pydantic_ai import TOOL
from tests.support import connect, eventually

TestModel.__test__ = False  # pytest would take it for one
PROTOBUF: encoding.Encoding = "application/x-protobuf"
JSON: encoding.Encoding = "application/json"


def post(api: Api, body: Any, kind: str = JSON, role: str | None = "agent", **headers: str) -> httpx.Response:
    """Post an export, as bytes or as JSON."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return api.call("POST", "/v1/traces", role, content=content, headers={"Content-Type": kind, **headers})


def as_protobuf(*spans: dict[str, Any]) -> bytes:
    """Write the same export in protobuf."""
    content: bytes = encoding.decode(orjson.dumps(export(*spans)), "application/json", TRACES).SerializeToString()
    return content


def accepted(response: httpx.Response) -> None:
    """Assert that no span was refused."""
    assert (response.status_code, response.headers["content-type"], response.content) == (200, JSON, b"{}")


def of_trace(api: Api, trace_id: str) -> list[dict[str, Any]]:
    """Read the recorded calls of one trace."""
    return [row for row in api.items("/model-calls") if row["trace_id"] == trace_id]


def test_a_span_becomes_a_call_of_its_request(api: Api) -> None:
    """The call has its messages, its raw span, and the request that the span names."""
    request_id = api.asked()
    sent = span({"advice_ledger.request_id": request_id, "gen_ai.input.messages": '["hello"]'}, traceId="01" * 16)
    accepted(post(api, export(sent, resource={"service.name": "desk"})))
    [row] = of_trace(api, "01" * 16)
    assert (row["request_id"], row["client_id"], row["state"], row["agent"]) == (
        request_id,
        "client-1",
        "completed",
        "agent",
    )
    found = api.get(f"/model-calls/{row['id']}").json()
    assert found["started"]["input_messages"] == ["hello"]
    raw = found["ended"]["raw_span"]
    assert raw["resource"]["attributes"] == [{"key": "service.name", "value": {"stringValue": "desk"}}]
    assert raw["scopeSpans"][0]["spans"][0] == sent


def test_a_resent_span_records_nothing(api: Api) -> None:
    """A span that is sent again is a retry, in either encoding, compressed or not."""
    sent = span(traceId="02" * 16)
    accepted(post(api, export(sent)))
    packed = gzip.compress(as_protobuf(sent))
    with api.records_nothing():
        accepted(post(api, export(sent)))
        for body, how in ((as_protobuf(sent), {}), (packed, {"Content-Encoding": "gzip"})):
            response = post(api, body, PROTOBUF, **how)
            assert (response.status_code, response.headers["content-type"], response.content) == (200, PROTOBUF, b"")
        accepted(post(api, zlib.compress(orjson.dumps(export(sent))), **{"Content-Encoding": "deflate"}))
    assert len(of_trace(api, "02" * 16)) == 1


def test_an_empty_export_is_taken(api: Api) -> None:
    """Empty exports, unknown fields and spans of something else are accepted."""
    with api.records_nothing():
        accepted(post(api, {}))
        accepted(post(api, {"resourceSpans": [{"scopeSpans": [{"spans": [], "new": 1}]}], "newer": {}}))
        accepted(post(api, export({**span(), "attributes": []})))
        assert post(api, b"", PROTOBUF).content == b""


def test_each_call_is_refused_alone(api: Api) -> None:
    """Spans that cannot be recorded are counted and named, and the others are recorded."""
    unknown = span({"advice_ledger.request_id": 10**9}, traceId="03" * 16, spanId="03" * 8)
    unlinked = span({"advice_ledger.request_id": "seven"}, traceId="03" * 16, spanId="04" * 8)
    unheld = span({"gen_ai.request.x": "\0"}, traceId="04" * 16, spanId="05" * 8)
    good = span(traceId="05" * 16)
    response = post(api, export(unknown, unlinked, unheld, good))
    found = orjson.loads(response.content)["partialSuccess"]
    assert (response.status_code, found["rejectedSpans"]) == (200, "3")
    for reason in ("request-unknown", "advice_ledger.request_id", "U+0000"):
        assert reason in found["errorMessage"]
    answer = ExportTraceServiceResponse()
    answer.ParseFromString(post(api, as_protobuf(unknown), PROTOBUF).content)
    assert answer.partial_success.rejected_spans == 1
    assert "request-unknown" in answer.partial_success.error_message
    assert len(of_trace(api, "05" * 16)) == 1


MARK = "Jane Doe, born 1970"


def test_personal_values_leave_no_mark_in_clear(fresh_api: Api) -> None:
    """Personal values in any attribute leave only commitments in the chain; the values are stored beside it."""
    names = ("user", "messages", "metadata", "headers", "temperature", "tool_choice", "stop_sequences", "service_tier")
    marked: dict[str, Any] = {f"gen_ai.request.{name}": MARK for name in names}
    marked |= {"gen_ai.request.encoding_formats": [MARK], "gen_ai.request.messages.0.content": MARK}
    marked |= {"gen_ai.request.seed": {"of": MARK}, "gen_ai.request.model": MARK, "gen_ai.provider.name": MARK}
    marked |= {"gen_ai.agent.version": MARK, "gen_ai.prompt.name": MARK, "gen_ai.tool.definitions": MARK}
    marked |= {"gen_ai.response.id": MARK, "gen_ai.response.model": MARK, "gen_ai.response.finish_reasons": [MARK]}
    marked |= {"gen_ai.input.messages": MARK, "gen_ai.output.messages": MARK, "gen_ai.operation.name": MARK}
    marked |= {"user.id": MARK, MARK: MARK}
    thrown = {"name": "exception", "attributes": attributes({"exception.type": MARK, "exception.message": MARK})}
    failed = {"status": {"code": 2, "message": MARK}, "events": [thrown], "name": MARK, "traceState": MARK}
    spans = [span(marked), span({**marked, "error.type": MARK}, spanId="ab" * 8, **failed)]
    accepted(post(fresh_api, export(*spans, resource={"service.name": MARK})))
    with connect(fresh_api.url) as conn:
        query = (
            "SELECT body, fields::text FROM events LEFT JOIN sealed_fields USING (position) WHERE type LIKE 'model-%'"
        )
        rows = conn.execute(query).fetchall()
    assert len(rows) == 4
    for body, fields in rows:
        assert [word for word in ("Jane", "Doe", "born") if word in body] == []
        assert MARK in fields


def deep(levels: int) -> dict[str, Any]:
    """Write a span with lists within each other."""
    inner: dict[str, Any] = {"stringValue": "x"}
    for _ in range(levels):
        inner = {"arrayValue": {"values": [inner]}}
    found = span(traceId="06" * 16, spanId="06" * 8)
    found["attributes"].append({"key": "deep", "value": inner})
    return found


def deep_as_protobuf(levels: int) -> bytes:
    """Write an export of that span between two others. No library writes such bytes, so they are built here."""

    def field(number: int, content: bytes) -> bytes:
        size, length = len(content), b""
        while size > 127:
            size, length = size >> 7, length + bytes([size & 127 | 128])
        return bytes([number << 3 | 2]) + length + bytes([size]) + content

    inner = field(1, b"x")
    for _ in range(levels):
        inner = field(5, field(1, inner))
    beside = [span(traceId=kind * 16) for kind in ("07", "08")]
    without = span(traceId="06" * 16, spanId="06" * 8)
    [scope] = (
        encoding.decode(as_protobuf(beside[0], without, beside[1]), PROTOBUF, TRACES).resource_spans[0].scope_spans
    )
    first, middle, last = (one.SerializeToString() for one in scope.spans)
    middle += field(9, field(1, b"deep") + field(2, inner))
    spans = b"".join(field(2, one) for one in (first, middle, last))
    return field(1, field(2, field(1, scope.scope.SerializeToString()) + spans))


@pytest.mark.parametrize("levels", [20, 47, 48, 49, 80, 200])
def test_an_export_that_is_nested_too_deep_is_refused(fresh_api: Api, levels: int) -> None:
    """An export that is too deep is refused whole with the reason, in JSON and in protobuf."""
    beside = [span(traceId=kind * 16) for kind in ("07", "08")]
    as_json = json.dumps(export(beside[0], deep(levels), beside[1])).encode()
    for body, kind in ((as_json, JSON), (deep_as_protobuf(levels), PROTOBUF)):
        answer = post(fresh_api, body, kind)
        if levels <= 47:
            assert answer.status_code == 200, answer.content
        else:
            assert "nested too deep" in status(answer, 400, kind)
    assert len(fresh_api.items("/model-calls")) == (3 if levels <= 47 else 0)


def test_spans_of_a_suspended_agent_are_recorded(fresh_api: Api) -> None:
    """Spans of a suspended agent are recorded: they are evidence."""
    api = fresh_api
    stop = api.call("POST", "/agents/agent/suspensions", "compliance", json={"reason": "wrong numbers"})
    assert stop.status_code == 201, stop.text
    assert post(api, export(span())).json().get("partialSuccess", {}) == {}
    assert len(api.items("/model-calls")) == 1


def test_spans_of_a_suspended_agent_change_no_case(fresh_api: Api) -> None:
    """They are evidence in their case and no more: the request waits on, without an answer; revoked, none is taken."""
    api = fresh_api
    request = api.asked()
    stop = api.call("POST", "/agents/agent/suspensions", "compliance", json={"reason": "wrong numbers"})
    assert stop.status_code == 201
    before = api.get(f"/portfolio/requests/{request}").json()
    accepted(post(api, export(span({"advice_ledger.request_id": request}))))
    [call] = api.items("/model-calls")
    assert (call["request_id"], call["capture"], call["agent"]) == (request, "otlp", "agent")
    after = api.get(f"/portfolio/requests/{request}").json()
    assert {name for name in before if before[name] != after[name]} <= {"updated_at"}
    with api.records_nothing():
        assert api.answer(request, model_call_id=call["id"]).status_code == 409
        for path in ("/me", "/assignments", "/model-calls", f"/portfolio/requests/{request}/context"):
            assert api.get(path, "agent").status_code in {403, 409}, path
    revoked = api.call("POST", "/subjects/agent/revocations", "admin", json={"credential": 1})
    assert revoked.status_code == 201
    eventually("the token ends", lambda: api.get("/me", "agent").status_code == 401)
    with api.records_nothing():
        late = span({"advice_ledger.request_id": request}, spanId="09" * 8)
        assert status(post(api, export(late)), 401, JSON).startswith("/problems/unknown-token")


def test_spans_of_a_closed_case_are_refused(fresh_api: Api) -> None:
    """A late span is recorded while the request waits, again as a retry, and refused by name after the withdrawal."""
    api = fresh_api
    request = api.asked()
    early = span({"advice_ledger.request_id": request}, traceId="06" * 16, spanId="06" * 8)
    late = span({"advice_ledger.request_id": request}, traceId="06" * 16, spanId="07" * 8)
    accepted(post(api, export(early)))
    body = {"reason_code": "data-entry-error"}
    path = f"/portfolio/requests/{request}/withdrawals"
    assert api.call("POST", path, "advisor", json=body).status_code == 201
    with api.records_nothing():
        found = post(api, export(early, late)).json()["partialSuccess"]
    assert found["rejectedSpans"] == "1"
    assert "request-withdrawn" in found["errorMessage"]
    assert 'outcome="request-withdrawn",signal="traces"} 1.0' in api.get("/metrics", None).text


def status(response: httpx.Response, code: int, kind: str) -> str:
    """Return the message of a refusal, a google.rpc.Status in the encoding of the request; it names the problem."""
    assert (response.status_code, response.headers["content-type"]) == (code, kind), response.content
    if kind == JSON:
        assert response.json().keys() == {"message"}
        message = str(response.json()["message"])
    else:
        answer = Status()
        answer.ParseFromString(response.content)
        message = str(answer.message)
    slug = message.removeprefix("/problems/").partition(": ")[0]
    assert PROBLEMS.get(slug) == code, message
    return message


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'{"resourceSpans": 7}', b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xyz"}]}]}]}'],
)
def test_a_malformed_export_is_not_to_be_sent_again(api: Api, body: bytes) -> None:
    """A malformed export gets 400, which OTLP does not retry; its content is not repeated."""
    with api.records_nothing():
        assert "xyz" not in status(post(api, body), 400, JSON)
        assert status(post(api, b"\xff" + body, PROTOBUF), 400, PROTOBUF)


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/logs"])
@pytest.mark.parametrize("kind", [JSON, PROTOBUF])
@pytest.mark.parametrize(
    ("given", "code", "slug"),
    [
        ({"content": b"\x01{"}, 400, "bad-request"),
        ({"content": b"{}", "headers": {"Content-Encoding": "gzip"}}, 400, "bad-request"),
        ({"role": None}, 401, "no-token"),
        ({"role": None, "headers": {"Authorization": "Bearer nobody"}}, 401, "unknown-token"),
        ({"role": "advisor"}, 403, "wrong-role"),
        ({"headers": {"Ledger-Role": "admin"}}, 403, "wrong-role"),
        ({"content": gzip.compress(bytes(21 << 20)), "headers": {"Content-Encoding": "gzip"}}, 413, "too-large"),
        ({"headers": {"Content-Encoding": "br"}}, 415, "not-json"),
    ],
)
def test_each_refusal_names_its_problem(
    api: Api, path: str, kind: str, given: dict[str, Any], code: int, slug: str
) -> None:
    """The message of the google.rpc.Status begins with the type of the problem, as other routes name it."""
    headers = {"Content-Type": kind, **given.get("headers", {})}
    with api.records_nothing():
        response = api.call(
            "POST", path, given.get("role", "agent"), content=given.get("content", b""), headers=headers
        )
    assert status(response, code, kind).startswith(f"/problems/{slug}: ")
    assert ("www-authenticate" in response.headers) == (code == 401)


def test_a_caller_that_nobody_can_look_up_is_told_in_otlp(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is down while the token is looked up is a 503 as OTLP has it, to be sent again."""

    async def down(*_: object) -> None:
        raise Unavailable("the database does not answer")

    monkeypatch.setattr(Callers, "find", down)
    response = post(api, export(span()), PROTOBUF)
    assert status(response, 503, PROTOBUF) == "/problems/unavailable: the database does not answer"
    assert response.headers["retry-after"]


def test_bombs_are_refused(api: Api) -> None:
    """A body that decompresses to more than 20 MiB, a truncated one and an uncompressed one are refused."""
    packed = {"Content-Encoding": "gzip"}
    bomb = gzip.compress(bytes(200 * 1024 * 1024))
    with api.records_nothing():
        assert "after decompression" in status(post(api, bomb, PROTOBUF, **packed), 413, PROTOBUF)
        for wrong in (gzip.compress(b"{}")[:-4], gzip.compress(b"{}") * 2, b"{}"):
            status(post(api, wrong, **packed), 400, JSON)


def test_token_role_and_encoding_are_required(api: Api) -> None:
    """Token, role, type and encoding are checked before the body is read."""
    with api.records_nothing():
        assert status(post(api, b"{", JSON, None), 401, JSON)
        assert status(post(api, b"{", PROTOBUF, "advisor"), 403, PROTOBUF)
        assert post(api, export(span()), "text/plain").status_code == 415
        assert status(post(api, export(span()), **{"Content-Encoding": "br"}), 415, JSON)


@contextmanager
def tracing(api: Api, **how: Any) -> Iterator[TracerProvider]:
    """Set up the SDK as an application does; everything is sent when the block ends."""
    headers = {"Authorization": f"Bearer {api.tokens['agent']}"}
    exporter = OTLPSpanExporter(f"{api.base}/v1/traces", headers=headers, **how)
    noting = Noting(exporter)
    provider = TracerProvider(resource=Resource({"service.name": "desk"}))
    provider.add_span_processor(BatchSpanProcessor(noting))
    yield provider
    provider.shutdown()
    assert noting.results
    assert set(noting.results) == {SpanExportResult.SUCCESS}


class Noting(SpanExporter):
    """An exporter that keeps the results of another."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.exporter = exporter
        self.results: list[SpanExportResult] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.results.append(self.exporter.export(spans))
        return self.results[-1]

    def shutdown(self) -> None:
        self.exporter.shutdown()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_an_instrumented_agent_is_on_record(api: Api, compression: Compression) -> None:
    """With pydantic-ai's instrumentation and OpenTelemetry's exporter, each request to the model is a complete call."""
    request_id = api.asked()
    with tracing(api, compression=compression) as provider:
        settings = InstrumentationSettings(tracer_provider=provider)
        agent = Agent(TestModel(), instructions="Be brief.", capabilities=[Instrumentation(settings)])

        @agent.tool_plain
        def price(symbol: str) -> float:
            """The price of a share."""
            return 1.5

        with provider.get_tracer("desk").start_as_current_span("answer") as around:
            around.set_attribute("advice_ledger.request_id", request_id)
            output = agent.run_sync("What is it worth?").output
    first, second = sorted(api.items("/model-calls", request_id=request_id), key=lambda row: str(row["claimed_start"]))
    for row in (first, second):
        assert (row["state"], row["capture"], row["provider_name"]) == ("completed", "otlp", "test")
        assert (row["request_model"], row["operation_name"], row["usage_output_tokens"] > 0) == ("test", "chat", True)
        # As advice_ledger_client.pydantic_ai has it for the same tool.
        assert row["tool_definitions_sha256"] == sha256(canonical([TOOL])).hexdigest()
    said = [api.get(f"/model-calls/{row['id']}").json() for row in (first, second)]
    user = {"role": "user", "parts": [{"type": "text", "content": "What is it worth?"}]}
    assert said[0]["started"]["input_messages"] == [user]
    assert said[0]["started"]["system_instructions"] == [{"type": "text", "content": "Be brief."}]
    assert [part["type"] for part in said[0]["ended"]["output_messages"][0]["parts"]] == ["tool_call"]
    assert said[1]["started"]["input_messages"][:2] == [user, said[0]["ended"]["output_messages"][0]]
    assert said[1]["ended"]["output_messages"][0]["parts"] == [{"type": "text", "content": output}]
    assert said[1]["ended"]["raw_span"]["resource"]["attributes"][0]["key"] == "service.name"


def test_a_failing_model_is_on_record(api: Api) -> None:
    """The error's type is recorded in clear and its message sealed."""
    from pydantic_ai.models.function import FunctionModel

    def broken(*_: Any) -> Any:
        raise ValueError("model broke")

    request_id = api.asked()
    with tracing(api) as provider:
        settings = InstrumentationSettings(tracer_provider=provider)
        agent = Agent(FunctionModel(broken), capabilities=[Instrumentation(settings)])
        with provider.get_tracer("desk").start_as_current_span("answer") as around:
            around.set_attribute("advice_ledger.request_id", request_id)
            with pytest.raises(ValueError, match="model broke"):
                agent.run_sync("What is it worth?")
    [row] = api.items("/model-calls", request_id=request_id)
    assert (row["state"], row["error_type"]) == ("failed", "ValueError")
    assert api.get(f"/model-calls/{row['id']}").json()["ended"]["detail"] == "ValueError: model broke"


def test_the_stream_of_a_trace_has_no_client(api: Api) -> None:
    """Calls without a request are recorded in a stream of their trace."""
    accepted(post(api, export(span())))
    [row] = of_trace(api, TRACE)
    assert (row["request_id"], row["client_id"]) == (None, None)


@pytest.mark.parametrize("raised", [False, True])
def test_an_unavailable_database_asks_for_a_resend(api: Api, monkeypatch: pytest.MonkeyPatch, raised: bool) -> None:
    """If the database does not answer, the whole export gets 503 with Retry-After; a resend repeats nothing."""

    async def record_calls(_: RequestCommands, groups: list[Any]) -> list[LedgerError | None]:
        if raised:
            raise Unavailable("the database does not answer")
        return [None, *(Unavailable("the database does not answer") for _ in groups[1:])]

    monkeypatch.setattr(RequestCommands, "record_calls", record_calls)
    response = post(api, as_protobuf(span(), span(spanId="ab" * 8)), PROTOBUF)
    assert status(response, 503, PROTOBUF) == "/problems/unavailable: the database does not answer"
    assert response.headers["retry-after"] == "1"

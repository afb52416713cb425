"""POST /v1/logs: messages that come in log records are joined to their call, in any order, once."""

from __future__ import annotations

import gzip
import uuid
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path
from typing import Any

import orjson
import pytest

from api.otlp import encoding
from api.otlp.log_mapper import map_logs
from api.otlp.signals import LOGS
from ledger.errors import LedgerError, Unavailable
from ledger.service.content import ContentCommands, held_stream
from ledger.store.envelope import NewEvent
from tests.api.otlp.instrumentors.fake_openai import ANSWER
from tests.api.otlp.logs import export, post, record
from tests.api.otlp.spans import AGENT, TRACE, attributes, span
from tests.api.otlp.spans import export as spans
from tests.api.otlp.test_not_recorded import items
from tests.api.otlp.test_traces import JSON, PROTOBUF, accepted, of_trace, status
from tests.api.otlp.test_traces import post as post_spans
from tests.api.served import Api
from tests.subjects import subject
from tests.support import append, connect

EXPORTS = Path(__file__).parent / "exports"
MARK = "Jane Doe, born 1970"
ASKED = [{"role": "user", "parts": [{"type": "text", "content": MARK}]}]
SAID = [{"role": "assistant", "parts": [{"type": "text", "content": "hold"}]}]


def new_ids() -> dict[str, Any]:
    """Return a new trace id and span id."""
    return {"traceId": uuid.uuid4().hex, "spanId": uuid.uuid4().hex[:16]}


def question(ids: dict[str, Any]) -> dict[str, Any]:
    """Write the record of a question, in the older form: one event for each message."""
    return record(eventName="gen_ai.user.message", body={"content": MARK}, **ids)


def details(ids: dict[str, Any]) -> dict[str, Any]:
    """Write the record of a whole call."""
    return record({"gen_ai.input.messages": ASKED, "gen_ai.output.messages": orjson.dumps(SAID).decode()}, **ids)


def content_of(api: Api, trace_id: str) -> list[dict[str, Any]]:
    """Return the content of the one call of a trace, without the raw records."""
    [row] = of_trace(api, trace_id)
    found: list[dict[str, Any]] = api.get(f"/model-calls/{row['id']}").json()["content"]
    assert all(item.pop("raw_log") for item in found)
    return found


WHOLE = {"input_messages": ASKED, "output_messages": SAID}
ALONE = {"input_messages": [{"event": "gen_ai.user.message", "content": MARK}]}


@pytest.mark.parametrize("order", sorted(set(permutations("ssqdq"))), ids="".join)
def test_the_order_of_span_and_records_does_not_matter(api: Api, order: tuple[str, ...]) -> None:
    """Span and records in any order, sent again or not, are one call with each message once, in the call's stream."""
    ids, request_id = new_ids(), asked_once(api)
    sent = {
        "s": lambda: post_spans(api, spans(span({"advice_ledger.request_id": request_id}, **ids))),
        "q": lambda: post(api, export(question(ids))),
        "d": lambda: post(api, export(details(ids))),
    }
    for which in order:
        accepted(sent[which]())
    found = content_of(api, ids["traceId"])
    assert sorted(found, key=len) == [ALONE, WHOLE]
    with api.records_nothing():
        for which in order:
            accepted(sent[which]())


REQUESTS: dict[str, int] = {}


def asked_once(api: Api) -> int:
    """Return the id of one request of this server."""
    if api.base not in REQUESTS:
        REQUESTS[api.base] = api.asked()
    return REQUESTS[api.base]


def test_held_content_belongs_to_the_client_of_its_call(fresh_api: Api) -> None:
    """Content that came before its span is found with all else about the client, also in its first stream."""
    api, ids = fresh_api, new_ids()
    request_id = api.asked()
    accepted(post(api, export(details(ids))))
    assert of_trace(api, ids["traceId"]) == []
    accepted(post_spans(api, spans(span({"advice_ledger.request_id": request_id}, **ids))))
    with connect(api.url) as conn:
        rows = conn.execute(
            "SELECT stream, type, client_id FROM events LEFT JOIN stream_clients USING (stream)"
            " WHERE type <> 'access.recorded' AND stream NOT LIKE 'subject-%' ORDER BY events.position"
        ).fetchall()
    request, held = f"request-{request_id}", rows[2][0]
    assert held.startswith("content-")
    assert [(stream, kind) for stream, kind, _ in rows] == [
        ("client-1", "client.registered"),
        (request, "portfolio.requested"),
        (held, "model-call.content-recorded"),
        (request, "model-call.started"),
        (request, "model-call.content-recorded"),
        (held, "model-call.content-joined"),
        (request, "model-call.completed"),
    ]
    assert {client for _, _, client in rows} == {"client-1"}


def test_span_and_records_at_once_are_joined(api: Api) -> None:
    """Whoever comes second joins the two, also if both come at the same time."""
    every = [new_ids() for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        answers = [
            answer
            for ids in every
            for answer in (
                pool.submit(post, api, export(details(ids))),
                pool.submit(post_spans, api, spans(span(**ids))),
                pool.submit(post, api, export(details(ids))),
            )
        ]
        for answer in answers:
            accepted(answer.result())
    assert [content_of(api, ids["traceId"]) for ids in every] == [[WHOLE]] * len(every)


def test_much_content_is_joined_some_items_at_a_time(fresh_api: Api) -> None:
    """More items than one transaction takes are all joined, once, in the order in which they came."""
    api, ids = fresh_api, new_ids()
    said = [record(eventName="gen_ai.user.message", body={"content": f"{number}"}, **ids) for number in range(25)]
    accepted(post(api, export(*said)))
    sent = spans(span({"advice_ledger.request_id": api.asked()}, **ids))
    accepted(post_spans(api, sent))
    found = [item["input_messages"][0]["content"] for item in content_of(api, ids["traceId"])]
    assert found == list(range(25))
    with api.records_nothing():
        accepted(post_spans(api, sent))
        accepted(post(api, export(*said)))
    with connect(api.url) as conn:
        rows = conn.execute("SELECT type, count(*) FROM events WHERE type LIKE %s GROUP BY 1 ORDER BY 1", ["%content%"])
        assert rows.fetchall() == [("model-call.content-joined", 1), ("model-call.content-recorded", 50)]


def test_content_that_a_crash_kept_apart_is_joined_by_a_retry(fresh_api: Api) -> None:
    """A process that ends between holding content and joining it acknowledges nothing; the retry joins it."""
    api, ids = fresh_api, new_ids()
    sent, request_id = export(details(ids)), api.asked()
    accepted(post_spans(api, spans(span({"advice_ledger.request_id": request_id}, **ids))))
    [content] = map_logs(encoding.decode(orjson.dumps(sent), "application/json", LOGS), AGENT).contents
    held = held_stream(content.started_id)
    with connect(api.url, "writer") as conn:
        append(conn, NewEvent(content.event_id, held, content.event, AGENT))
    accepted(post(api, sent))
    assert content_of(api, ids["traceId"]) == [WHOLE]
    with connect(api.url) as conn:
        rows = conn.execute("SELECT client_id FROM stream_clients WHERE stream = %s", [held]).fetchall()
    assert rows == [("client-1",)]
    with api.records_nothing():
        accepted(post(api, sent))


def test_each_encoding_is_the_same_record(api: Api) -> None:
    """A record in protobuf, in JSON, compressed or not, is recorded once."""
    sent = export(details(new_ids()), resource={"service.name": "desk"})
    as_protobuf = encoding.decode(orjson.dumps(sent), "application/json", LOGS).SerializeToString()
    accepted(post(api, sent))
    with api.records_nothing():
        for body, how in ((as_protobuf, {}), (gzip.compress(as_protobuf), {"Content-Encoding": "gzip"})):
            assert (post(api, body, PROTOBUF, **how).status_code, post(api, body, PROTOBUF, **how).content) == (
                200,
                b"",
            )
        accepted(post(api, gzip.compress(orjson.dumps(sent)), **{"Content-Encoding": "gzip"}))


def test_content_of_another_agent_is_not_joined(fresh_api: Api) -> None:
    """Content that one agent sends is not joined to the call of another agent, whose ids it names."""
    ids = new_ids()
    accepted(post(fresh_api, export(details(ids))))
    fresh_api.tokens["other"] = subject(fresh_api.url, "other", "agent")
    accepted(post_spans(fresh_api, spans(span(**ids)), role="other"))
    assert content_of(fresh_api, ids["traceId"]) == []


@pytest.mark.parametrize("raised", [False, True])
def test_an_unavailable_database_asks_to_send_again(api: Api, monkeypatch: pytest.MonkeyPatch, raised: bool) -> None:
    """If the database does not answer for one record, the whole export gets 503 with Retry-After."""

    async def record_contents(_: ContentCommands, contents: list[Any]) -> list[LedgerError | None]:
        if raised:
            raise Unavailable("the database does not answer")
        return [None, *(Unavailable("the database does not answer") for _ in contents[1:])]

    monkeypatch.setattr(ContentCommands, "record", record_contents)
    response = post(api, export(details(new_ids()), question(new_ids())))
    assert status(response, 503, JSON) == "/problems/unavailable: the database does not answer"
    assert response.headers["retry-after"] == "1"


def test_limits_and_permissions_are_those_of_traces(api: Api) -> None:
    """Bombs, malformed bodies, unknown callers and other encodings are refused as for spans, by name."""
    many = b"\x0a\x04\x12\x02\x12\x00" * 6_000
    with api.records_nothing():
        assert "1000 resources" in status(post(api, many, PROTOBUF), 413, PROTOBUF)
        assert "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE" in status(post(api, many, PROTOBUF), 413, PROTOBUF)
        assert "ExportLogsServiceRequest" in status(post(api, b'{"resourceLogs": 7}'), 400, JSON)
        assert status(post(api, b"{", JSON, None), 401, JSON)
        assert status(post(api, b"{", PROTOBUF, "advisor"), 403, PROTOBUF)
        assert post(api, {}, "text/plain").status_code == 415
        assert status(post(api, {}, **{"Content-Encoding": "br"}), 415, JSON)
        accepted(post(api, {}))
        accepted(post(api, export(record(eventName="", body="a line of a program"))))


def test_what_is_not_recorded_of_logs_is_told_and_counted(fresh_api: Api) -> None:
    """Records without ids, with content that cannot be held, or that only look like content are named."""
    nameless = record({"gen_ai.input.messages": MARK}, eventName="", **new_ids())
    unheld = record(body={MARK: "\0"}, eventName="gen_ai.choice", **new_ids())
    without_ids = record({"gen_ai.input.messages": MARK}, traceId="", spanId="")
    unknown = record({"gen_ai.evaluation.explanation": MARK}, eventName="gen_ai.evaluation.result", **new_ids())
    legacy = record({"event.name": "gen_ai.choice"}, body={"message": MARK}, eventName="", **new_ids())
    told = orjson.loads(post(fresh_api, export(nameless, unheld, without_ids, unknown, legacy)).content)[
        "partialSuccess"
    ]
    assert told["rejectedLogRecords"] == "3"
    assert MARK not in told["errorMessage"]
    assert items(fresh_api) == {
        ("logs", "gen_ai", "unknown-kind"): 1,
        ("logs", "gen_ai", "invalid"): 1,
        ("logs", "gen_ai", "ids"): 1,
        ("logs", "gen_ai", "recorded"): 2,
    }


def test_no_text_of_a_record_is_in_clear(fresh_api: Api) -> None:
    """Attributes, bodies and names of records leave only commitments in the chain."""
    marked = {"gen_ai.system_instructions": MARK, "gen_ai.input.messages": [{MARK: MARK}], "user.id": MARK, MARK: MARK}
    ids: dict[str, Any] = {"traceId": TRACE, "spanId": "ab" * 8}
    sent = [record(marked), record(body={"content": MARK, MARK: MARK}, eventName=f"gen_ai.{MARK}", **ids)]
    accepted(post(fresh_api, export(*sent, resource={"service.name": MARK})))
    accepted(post_spans(fresh_api, spans(span(attributes=attributes({"gen_ai.operation.name": "chat"})))))
    with connect(fresh_api.url) as conn:
        rows = conn.execute("SELECT body, fields::text FROM events LEFT JOIN sealed_fields USING (position)").fetchall()
    assert [word for body, _ in rows for word in ("Jane", "Doe", "born") if word in body] == []
    assert sum(MARK in (fields or "") for _, fields in rows) == 3


@pytest.mark.parametrize(("name", "records"), [("opentelemetry-events", 4), ("opentelemetry-openai-v2", 13)])
@pytest.mark.parametrize("logs_first", [True, False])
def test_records_of_instrumentors_are_joined(fresh_api: Api, name: str, records: int, logs_first: bool) -> None:
    """What OpenTelemetry's instrumentors exported, in today's form and in that of 2025, gives calls their messages."""
    paths = ["logs", "traces"] if logs_first else ["traces", "logs"]
    for signal in paths:
        for sent in orjson.loads((EXPORTS / f"{name}.{signal}.json").read_bytes()):
            accepted((post if signal == "logs" else post_spans)(fresh_api, sent))
    rows = sorted(fresh_api.items("/model-calls"), key=lambda row: str(row["claimed_start"]))
    found = [fresh_api.get(f"/model-calls/{row['id']}").json()["content"] for row in rows]
    assert sum(map(len, found)) == records
    with_tool, with_result, streamed, failed, embedded = (orjson.dumps(content).decode() for content in found)
    assert all("SECRET what is ABC worth?" in content for content in (with_tool, with_result, streamed, failed))
    assert '"name":"price"' in with_tool.replace(": ", ":")
    assert "SECRET 17" in with_result
    assert all(ANSWER in content for content in (with_result, streamed))
    assert embedded == "[]"

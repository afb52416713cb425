"""What is not recorded is told to the sender and counted: by signal, dialect and reason, without a value of a span."""

from __future__ import annotations

import orjson
from prometheus_client.parser import text_string_to_metric_families

from tests.api.otlp.spans import attributes, export, span
from tests.api.otlp.test_traces import PROTOBUF, accepted, as_protobuf, post
from tests.api.served import Api

MARK = "Jane Doe, born 1970"
OPENINFERENCE = {"openinference.span.kind": "LLM", "llm.model_name": "m", "llm.input_messages.0.message.content": MARK}


def items(api: Api) -> dict[tuple[str, str, str], float]:
    """Read the metric of what came in."""
    text = api.call("GET", "/metrics", None).text
    assert MARK not in text
    return {
        (sample.labels["signal"], sample.labels["dialect"], sample.labels["outcome"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "advice_ledger_otlp_items_total"
    }


def test_what_is_not_recorded_is_told_and_counted(fresh_api: Api) -> None:
    """Each span that looks like a model's is recorded or told of; nothing of its content is repeated."""
    lookalike = span(attributes=attributes({"llm.model_name": "m", "llm.input_messages.0.message.content": MARK}))
    unlinked = span(attributes=attributes({**OPENINFERENCE, "advice_ledger.request_id": MARK}), traceId="01" * 16)
    unheld = span(attributes=attributes({**OPENINFERENCE, "x": {MARK: "\0"}}), spanId="02" * 8)
    unheld_key = span(
        attributes=attributes({**OPENINFERENCE, "llm.output_messages.0": {MARK: ["\0"]}}), spanId="03" * 8
    )
    good = span(attributes=attributes(OPENINFERENCE), spanId="04" * 8)
    response = post(fresh_api, export(lookalike, lookalike, unlinked, unheld, unheld_key, good))
    told = orjson.loads(response.content)["partialSuccess"]
    assert (response.status_code, told["rejectedSpans"]) == (200, "5")
    assert told["errorMessage"].startswith("2 times: span that looks like a call of a model (openinference)")
    assert MARK not in told["errorMessage"]
    assert items(fresh_api) == {
        ("traces", "openinference", "unknown-kind"): 2,
        ("traces", "openinference", "link"): 1,
        ("traces", "openinference", "invalid"): 2,
        ("traces", "openinference", "recorded"): 1,
    }
    accepted(post(fresh_api, export(good)))
    assert len(fresh_api.items("/model-calls")) == 1


def test_a_span_of_another_dialect_is_recorded_once(fresh_api: Api) -> None:
    """A span of another dialect that is sent again, in either encoding, records nothing."""
    sent = span(attributes=attributes(OPENINFERENCE))
    accepted(post(fresh_api, export(sent)))
    with fresh_api.records_nothing():
        accepted(post(fresh_api, export(sent)))
        assert post(fresh_api, as_protobuf(sent), PROTOBUF).content == b""
    [row] = fresh_api.items("/model-calls")
    assert (row["request_model"], row["provider_name"], row["mapper_version"]) == ("m", "unknown", "otlp-3")

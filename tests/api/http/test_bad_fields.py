"""JSON that is no request or answer: a 422 that names the field, nothing recorded; and the limits, from both sides."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.api.served import ANSWER, ASK, ASKS, Api, fields, problem, send

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def answers(api: Api) -> str:
    """The path to answer a queued request that stays queued."""
    return f"/portfolio/requests/{api.asked()}/recommendations"


@pytest.mark.parametrize("body", ["[]", "null", "1", '"text"', "true", "[{}]"])
def test_json_that_is_no_object(api: Api, answers: str, body: str) -> None:
    """Any other JSON value in the place of the object is a 422 on the body."""
    for path in (ASKS, answers):
        with api.records_nothing():
            response = send(api, path, body)
        assert fields(problem(response, 422, "invalid")) == ["body"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"client_id": None}, "client_id"),
        ({"client_id": ""}, "client_id"),
        ({"client_id": 5}, "client_id"),
        ({"client_id": ["c"]}, "client_id"),
        ({"client_id": "x" * 201}, "client_id"),
        ({"client_id": "a\0b"}, "client_id"),
        ({"risk_profile": "reckless"}, "risk_profile"),
        ({"risk_profile": "Balanced"}, "risk_profile"),
        ({"risk_profile": ["balanced"]}, "risk_profile"),
        ({"horizon_years": 0}, "horizon_years"),
        ({"horizon_years": 61}, "horizon_years"),
        ({"horizon_years": "5"}, "horizon_years"),
        ({"horizon_years": 5.5}, "horizon_years"),
        ({"horizon_years": True}, "horizon_years"),
        ({"horizon_years": 2**53}, "horizon_years"),
        ({"horizon_years": 10**30}, "horizon_years"),
        ({"objectives": "a house"}, "objectives"),
        ({"objectives": [""]}, "objectives[0]"),
        ({"objectives": ["a", 5]}, "objectives[1]"),
        ({"objectives": ["a", "b\0"]}, "objectives[1]"),
        ({"objectives": ["a"] * 21}, "objectives"),
        ({"objectives": ["x" * 501]}, "objectives[0]"),
        ({"notes": "x" * 20_001}, "notes"),
        ({"notes": "\0"}, "notes"),
        ({"notes": {}}, "notes"),
        ({"constraints": []}, "constraints"),
        ({"constraints": {"max_equity": "1.1"}}, "constraints.max_equity"),
        ({"constraints": {"min_cash": True}}, "constraints.min_cash"),
        ({"constraints": {"min_cash": "0.00001"}}, "constraints.min_cash"),
        ({"constraints": {"exclude_asset_classes": ["Gold!"]}}, "constraints.exclude_asset_classes[0]"),
        ({"constraints": {"surplus": 1}}, "constraints.surplus"),
        ({"surplus": 1}, "surplus"),
        ({"type": "portfolio.requested"}, "type"),
        ({"sealed": {}}, "sealed"),
        ({"": 1}, ""),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_fields_of_a_request(api: Api, change: dict[str, Any], field: str) -> None:
    """Each field of a wrong type, out of bounds, or unknown: 422 with that field and no other."""
    with api.records_nothing():
        found = problem(api.ask(**change), 422, "invalid")
    assert fields(found) == [field]


@pytest.mark.parametrize("field", ["client_id", "risk_profile"])
def test_a_missing_field_is_named(api: Api, field: str) -> None:
    """A required field that is missing is named."""
    body = {name: value for name, value in ASK.items() if name != field}
    with api.records_nothing():
        assert fields(problem(send(api, ASKS, json.dumps(body)), 422, "invalid")) == [field]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"recommendation": None}, "recommendation"),
        ({"recommendation": []}, "recommendation"),
        ({"recommendation": "buy"}, "recommendation"),
        ({"recommendation": {"a": {"b": ["\0"]}}}, "recommendation.a.b[0]"),
        ({"recommendation": {"a\0": 1}}, "recommendation.a\0"),
        ({"recommendation": {"n": 2**53}}, "recommendation.n"),
        ({"recommendation": {"n": -(2**53)}}, "recommendation.n"),
        ({"recommendation": {"n": 2**64}}, "recommendation.n"),
        ({"recommendation": {"n": 1e300}}, "recommendation.n"),
        ({"parameters": {"n": [1, 2**53]}}, "parameters.n[1]"),
        ({"parameters": "hot"}, "parameters"),
        ({"model_name": ""}, "model_name"),
        ({"model_name": "x" * 201}, "model_name"),
        ({"model_version": ""}, "model_version"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "\0"}, "prompt"),
        ({"surplus": 1}, "surplus"),
        ({"request_id": 1}, "request_id"),
    ],
    ids=lambda value: json.dumps(value)[:60],
)
def test_fields_of_an_answer(api: Api, answers: str, change: dict[str, Any], field: str) -> None:
    """The same for an agent's answer, where whole JSON objects may be wrong inside."""
    with api.records_nothing():
        found = problem(send(api, answers, json.dumps({**ANSWER, **change})), 422, "invalid")
    assert fields(found) == [field]


@pytest.mark.parametrize("name", ["recommendation", "parameters"])
@pytest.mark.parametrize("depth", [65, 200, 400, 1000])
def test_a_value_that_is_nested_too_deep_is_refused(api: Api, answers: str, name: str, depth: int) -> None:
    """An object nested deeper than 64 is refused by name; what the event's own layers leave of the 64 is recorded."""
    value = ('{"a":' * depth + "}" * depth).replace(":}", ":1}")
    body = json.dumps({**ANSWER, name: "VALUE"}).replace('"VALUE"', value)
    with api.records_nothing():
        [field] = fields(problem(send(api, answers, body), 422, "invalid"))
    assert field.startswith(name)


def test_the_deepest_permitted_values_are_recorded(api: Api) -> None:
    """62 layers inside a sealed or clear field of an answer are recorded and read back."""
    value: Any = 1
    for _ in range(62):
        value = {"a": value}
    made = api.answer(api.asked(), recommendation=value, parameters=value)
    assert made.status_code == 201, made.text
    row = api.get(made.headers["location"]).json()
    assert row["recommendation"] == row["parameters"] == value


def test_a_body_that_is_too_long_for_the_chain(api: Api, answers: str) -> None:
    """Fields in clear share 1 MiB, which is refused by the name of the largest; a little less is recorded."""
    with api.records_nothing():
        found = problem(
            send(api, answers, json.dumps({**ANSWER, "parameters": {"x": "y" * MIB}, "model_version": "v"})),
            422,
            "invalid",
        )
    assert fields(found) == ["parameters"]
    assert api.answer(api.asked(), parameters={"x": "y" * (MIB - 1000)}).status_code == 201


@pytest.mark.parametrize("name", ["recommendation", "prompt"])
def test_a_sealed_value_that_is_too_long(api: Api, answers: str, name: str) -> None:
    """A sealed field beyond 8 MiB is refused by name."""
    text = "y" * (8 * MIB)
    value: Any = {"x": text} if name == "recommendation" else text
    with api.records_nothing():
        assert fields(problem(send(api, answers, json.dumps({**ANSWER, name: value})), 422, "invalid")) == [name]


def test_the_longest_sealed_values(api: Api) -> None:
    """Two sealed fields of almost 8 MiB each are recorded and read back whole."""
    text = "é" * (4 * MIB - 50)
    made = api.answer(api.asked(), recommendation={"x": text}, prompt=text)
    assert made.status_code == 201, made.text
    row = api.get(made.headers["location"]).json()
    assert row["recommendation"] == {"x": text}
    assert row["prompt"] == text


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ('"client_id": "a", "risk_profile": "balanced", "amount_usd": 1, "client_id": "a"', "client_id"),
        ('"client_id": "a", "risk_profile": "balanced", "amount_usd": 1, "amount\\u005fusd": 2', "amount_usd"),
        ('"client_id": "a", "amount_usd": 1, "constraints": {"min_cash": "0.1", "min_cash": "0.2"}', "min_cash"),
        ('"client_id": "a", "objectives": [{"x": 1, "y": {}, "x": 2}]', "x"),
        ('"": 1, "": 2', ""),
        (f'"{"n" * 300}": 1, "{"n" * 300}": 1', "n" * 100),
    ],
)
def test_a_member_that_stands_twice_is_refused(api: Api, members: str, name: str) -> None:
    """In any object of a body, also with the same value, or with the name in other characters: 422 with the name."""
    with api.records_nothing():
        assert fields(problem(send(api, ASKS, "{" + members + "}"), 422, "invalid")) == [name]


def test_a_name_may_stand_in_several_objects(api: Api) -> None:
    """Twice is within one object."""
    assert api.answer(api.asked(), recommendation={"x": {"x": [{"x": 1}, {"x": 2}]}}).status_code == 201


def test_text_of_every_kind_comes_back(api: Api) -> None:
    """Characters beyond the BMP, line separators, quotes and markup are text like any other."""
    notes = 'a"b\\c/\u2028\U0001f600é\x01\x7f</script>{"x":1}\r\n'
    client_id = "клиент № 1 '; DROP TABLE events; --"
    made = api.ask(notes=notes, client_id=client_id, objectives=[notes])
    row = api.get(made.headers["location"]).json()
    assert (row["notes"], row["client_id"], row["objectives"]) == (notes, client_id, [notes])
    assert [found["id"] for found in api.items("/portfolio/requests", client_id=client_id)] == [row["id"]]


def test_a_large_answer_does_not_keep_others_waiting(api: Api) -> None:
    """While an answer that takes seconds to make canonical is recorded, other callers are served."""
    request_id = api.asked()
    large: list[Any] = [{"é": 1}] * 99_000
    answering = threading.Thread(target=api.answer, args=(request_id,), kwargs={"recommendation": {"x": large}})
    served = 0
    with Api(api.url, api.base, api.tokens, api.app).client as client:
        answering.start()
        while answering.is_alive():
            assert client.get(f"{api.base}/healthz").status_code == 200
            served += 1
    assert api.get(f"/portfolio/requests/{request_id}").json()["status"] == "recommended"
    assert served > 10

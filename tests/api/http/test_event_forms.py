"""Events as CloudEvents and as events of OCSF, read by the validators of others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from jsonschema_rs import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema  # type: ignore[import-untyped]

from tests.api.acting import EDIT, Acting, second_tokens
from tests.api.following import followed
from tests.api.served import Api, problem

BATCH = "application/cloudevents-batch+json"


@pytest.fixture(scope="module")
def acting(api: Api) -> Acting:
    """A ledger with a request, its answer and a decision, and a record of reading."""
    second_tokens(api)
    acting = Acting(api)
    acting.decided(acting.proposed(client_id="client-1", notes="private"), **EDIT)
    return acting


@pytest.fixture(scope="module")
def ocsf() -> Draft202012Validator:
    """The schema of the class as its makers publish it."""
    schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.7.0"))
    return Draft202012Validator(schema.get_class_schema(schema.lookup_class_name_from_uid(3004)))


def lines(api: Api, form: str, **query: Any) -> list[dict[str, Any]]:
    """The events that a search finds, as lines of JSON in this form."""
    params = {"format": form, "order": "oldest", **query}
    answer = api.call("GET", "/events", "compliance", params=params, headers={"Accept": "application/x-ndjson"})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_cloud_events_are_read_by_their_sdk(acting: Acting) -> None:
    """A batch, lines and messages of the stream have the same events, each complete and with the item as data."""
    api = acting.api
    upto, _ = api.head()
    items = lines(api, "ledger", as_of=upto)
    origin = api.call(
        "GET", "/events", "compliance", params={"as_of": upto, "order": "oldest"}, headers={"Accept": BATCH}
    )
    assert origin.headers["content-type"] == BATCH
    batch = origin.json()
    assert batch == lines(api, "cloudevents", as_of=upto)
    assert batch == [each.data for each in followed(api, as_of=upto, format="cloudevents") if each.name == "message"]
    for event, item in zip(batch, items, strict=True):
        read = JSONFormat().read(None, json.dumps(event))
        assert (read.get_id(), read.get_type(), read.get_subject()) == (
            str(item["position"]),
            item["type"],
            item["stream"],
        )
        assert read.get_time() is not None
        assert read.get_data() == item
    assert len({event["source"] for event in batch}) == 1
    assert api.call("GET", "/events?actor=nobody&format=cloudevents", "compliance").json() == []


def test_events_of_ocsf_fit_its_schema(acting: Acting, ocsf: Draft202012Validator) -> None:
    """Each event of the ledger, in the search and in the stream; what is personal and sealed is in none."""
    api = acting.api
    api.get("/portfolio/requests")
    upto, _ = api.head()
    found = lines(api, "ocsf", as_of=upto)
    assert found == [each.data for each in followed(api, as_of=upto, format="ocsf") if each.name == "message"]
    for event in found:
        assert [str(error) for error in ocsf.iter_errors(event)] == []
    assert {event["activity_name"] for event in found} == {"Create", "Read", "Update"}
    assert [event["metadata"]["sequence"] for event in found] == list(range(1, upto + 1))
    assert "private" not in json.dumps(found)


def test_a_form_has_its_media_types(api: Api) -> None:
    """OCSF comes in lines only, CloudEvents not as CSV; other forms are unknown."""
    for form, accept in (("ocsf", "application/json"), ("cloudevents", "text/csv")):
        answer = api.call("GET", f"/events?format={form}", "compliance", headers={"Accept": accept})
        problem(answer, 406, "not-acceptable")
    problem(api.get("/events", format="xml"), 422, "invalid")

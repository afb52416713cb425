"""Lines of histories: which are events, and what is said of those that are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger.imports.check import Checked, check
from ledger.imports.importer import NotImported
from ledger.imports.sources import read
from ledger.imports.tables import Tables
from ledger.proof.format.canonical import canonical
from ledger.proof.format.hashes import commitment
from schema.events import ClientRegistered
from tests.ledger.imports.scenes import imported, lines, rows
from tests.support import append, connect, new, requested

ANN = {"id": "ann", "kind": "human", "role": "advisor"}
ASKED = {"client_id": "C-9", "risk_profile": "balanced", "amount_usd": 250000}
Change = Callable[[dict[str, Any]], object]


def line(stream: str, type_: str, data: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A line of another system."""
    at = {"id": f"{stream} {type_}", "occurred_at": "2024-02-29T09:30:00+01:00", "actor": ANN}
    return {"stream": stream, "type": type_, "data": data, **at, **more}


SALT = "07" * 32
ANSWER: dict[str, Any] = {"recommendation": {"cash": "1"}, "model_name": "m"}
DECIDED = {
    "recommendation_id": 2,
    "digest": "5" * 64,
    "outcome": "reject",
    "needs_second": False,
    "second_rules": [],
    "four_eyes_version": "1",
}
GOOD = [
    line("request-70", "portfolio.requested", ASKED),
    line("request-70", "recommendation.recorded", ANSWER),
    line("request-70", "recommendation.decided", DECIDED),
]


def written(folder: Path, *members: Any) -> Path:
    """Write lines to a file."""
    file = folder / "history.ndjson"
    file.write_bytes(b"".join(each if isinstance(each, bytes) else orjson.dumps(each) + b"\n" for each in members))
    return file


def faults(found: Checked) -> list[tuple[int, str]]:
    """Return the lines and fields of the faults."""
    return [(fault.line, fault.field) for fault in found.faults]


def test_lines_of_another_system_become_rows(tmp_path: Path, database_url: str) -> None:
    """Numbers and positions are mapped, money is written as the ledger does, times are in UTC."""
    done = imported(database_url, written(tmp_path, *GOOD))
    assert done.recorded == 3
    found = rows(database_url)
    [request], [answer], [decision] = (
        found[name] for name in ("portfolio_requests", "ai_recommendations", "decisions")
    )
    assert (request["id"], request["client_id"], str(request["amount_usd"])) == (1, "C-9", "250000.00")
    assert (request["created_at"].isoformat(), request["requested_by"]) == ("2024-02-29T08:30:00+00:00", "ann")
    assert (answer["id"], answer["state"], decision["recommendation_id"]) == (2, "rejected", 2)


def test_a_salt_keeps_the_commitment_that_people_approved(tmp_path: Path, database_url: str) -> None:
    """So the digest of a decision is that of the recommendation, as it was in its source."""
    digest = commitment("recommendation", bytes.fromhex(SALT), canonical(ANSWER["recommendation"]))
    decided = {**GOOD[2], "data": {**DECIDED, "digest": digest}}
    imported(database_url, written(tmp_path, GOOD[0], {**GOOD[1], "salts": {"recommendation": SALT}}, decided))
    found = rows(database_url)
    assert found["ai_recommendations"][0]["digest"] == digest


def test_a_model_call_names_the_answers_of_earlier_requests(tmp_path: Path, database_url: str) -> None:
    """As an agent does that is shown what its client was told before; what comes later cannot be named."""
    call = {"provider_name": "p", "request_model": "m", "input_messages": ["hi"]}
    shown = [{"kind": "recommendation", "id": "2"}, {"kind": "decision", "id": "3"}, {"kind": "request", "id": "71"}]
    asked = line("request-71", "portfolio.requested", ASKED)
    began = line("request-71", "model-call.started", {**call, "shown": shown})
    later = line("request-71", "model-call.started", {**call, "shown": [{"kind": "recommendation", "id": "6"}]}, id="x")
    assert faults(check(read(written(tmp_path, *GOOD, asked, later)))) == [(5, "shown")]
    first = line("client-1", "client.registered", {"client_id": "C-0"}, id="first")
    assert imported(database_url, written(tmp_path, first)).recorded == 1
    done = imported(database_url, written(tmp_path, *GOOD, asked, began))
    assert done.recorded == 5
    [found] = rows(database_url)["model_calls"]
    assert [one["id"] for one in found["shown"]] == ["3", "4", "2"]


def test_a_state_before_all_that_is_imported(tmp_path: Path, database_url: str) -> None:
    """It becomes the position before the first imported event; if there is none yet, the line is named."""
    with connect(database_url) as conn:
        append(conn, new("client-", ClientRegistered(client_id="C-9")))
    call = {"provider_name": "p", "request_model": "m", "input_messages": ["hi"], "as_of": 1}
    client = line("client-1", "client.registered", {"client_id": "C-9"})
    with pytest.raises(NotImported, match=r"history.ndjson, line 2: as_of"):
        imported(database_url, written(tmp_path, client, line("trace-a", "model-call.started", call)))
    file = written(tmp_path, client, GOOD[0], line("request-70", "model-call.started", call))
    assert imported(database_url, file).recorded == 2
    assert [row["as_of"] for row in rows(database_url)["model_calls"]] == [1]


WRONG: dict[str, tuple[Any, tuple[int, str]]] = {
    "no JSON": (b"{\n", (2, "line")),
    "a list": ([], (2, "line")),
    "an unknown member": ({**GOOD[1], "more": 1}, (2, "more")),
    "an unknown type": ({**GOOD[1], "type": "a.b"}, (2, "type")),
    "a bad member": ({**GOOD[1], "data": {**ANSWER, "model_name": ""}}, (2, "data.model_name")),
    "a member that is missing": ({**GOOD[1], "data": {}}, (2, "data.recommendation")),
    "no offset": ({**GOOD[1], "occurred_at": "2024-02-29T09:30:00"}, (2, "occurred_at")),
    "no such day": ({**GOOD[1], "occurred_at": "2023-02-29T09:30:00Z"}, (2, "occurred_at")),
    "a time before": ({**GOOD[1], "occurred_at": "2024-02-28T09:30:00Z"}, (2, "occurred_at")),
    "a time before 1600": ({**GOOD[1], "occurred_at": "1599-12-31T23:59:59Z"}, (2, "occurred_at")),
    "an actor of no kind": ({**GOOD[1], "actor": {**ANN, "kind": "god"}}, (2, "actor")),
    "a position that comes before": ({**GOOD[1], "position": 1}, (2, "position")),
    "a stream that begins so": ({**GOOD[1], "stream": "request-71"}, (2, "type")),
    "a stream without a number": ({**GOOD[0], "stream": "request-x"}, (2, "stream")),
    "a request twice": (GOOD[0], (2, "type")),
    "an id twice": ({**GOOD[1], "id": GOOD[0]["id"]}, (2, "id")),
    "no id": ({**GOOD[1], "id": ""}, (2, "id")),
    "a credential that is a text": ({**GOOD[1], "actor": {**ANN, "credential": "3"}}, (2, "actor.credential")),
    "two whom it is for": ({**GOOD[1], "actor": {**ANN, "on_behalf_of": ["a"]}}, (2, "actor.on_behalf_of")),
    "nothing before": ({**GOOD[2], "data": {**DECIDED, "recommendation_id": 9}}, (2, "recommendation_id")),
    "no such client": (line("request-71", "portfolio.requested", {**ASKED, "client": 3}), (2, "client")),
    "a salt of nothing": ({**GOOD[1], "salts": {"prompt": SALT}}, (2, "salts")),
    "a salt that is short": ({**GOOD[1], "salts": {"recommendation": SALT[2:]}}, (2, "salts.recommendation")),
    "a large number": ({**GOOD[1], "data": {**ANSWER, "parameters": {"a": 2**60}}}, (2, "data.parameters.a")),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_line_is_named(name: str, tmp_path: Path) -> None:
    """By its number and field, beside others; no value is in the message."""
    given, expected = WRONG[name]
    found = check(read(written(tmp_path, GOOD[0], given, line("request-70", "nothing.done", {}))))
    assert faults(found)[0] == expected
    assert (3, "type") in faults(found)
    assert not any("C-9" in fault.reason for fault in found.faults)


def test_a_position_that_no_member_can_name_is_refused(tmp_path: Path) -> None:
    """It is larger than the numbers of JSON."""
    assert faults(check(read(written(tmp_path, {**GOOD[0], "position": 2**63 - 1})))) == [(1, "position")]


@pytest.mark.parametrize("stream", ["trace-", "trace-a\nb", f"trace-{'a' * 3000}"])
def test_a_trace_without_a_plain_name_is_refused(stream: str, tmp_path: Path) -> None:
    """The database would number the first and refuse the last."""
    call = {"provider_name": "p", "request_model": "m", "input_messages": ["hi"]}
    assert faults(check(read(written(tmp_path, line(stream, "model-call.started", call))))) == [(1, "stream")]


CHANGES: dict[str, Change] = {
    "body": lambda row: row.update(body=row["body"].replace("balanced", "aggressive")),
    "value": lambda row: row.update(fields=row["fields"].replace("client-1", "client-2")),
    "time": lambda row: row.update(recorded_at_us=row["recorded_at_us"] + 1),
    "withheld": lambda row: (row.pop("fields"), row.pop("salts"), row.update(withheld=["client_id"])),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_event_that_is_not_what_was_recorded_is_refused(name: str, tmp_path: Path, database_url: str) -> None:
    """A changed body or time has another hash; a changed value does not open; a withheld one is missing."""
    with connect(database_url) as conn:
        append(conn, new("request-", requested()))
    [row] = map(orjson.loads, lines(database_url))
    CHANGES[name](row)
    [fault] = check(read(written(tmp_path, row))).faults
    assert (name, fault.field) in {("body", "hash"), ("time", "hash"), ("value", "fields"), ("withheld", "client_id")}


def test_the_two_tables_become_events(tmp_path: Path, database_url: str) -> None:
    """Clients are registered once, rows are in the order of time, and a later recommendation supersedes."""
    requests, answers = tmp_path / "portfolio_requests.csv", tmp_path / "ai_recommendations.ndjson"
    requests.write_text(
        "id,client_id,risk_profile,amount_usd,created_at,status,horizon_years\n"
        "2,Zoë,balanced,10.5,2021-03-02T00:00:00Z,recommended,7\n"
        "1,Zoë,aggressive,20,2021-03-01T00:00:00Z,failed,\n"
    )
    answer = {"request_id": 2, "recommendation": {"a": "é"}, "model_name": "m"}
    times = ("2021-03-03T00:00:00Z", "2021-03-04T00:00:00Z")
    made = [orjson.dumps({"id": number, **answer, "created_at": at}) for number, at in enumerate(times, 1)]
    answers.write_bytes(b"\n".join(made))
    table = tmp_path / "all.ndjson"
    found = list(Tables(requests, answers).read())
    assert check(found).faults == []
    assert [event.type for event in found if not isinstance(event, tuple)] == [
        *("client.registered", "portfolio.requested", "request.failed", "portfolio.requested"),
        *("recommendation.recorded", "recommendation.recorded"),
    ]
    table.write_bytes(b"")
    done = imported(database_url, table, history=found)
    assert done.recorded == 6
    shown = rows(database_url)
    assert [(row["status"], row["client_id"]) for row in shown["portfolio_requests"]] == [
        *(("failed", "Zoë"), ("recommended", "Zoë")),
    ]
    assert [(row["state"], row["supersedes"]) for row in shown["ai_recommendations"]] == [
        ("superseded", None),
        ("proposed", 5),
    ]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ("x,C,balanced,1,2021-03-01T00:00:00Z,", "id"),
        ("1,,balanced,1,2021-03-01T00:00:00Z,", "client_id"),
        ("1,C,balanced,1,yesterday,", "created_at"),
        ("1,C,balanced,-1,2021-03-01T00:00:00Z,", "amount_usd"),
        ("1,C,balanced,1,2021-03-01T00:00:00Z,done", "status"),
        ("1,C,balanced,1,2021-03-01T00:00:00Z,,", "line"),
        ('1,"C,balanced,1,2021-03-01T00:00:00Z,', "line"),
        ('1,"C"-1,balanced,1,2021-03-01T00:00:00Z,', "line"),
        (f"1,{'C' * 9_000_000},balanced,1,2021-03-01T00:00:00Z,", "line"),
        ("1,\udce9,balanced,1,2021-03-01T00:00:00Z,", "line"),
    ],
    ids=("id", "client", "time", "amount", "status", "cells", "open quote", "quote", "large cell", "Latin-1"),
)
def test_a_wrong_row_is_named(row: str, field: str, tmp_path: Path) -> None:
    """By its line, which the header counts in, and its column."""
    requests = tmp_path / "r.csv"
    text = f"id,client_id,risk_profile,amount_usd,created_at,status\n{row}\n"
    requests.write_bytes(text.encode(errors="surrogateescape"))
    assert faults(check(Tables(requests).read())) == [(2, field)]


def test_a_column_that_is_there_twice_is_named(tmp_path: Path) -> None:
    """Which of the two would count?"""
    requests = tmp_path / "r.csv"
    requests.write_text("id,id,client_id,risk_profile,amount_usd,created_at\n7,1,C,balanced,1,2021-03-01T00:00:00Z\n")
    assert faults(check(Tables(requests).read())) == [(1, "id")]

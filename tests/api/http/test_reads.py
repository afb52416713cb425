"""Reading: what was just written, filters, pages while rows arrive, and states of the past."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from api.http.lists import encode_cursor
from tests.api.served import Api, fields, problem
from tests.support import eventually

PAGE = 7
LISTS = ("/portfolio/requests", "/recommendations")
ONES = ("/portfolio/requests/1", "/recommendations/1")


@pytest.fixture(scope="module")
def history(api: Api) -> list[dict[str, Any]]:
    """Requests of three clients, each third answered; the newest first, as the list has them."""
    profiles = ("conservative", "balanced", "aggressive")
    for number in range(30):
        request_id = api.asked(client_id=f"client-{number % 3}", risk_profile=profiles[number % 2])
        if number % 3 == 0:
            api.answered(request_id, model_name=f"model-{number % 2}")
    return api.items("/portfolio/requests", limit=200)


def pages(api: Api, path: str, **params: Any) -> Iterator[list[dict[str, Any]]]:
    """The pages of a list, one after the other."""
    while True:
        response = api.get(path, **params)
        assert response.status_code == 200, response.text
        yield response.json()["items"]
        params["cursor"] = response.json()["next_cursor"]
        if params["cursor"] is None:
            return


def ids(rows: list[dict[str, Any]]) -> list[int]:
    """The ids of rows, in their order."""
    return [row["id"] for row in rows]


def test_a_read_sees_what_was_written_before_it(api: Api) -> None:
    """Directly after each of many writes, Location and the lists have it: strong reads, always."""
    for number in range(40):
        asked = api.ask(client_id=f"own-{number}")
        request_id = asked.json()["request_id"]
        assert api.get(asked.headers["location"]).json()["client_id"] == f"own-{number}"
        assert ids(api.items("/portfolio/requests", client_id=f"own-{number}")) == [request_id]
        made = api.answer(request_id)
        assert api.get(made.headers["location"]).json()["request_id"] == request_id
        assert api.get(asked.headers["location"]).json()["status"] == "recommended"


def test_each_filter_selects_the_rows_that_match(api: Api, history: list[dict[str, Any]]) -> None:
    """Each filter, and all of them together, give the rows that a look at every row gives."""

    def expected(wanted: Callable[[dict[str, Any]], bool]) -> list[int]:
        return ids([row for row in history if wanted(row)])

    def found(**params: Any) -> list[int]:
        return ids(api.items("/portfolio/requests", limit=200, **params))

    assert found(client_id="client-1") == expected(lambda row: row["client_id"] == "client-1")
    assert found(status="recommended") == expected(lambda row: row["status"] == "recommended")
    assert found(risk_profile="balanced") == expected(lambda row: row["risk_profile"] == "balanced")
    middle = history[len(history) // 2]["created_at"]
    assert found(**{"from": middle}) == expected(lambda row: row["created_at"] >= middle)
    assert found(to=middle) == expected(lambda row: row["created_at"] < middle)
    together = {"client_id": "client-0", "status": "recommended", "risk_profile": "conservative", "from": middle}
    assert found(**together) == expected(
        lambda row: (
            (row["client_id"], row["status"], row["risk_profile"]) == ("client-0", "recommended", "conservative")
            and row["created_at"] >= middle
        )
    )
    assert found(status="failed") == []
    for nobody in ("nobody", "%", "client_1"):
        problem(api.get("/portfolio/requests", client_id=nobody), 404, "client-unknown")


def test_filters_of_recommendations(api: Api, history: list[dict[str, Any]]) -> None:
    """Recommendations by client, request, model and time."""
    every = api.items("/recommendations", limit=200)
    assert ids(every) == sorted(ids(every), reverse=True)

    def found(**params: Any) -> list[dict[str, Any]]:
        return api.items("/recommendations", limit=200, **params)

    one = next(row for row in every if row["model_name"] == "model-0")
    assert found(request_id=one["request_id"]) == [one]
    assert found(client_id="client-0") == [row for row in every if row["client_id"] == "client-0"] != []
    assert found(model_name="model-0") == [row for row in every if row["model_name"] == "model-0"] != []
    assert found(to=one["created_at"]) == [row for row in every if row["created_at"] < one["created_at"]]


def test_times_are_rfc_3339_utc(history: list[dict[str, Any]]) -> None:
    """A time in a response has a Z and reads back as the moment it was."""
    for row in history:
        assert row["created_at"].endswith("Z")
        assert datetime.fromisoformat(row["created_at"]).utcoffset() == timedelta(0)


@pytest.mark.parametrize("limit", [1, PAGE, 200])
def test_pages_visit_each_row_once(api: Api, history: list[dict[str, Any]], limit: int) -> None:
    """Following next_cursor gives every row once, the newest first, and full pages until the last."""
    found = list(pages(api, "/portfolio/requests", limit=limit, to=history[0]["created_at"]))
    assert [len(rows) for rows in found[:-1]] == [limit] * (len(found) - 1)
    assert [row for rows in found for row in rows] == [
        row for row in history if row["created_at"] < history[0]["created_at"]
    ]


def test_pages_while_rows_arrive(api: Api, history: list[dict[str, Any]]) -> None:
    """New rows do not move those that a reader has before it: each of them comes once, in order."""
    stop = threading.Event()

    def write() -> None:
        with Api(api.url, api.base, api.tokens, api.app).client as client:
            while not stop.is_set():
                headers = {"Authorization": f"Bearer {api.tokens['advisor']}"}
                body = {"client_id": "busy", "risk_profile": "balanced", "amount_usd": 1}
                client.post(f"{api.base}/portfolio/recommendations", json=body, headers=headers)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for path in LISTS:
            before = api.items(path, limit=200)
            seen = [row["id"] for rows in pages(api, path, limit=3) for row in rows]
            assert seen == sorted(set(seen), reverse=True)
            assert set(ids(before)) <= set(seen)
    finally:
        stop.set()
        writer.join()


def test_rows_as_of_a_position_are_as_they_were_then(api: Api, history: list[dict[str, Any]]) -> None:
    """A past position gives rows as they were then: no later request, and no later answer."""
    position = int(api.ask(client_id="past").headers["ledger-position"])
    request_id = api.items("/portfolio/requests", client_id="past")[0]["id"]
    answer = api.answered(request_id)
    path = f"/portfolio/requests/{request_id}"
    assert api.get(path).json()["status"] == "recommended"
    assert api.get(path, as_of=position).json()["status"] == "queued"
    assert api.get(path, as_of=answer).json() == api.get(path).json()
    problem(api.get(path, as_of=position - 1), 404, "request-unknown")
    problem(api.get(f"/recommendations/{answer}", as_of=position), 404, "recommendation-unknown")
    assert api.get(f"/recommendations/{answer}", as_of=answer).json() == api.get(f"/recommendations/{answer}").json()
    for filters in ({}, {"client_id": "past"}, {"status": "queued"}):
        then = api.items("/portfolio/requests", limit=200, as_of=position, **filters)
        assert then[0]["status"] == "queued"
        assert then[0]["id"] == request_id
    assert api.items("/portfolio/requests", as_of=0) == api.items("/recommendations", as_of=0) == []


def test_rows_as_of_a_time_include_that_microsecond(api: Api) -> None:
    """A time gives what was recorded until then, that microsecond included; offsets mean what they say."""
    asked = api.ask(client_id="then")
    row = api.get(asked.headers["location"]).json()
    at = datetime.fromisoformat(row["created_at"])
    api.answered(row["id"])
    path = asked.headers["location"]
    for same in (row["created_at"], at.isoformat(), at.astimezone(timezone(timedelta(hours=5))).isoformat()):
        assert api.get(path, as_of=same).json() == row
    problem(api.get(path, as_of=(at - timedelta(microseconds=1)).isoformat()), 404, "request-unknown")
    assert api.get(path, as_of="2999-01-01T00:00:00Z").json()["status"] == "recommended"
    problem(api.get(path, as_of="1969-12-31T23:59:59Z"), 404, "request-unknown")
    assert api.items("/portfolio/requests", as_of=row["created_at"])[0] == row


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-01T00:00:00",
        "20260101",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00 02:00",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-01-01T00:00:00+25:00",
        "٢026-01-01T00:00:00Z",
        "-1",
        "1.5",
        "1e3",
        "1_0",
        "+1",
        "now",
        "٣",
        "",
        str(2**63),
        "1" * 30,
    ],
)
@pytest.mark.parametrize("path", [*LISTS, *ONES])
def test_what_is_no_moment_is_refused(api: Api, path: str, value: str) -> None:
    """A time without an offset, a number that is no position: 422 by name, never another moment instead."""
    assert set(fields(problem(api.get(path, as_of=value), 422, "invalid"))) == {"as_of"}
    if path in LISTS and not value.isdecimal():
        for name in ("from", "to"):
            assert fields(problem(api.get(path, **{name: value}), 422, "invalid")) == [name]


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
@pytest.mark.parametrize("path", LISTS)
def test_a_date_is_that_whole_day_in_the_zone(api: Api, history: list[dict[str, Any]], path: str, zone: str) -> None:
    """`from` and `to` with one date give the rows of that day, `as_of` the state at its end; the answer names it."""
    rows = api.items(path, limit=200)
    there = ZoneInfo(zone)
    today = datetime.fromisoformat(rows[0]["created_at"]).astimezone(there).date()
    for day in (today - timedelta(days=1), today, today + timedelta(days=1)):
        of_the_day = [row for row in rows if datetime.fromisoformat(row["created_at"]).astimezone(there).date() == day]
        range_: dict[str, Any] = {"from": day, "to": day, "zone": zone, "limit": 200}
        answer = api.get(path, **range_)
        assert answer.json()["items"] == of_the_day
        assert answer.headers["ledger-time-zone"] == zone
    assert api.items(path, limit=200, as_of=today, zone=zone) == rows
    assert ids(api.items(path, limit=200, as_of=today - timedelta(days=1), zone=zone)) == [
        row["id"] for row in rows if datetime.fromisoformat(row["created_at"]).astimezone(there).date() < today
    ]
    assert "ledger-time-zone" not in api.get(path, zone=zone).headers


def test_a_range_of_times_is_half_open_and_never_reversed(api: Api, history: list[dict[str, Any]]) -> None:
    """A row created at `to` is not in it; an empty range is empty; `to` before `from` is a 422 that names `to`."""
    path = "/portfolio/requests"
    at = api.items(path)[0]["created_at"]
    later = (datetime.fromisoformat(at) + timedelta(microseconds=1)).isoformat()
    assert at not in [row["created_at"] for row in api.items(path, to=at)]
    assert at in [row["created_at"] for row in api.items(path, **{"from": at, "to": later})]
    assert api.items(path, **{"from": at, "to": at}) == []
    for reversed_range in ({"from": later, "to": at}, {"from": "2026-01-02", "to": "2026-01-01"}):
        assert fields(problem(api.get(path, **reversed_range), 422, "invalid")) == ["to"]
    assert fields(problem(api.get(path, zone="Nowhere/Town"), 422, "invalid")) == ["zone"]
    assert fields(problem(api.get(path, to="9999-12-31"), 422, "invalid")) == ["to"]


def test_a_position_that_is_not_there_yet_is_refused(api: Api) -> None:
    """A position beyond the head is a 422, not the present."""
    position, _ = api.head()
    for path in (*LISTS, *ONES):
        assert fields(problem(api.get(path, as_of=position + 1), 422, "invalid")) == ["as_of"]


@pytest.mark.parametrize("path", LISTS)
def test_pages_as_of_keep_to_their_position(api: Api, history: list[dict[str, Any]], path: str) -> None:
    """The pages of a list as of a moment are all of that moment, whatever is recorded between them."""
    position, _ = api.head()
    waiting = [api.asked(client_id="waiting") for _ in range(30)]
    for moment in (position, api.items("/portfolio/requests")[0]["updated_at"], "2999-01-01T00:00:00Z"):
        whole = [row for rows in pages(api, path, limit=200, as_of=moment) for row in rows]
        seen: list[dict[str, Any]] = []
        for rows in pages(api, path, limit=min(200, max(2, len(whole) // 5)), as_of=moment):
            seen += rows
            if waiting:  # other tests may have left thousands of rows, so that there are more pages than these
                api.answered(waiting.pop())
            api.asked(client_id="later")
        assert seen == whole


def test_eventual_reads_do_not_wait(api: Api) -> None:
    """With consistency=eventual a row comes sooner or later, and the answer is never an error."""
    request_id = api.asked(client_id="eventual")
    path = f"/portfolio/requests/{request_id}"
    assert eventually("the row", lambda: api.get(path, consistency="eventual").status_code == 200)
    assert ids(api.items("/portfolio/requests", client_id="eventual", consistency="eventual")) == [request_id]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"),
        ("limit", "201"),
        ("limit", "1.0"),
        ("limit", "many"),
        ("cursor", "!!!"),
        ("cursor", "W10"),  # []
        ("cursor", "W3RydWUsbnVsbF0"),  # [true,null]
        ("cursor", "WzEsdHJ1ZV0"),  # [1,true]
        ("cursor", "WzEuNSxudWxsXQ"),  # [1.5,null]
        ("cursor", "Wy0xLG51bGxd"),  # [-1,null]
        ("cursor", "é"),
        ("cursor", "A" * 201),
        ("consistency", "maybe"),
        ("client_id", ""),
        ("client_id", "x" * 201),
        ("client_id", "a\0b"),
        ("clientid", "client-1"),
    ],
)
def test_what_a_list_does_not_know_is_refused(api: Api, path: str, name: str, value: str) -> None:
    """A value out of bounds, a made-up cursor and a misspelt filter are 422 by name: no list of something else."""
    assert fields(problem(api.get(path, **{name: value}), 422, "invalid")) == [name]


def test_unknown_values_of_filters_are_refused(api: Api) -> None:
    """A status or profile that does not exist is a 422, not an empty list."""
    for name in ("status", "risk_profile"):
        named = [f"{name}[0]" if name == "status" else name]
        assert fields(problem(api.get("/portfolio/requests", **{name: "nothing"}), 422, "invalid")) == named
    for name, value in (("request_id", "0"), ("request_id", "x"), ("model_name", "a\0b"), ("status", "queued")):
        assert fields(problem(api.get("/recommendations", **{name: value}), 422, "invalid")) == [name]


def test_the_last_of_two_equal_parameters_counts(api: Api) -> None:
    """If a parameter is repeated, the last one counts, as docs/use/http.md says."""
    request_id = api.asked(client_id="twice")
    response = api.call("GET", "/portfolio/requests?client_id=nobody&client_id=twice", "compliance")
    assert ids(response.json()["items"]) == [request_id]


def test_a_cursor_beyond_the_ledger_is_refused(api: Api) -> None:
    """A cursor pinned to a position that is not there cannot have come from here."""
    cursor = encode_cursor(1, api.head()[0] + 1000)
    problem(api.get("/portfolio/requests", cursor=cursor), 422, "invalid")


def test_personal_data_is_not_for_caches(api: Api) -> None:
    """Responses with rows say no-store."""
    api.asked()
    for path in (*LISTS, ONES[0]):
        assert api.get(path).headers["cache-control"] == "no-store"

"""A request whose events a fold cannot take: its readers get a named problem, all others are served."""

from __future__ import annotations

from typing import Any

from projections.portfolio_requests.model import PORTFOLIO_REQUESTS
from projections.rebuild import rebuild_read_models
from schema.events import (
    AgentRegistered,
    Event,
    ModelCallStarted,
    RecommendationCommunicated,
    RecommendationOpened,
)
from tests.api.served import Api, problem
from tests.projections.poison import poison, poisoned
from tests.projections.scenes import DIGEST, decided, recommended
from tests.support import append_text, connect, eventually, failed, new
from tests.tampering import tamper

EDIT = "UPDATE events SET body = 'x' WHERE stream = 'request-{}'"
REPAIR = "UPDATE events e SET body = k.body FROM kept k WHERE k.position = e.position"


def poisoned_request(api: Api) -> int:
    """Make a request of client-1 that no read model can show, as the writer, and wait until it is set aside."""
    with connect(api.url, "writer") as conn:
        stream = poison(conn)
    metric = 'advice_ledger_streams_set_aside{read_model="portfolio_requests"} 1.0'
    eventually("the stream is set aside", lambda: metric in api.get("/metrics", None).text)
    return int(stream.removeprefix("request-"))


def test_readers_of_a_stream_that_was_set_aside_are_told(fresh_api: Api) -> None:
    """503 with a name for its id, its context and its client; others are listed, and what is missing is counted."""
    fine = fresh_api.asked(client_id="client-2")
    bad = poisoned_request(fresh_api)
    before = fresh_api.head()[0] - 1
    for path in (
        f"/portfolio/requests/{bad}",
        f"/portfolio/requests/{bad}/context",
        "/portfolio/requests?client_id=client-9",
    ):
        response = fresh_api.call("GET", path, "compliance")
        found = problem(response, 503, "stream-set-aside")
        assert f"'request-{bad}' from position {before + 1} on (SQLSTATE 23502)" in found["detail"]
        assert int(response.headers["Retry-After"]) >= 60
    problem(fresh_api.get(f"/portfolio/requests/{bad}", as_of=before), 404, "request-unknown")
    problem(fresh_api.get(f"/portfolio/requests/{bad + 1}"), 404, "request-unknown")
    assert fresh_api.get(f"/portfolio/requests/{fine}").status_code == 200
    listed = fresh_api.get("/portfolio/requests")
    assert ([item["id"] for item in listed.json()["items"]], listed.headers["Ledger-Set-Aside"]) == ([fine], "1")
    for others in (fresh_api.get("/portfolio/requests", client_id="client-2"), fresh_api.get("/recommendations")):
        assert (others.status_code, "Ledger-Set-Aside" in others.headers) == (200, False)


def test_a_stream_that_no_list_has_is_named_all_the_same(fresh_api: Api) -> None:
    """A fold fails on its events, and it is not set aside, or its entry was deleted: 503 for its readers, never 500."""
    bad, fine = fresh_api.asked(client_id="client-9"), fresh_api.asked(client_id="client-2")
    path, position = f"/portfolio/requests/{bad}", fresh_api.head()[0]
    assert fresh_api.get(path).status_code == 200
    tamper(fresh_api.url, "CREATE TABLE kept AS SELECT * FROM events", EDIT.format(bad))
    places = (path, f"{path}?as_of={position}", f"/portfolio/requests?client_id=client-9&as_of={position}")
    for _ in range(2):
        for place in places:
            found = problem(fresh_api.call("GET", place, "compliance"), 503, "stream-set-aside")
            assert "cannot show an event that was asked for (SQLSTATE 22P02)" in found["detail"], place
        rebuild_read_models(fresh_api.url, [PORTFOLIO_REQUESTS])
        found = problem(fresh_api.call("GET", path, "compliance"), 503, "stream-set-aside")
        assert f"'request-{bad}' from position" in found["detail"]
        with connect(fresh_api.url) as conn:
            assert conn.execute("DELETE FROM streams_set_aside WHERE read_model = 'portfolio_requests'").rowcount == 1
    assert fresh_api.get(f"/portfolio/requests/{fine}").status_code == 200
    tamper(fresh_api.url, REPAIR, "DROP TABLE kept")
    rebuild_read_models(fresh_api.url, [PORTFOLIO_REQUESTS])
    assert fresh_api.get(path).status_code == 200


def test_operators_are_told_and_the_process_is_ready(fresh_api: Api) -> None:
    """`/readyz` is 200 and names the stream in its warnings; appends and answers go on."""
    bad = poisoned_request(fresh_api)
    response = fresh_api.get("/readyz", None)
    position = fresh_api.head()[0]
    assert response.status_code == 200
    aside = f"the read model portfolio_requests has set aside the stream 'request-{bad}' from position {position} on"
    assert f"{aside} (SQLSTATE 23502)" in response.json()["warnings"]
    fine = fresh_api.asked()
    fresh_api.answered(fine)
    assert fresh_api.get(f"/portfolio/requests/{fine}").json()["status"] == "recommended"


POISONS: list[tuple[Event, dict[str, Any]]] = [
    (recommended(), {"data": 7}),
    (recommended(), {"model_name": None}),
    (recommended(), {"model_call_id": []}),
    (decided(1), {"outcome": None}),
    (decided(1), {"data": None}),
    (decided(1), {"recommendation_id": {}}),
    (RecommendationOpened(recommendation_id=1, digest=DIGEST), {"data": []}),
    (ModelCallStarted(provider_name="p", request_model="m"), {"actor": 7}),
    (RecommendationCommunicated(recommendation_id=1, digest=DIGEST, channel="letter"), {"data": "x"}),
]


def test_no_event_makes_a_command_fail_without_a_name(fresh_api: Api) -> None:
    """Commands on a request with odd events are decided, or refused by name; those on other requests are decided."""
    for event, changes in POISONS:
        bad = fresh_api.asked()
        answer = fresh_api.answered(bad)
        about = {"recommendation_id": answer} if "recommendation_id" not in changes and "data" not in changes else {}
        with connect(fresh_api.url, "writer") as conn:
            append_text(conn, poisoned(new(f"request-{bad}", event), **changes, **about))
        opening = {"digest": DIGEST}
        deciding = {**opening, "outcome": "approve"}
        statuses = [
            fresh_api.call("POST", f"/recommendations/{answer}/openings", json=opening),
            fresh_api.call("POST", f"/recommendations/{answer}/decisions", json=deciding),
        ]
        for response in (*statuses, fresh_api.answer(bad)):
            assert response.status_code in {201, 409, 503}, (event, changes, response.text)
    fresh_api.answered(fresh_api.asked())


def test_no_event_keeps_decisions_from_being_made(fresh_api: Api) -> None:
    """An odd event in the stream of a policy or of an agent stops nobody: the policy is adopted again."""
    with connect(fresh_api.url, "writer") as conn:
        for stream in ("policy-four-eyes", "policy-reason-codes"):
            append_text(conn, poisoned(new(stream, failed()), data=7))
        append_text(conn, poisoned(new("agent-agent", AgentRegistered(answer_schema="any/v1")), data=[]))
    answer = fresh_api.answered(fresh_api.asked())
    digest = fresh_api.get(f"/recommendations/{answer}").json()["digest"]
    body = {"digest": digest, "outcome": "approve"}
    assert fresh_api.call("POST", f"/recommendations/{answer}/openings", json={"digest": digest}).status_code == 201
    assert fresh_api.call("POST", f"/recommendations/{answer}/decisions", json=body).status_code == 201

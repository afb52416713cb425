"""A request whose events a fold cannot take: its readers get a named problem, all others are served."""

from __future__ import annotations

from tests.api.served import Api, problem
from tests.projections.poison import poison
from tests.support import connect, eventually


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
        response = fresh_api.call("GET", path, "auditor")
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

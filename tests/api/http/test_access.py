"""Who reads data of clients, and who is refused, is on record before the answer."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from ledger.database import conninfo
from ledger.errors import Unavailable
from ledger.service.accesses import MOST_EVENTS, Access, Accesses
from ledger.store.writer import Writer
from tests.api.acting import Acting
from tests.api.served import Api, problem, served
from tests.support import connect

RECORDED = "SELECT body::json->'data', stream FROM events WHERE type = 'access.recorded' ORDER BY position"
MINUTE = 1_800_000_000.0
SEEN = Access("ann", "advisor", "read", "GET /decisions")


def recorded(url: str) -> list[dict[str, Any]]:
    """Return the data of all access events."""
    with connect(url) as conn:
        return [data for data, _ in conn.execute(RECORDED)]


@pytest.fixture
def minute(fresh_api: Api) -> list[float]:
    """The clock of accesses, which stands still; a test may set it."""
    now = [MINUTE]
    fresh_api.app.state.services.ledger.accesses.clock = lambda: now[0]
    return now


@pytest.fixture
def told(minute: list[float], fresh_api: Api) -> Acting:
    """An application on a ledger of its own, with two requests and a decision. Its minute does not end."""
    acting = Acting(fresh_api)
    acting.decided(acting.proposed())
    acting.proposed(client_id="client-2")
    return acting


def reads_of(api: Api, role: str) -> list[dict[str, Any]]:
    """Return the records of a role's reads."""
    return [found for found in recorded(api.url) if (found["role"], found["action"]) == (role, "read")]


def test_each_read_of_a_row_is_recorded_before_the_answer(told: Acting) -> None:
    """Each route with data of one request records who, the route and the request; without what was shown."""
    api = told.api
    call = told.started(api.asked(client_id="client-3"))
    [decision] = api.items("/decisions", state="effective")
    paths = {
        "/portfolio/requests/{request_id}": 1,
        "/portfolio/requests/{request_id}/context": 1,
        "/recommendations/{recommendation_id}": decision["recommendation_id"],
        "/decisions/{decision_id}": decision["id"],
        "/model-calls/{model_call_id}": call,
    }
    for template, row in paths.items():
        name = template[template.index("{") : template.index("}") + 1]
        before = len(recorded(api.url))
        assert api.get(template.replace(name, str(row)), "advisor").status_code == 200
        found = recorded(api.url)[before:]
        request = 3 if "model" in template else 1
        assert found == [
            {
                "subject": "advisor",
                "role": "advisor",
                "action": "read",
                "resource": f"GET {template}",
                "requests": [request],
                "rows": 1,
            }
        ]


def test_lists_name_what_they_showed_and_no_value_of_a_filter(told: Acting) -> None:
    """A list records the names of its filters and the requests on the page; nothing personal is in the chain."""
    api = told.api
    before = len(recorded(api.url))
    api.get("/portfolio/requests", "compliance", client_id="client-2")
    api.get("/portfolio/requests", "compliance", client_id="nobody-here")
    api.get("/portfolio/requests", "compliance", limit=1)
    shown, nothing, page = recorded(api.url)[before:]
    assert (shown["parameters"], shown["requests"], shown["rows"]) == (["client_id"], [2], 1)
    # The same filter, and no such client: somebody looked, and was shown no request.
    assert (nothing["parameters"], nothing.get("requests"), nothing["rows"]) == (["client_id"], None, 0)
    assert (page["parameters"], page["requests"]) == (["limit"], [2])
    with connect(api.url) as conn:
        bodies = conn.execute("SELECT string_agg(body, '') FROM events WHERE type = 'access.recorded'").fetchall()
    assert "client-" not in bodies[0][0]
    assert "nobody" not in bodies[0][0]


def test_the_same_is_recorded_once_a_minute(told: Acting, minute: list[float]) -> None:
    """Once for a subject, a route, a request and a minute; another of these, or the next minute, is recorded anew."""
    api = told.api

    def read(role: str = "compliance", request: int = 1) -> int:
        before = len(reads_of(api, role))
        assert api.get(f"/portfolio/requests/{request}", role).status_code == 200
        return len(reads_of(api, role)) - before

    assert [read(), read(), read("advisor"), read(request=2), read(request=2), read()] == [1, 0, 1, 1, 0, 0]
    minute[0] += 60
    assert [read(), read()] == [1, 0]


def test_a_list_records_only_what_is_new_in_the_minute(told: Acting) -> None:
    """A list that shows a request more than before records this one alone."""
    api = told.api
    api.items("/portfolio/requests")
    api.asked(client_id="client-3")
    before = len(recorded(api.url))
    api.items("/portfolio/requests")
    assert [found["requests"] for found in recorded(api.url)[before:]] == [[3]]


def test_agents_and_machines_are_not_people(told: Acting) -> None:
    """What an agent reads, and health, metrics, the log and the catalogue, record nothing."""
    api = told.api
    before = len(recorded(api.url))
    assert api.get("/portfolio/requests/1/context", "agent").status_code == 200
    for path in ("/healthz", "/metrics", "/schemas", "/openapi.json"):
        assert api.get(path, None).status_code == 200
    assert api.get("/agents", "admin").status_code == 200
    assert len(recorded(api.url)) == before


def test_a_refusal_by_role_is_recorded(told: Acting) -> None:
    """403: who, in which role, which route, and why; once a minute. No token is nobody's attempt."""
    api = told.api
    before = len(recorded(api.url))
    for _ in range(3):
        problem(told.post("/recommendations/2/decisions", "agent", {}), 403, "wrong-role")
    problem(api.get("/access", "admin"), 403, "wrong-role")
    problem(api.get("/access", None), 401, "no-token")
    first, second = [found for found in recorded(api.url)[before:] if found["action"] == "refused"]
    assert first == {
        "subject": "agent",
        "role": "agent",
        "credential": 1,
        "action": "refused",
        "resource": "POST /recommendations/{recommendation_id}/decisions",
        "reason": "wrong-role",
    }
    assert (second["subject"], second["resource"]) == ("admin", "GET /access")


def test_nothing_is_shown_that_cannot_be_recorded(told: Acting) -> None:
    """While nothing can be recorded, reads of clients' data and refusals are 503; what needs no record is answered."""
    api = told.api
    with connect(api.url) as conn:
        conn.execute("UPDATE head SET stopped = 'not today'")
        try:
            for path in ("/portfolio/requests/1", "/recommendations", "/portfolio/requests/1/context"):
                response = api.get(path, "compliance")
                problem(response, 503, "log-refused")
                assert "client-1" not in response.text
            problem(told.post("/recommendations/2/communications", "agent", {}), 503, "log-refused")
            assert api.get("/agents", "admin").status_code == 200
        finally:
            conn.execute("UPDATE head SET stopped = NULL")
    assert api.get("/portfolio/requests/1", "compliance").status_code == 200


def test_who_looked_at_a_client(told: Acting) -> None:
    """GET /access by client, request, subject, action and time, for compliance and auditor, and counts by day."""
    api = told.api
    api.get("/portfolio/requests/1", "advisor")
    api.get("/portfolio/requests/2", "advisor")
    api.get("/decisions", "compliance")
    problem(api.get("/access", "agent"), 403, "wrong-role")

    def who(**filters: Any) -> list[tuple[str, str]]:
        items = api.get("/access", "compliance", **filters).json()["items"]
        return [(item["subject"], item["resource"]) for item in items]

    one = ("advisor", "GET /portfolio/requests/{request_id}")
    assert who(client_id="client-2") == who(request_id=2)
    assert one in who(client_id="client-2")
    assert ("compliance", "GET /decisions") in who(client_id="client-1")
    assert ("compliance", "GET /decisions") not in who(client_id="client-2")
    assert who(subject="nobody") == who(to="2020-01-01") == []
    problem(api.get("/access", "compliance", client_id="nobody"), 404, "client-unknown")
    assert who(action="refused") == [("agent", "GET /access")]
    assert who(subject="advisor", client_id="client-1")[0] == one
    counts = {row["subject"]: row for row in api.get("/access/counts", "auditor").json()["items"]}
    assert (counts["agent"]["reads"], counts["agent"]["refusals"]) == (0, 1)
    assert counts["advisor"]["reads"] == len(reads_of(api, "advisor"))


def test_many_at_once_share_one_record(told: Acting) -> None:
    """Of forty reads of the same at once, each is answered after the one event that records them."""
    api = told.api
    headers = {"Authorization": f"Bearer {api.tokens['advisor']}"}
    before = len(reads_of(api, "advisor"))
    with httpx.Client(base_url=api.base, headers=headers, timeout=60) as client, ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda _: client.get("/portfolio/requests/2"), range(40)))
    assert [answer.status_code for answer in answers] == [200] * 40
    assert len(reads_of(api, "advisor")) == before + 1


@pytest.mark.parametrize("role", ["auditor", "agent"])
def test_a_server_that_only_reads_says_that_it_records_nothing(told: Acting, role: str) -> None:
    """Each answer to a caller with a token has the header, also a refusal; nothing is recorded."""
    before = recorded(told.api.url)
    with served(told.api.url, tokens=told.api.tokens, read_only=True) as reading:
        for path in ("/portfolio/requests/1", "/recommendations", "/access"):
            response = reading.get(path, role)
            assert response.headers["ledger-access"] == "not-recorded"
        assert "ledger-access" not in reading.get("/healthz", None).headers
    assert "ledger-access" not in told.api.get("/portfolio/requests/1", role).headers
    found = [access for access in recorded(told.api.url) if access not in before]
    assert [access["subject"] for access in found] == [role]


def test_a_caller_who_goes_away_takes_nobody_along(database_url: str) -> None:
    """Two wait for one append. The first is cancelled; the second returns once it is recorded."""

    async def main() -> None:
        writer = Writer(conninfo(database_url, "writer"))
        accesses = Accesses(writer, lambda: MINUTE)
        first = asyncio.create_task(_failing(accesses))
        await first
        await writer.start()
        leaving = asyncio.create_task(accesses.record(SEEN, [1]))
        staying = asyncio.create_task(accesses.record(SEEN, [1, 2]))
        await asyncio.sleep(0)
        leaving.cancel()
        await staying
        await writer.close()
        assert leaving.cancelled()

    asyncio.run(main())
    assert [found["requests"] for found in recorded(database_url)] == [[1], [2]]


async def _failing(accesses: Accesses) -> None:
    """A writer that was not started records nothing; a failed access is not remembered as recorded."""
    with pytest.raises(Unavailable):
        await accesses.record(SEEN, [1])


def test_streams_stay_short_and_belong_to_a_day(database_url: str) -> None:
    """A stream takes up to MOST_EVENTS events of one day, and its name tells the day."""

    async def main() -> None:
        writer = Writer(conninfo(database_url, "writer"))
        now = [MINUTE]
        accesses = Accesses(writer, lambda: now[0])
        await writer.start()
        for number in range(1, 2 * MOST_EVENTS):
            await accesses.record(SEEN, [number])
        now[0] += 86_400
        await accesses.record(SEEN, [1])
        await writer.close()

    asyncio.run(main())
    with connect(database_url) as conn:
        streams = conn.execute(
            "SELECT left(stream, 18), count(*) FROM events WHERE type = 'access.recorded' GROUP BY stream"
            " ORDER BY min(position)"
        ).fetchall()
    assert streams == [
        ("access-2027-01-15-", MOST_EVENTS),
        ("access-2027-01-15-", MOST_EVENTS - 1),
        ("access-2027-01-16-", 1),
    ]

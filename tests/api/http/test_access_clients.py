"""Who looked at what belongs to a client and to no request."""

from __future__ import annotations

from typing import Any

from ledger.store.envelope import Actor, NewEvent, uuid7
from schema.events import ClientRegistered
from tests.api.acting import Acting
from tests.api.http.test_access import reads_of
from tests.api.served import Api
from tests.support import append, connect

POLICY = {"name": "house", "version": "1", "band": {"absolute": "0.05"}, "unlisted": "0.02"}
PORTFOLIO = {
    "client_id": "duo",
    "base": "USD",
    "targets": {"EQ": "0.6"},
    "rest": "BD",
    "policy": "house",
    "risk_profile": "balanced",
    "source": "house",
}


def test_who_looked_at_a_client_without_a_request(fresh_api: Api) -> None:
    """What belongs to a client and to no request is on record by the client's number, for each client of a minute."""
    api, told = fresh_api, Acting(fresh_api)
    solo, duo = (
        int(told.post("/clients", "compliance", {"client_id": name}).json()["client"]) for name in ("solo", "duo")
    )
    holds = [told.post(f"/clients/{client}/legal-holds", "compliance", {"reason": "court"}) for client in (solo, duo)]
    hold = holds[1].json()["hold"]
    assert api.call("PUT", "/policies/monitoring/house", "compliance", json=POLICY).status_code == 201
    assert api.call("PUT", "/portfolios/duos", "advisor", json=PORTFOLIO).status_code == 201
    reads: list[tuple[str, dict[str, Any], str, list[int] | None]] = [
        *((f"/clients/{client}", {}, "GET /clients/{client}", [client]) for client in (solo, duo)),
        (f"/clients/{solo}/timeline", {}, "GET /clients/{client}/timeline", [solo]),
        ("/clients", {"client_id": "duo"}, "GET /clients", [duo]),
        ("/clients", {"client_id": "nobody"}, "GET /clients", None),
        ("/events", {"client_id": "duo", "limit": 1}, "GET /events", [duo]),
        (f"/events/{hold}", {}, "GET /events/{position}", [duo]),
        ("/legal-holds", {}, "GET /legal-holds", [solo, duo]),
        (f"/legal-holds/{hold}", {}, "GET /legal-holds/{hold}", [duo]),
        ("/portfolios", {}, "GET /portfolios", [duo]),
        ("/portfolios/duos", {}, "GET /portfolios/{name}", [duo]),
        ("/portfolios/duos/drift", {}, "GET /portfolios/{name}/drift", [duo]),
        ("/alerts", {}, "GET /alerts", None),
    ]
    before = len(reads_of(api, "compliance"))
    for path, filters, resource, _ in reads:
        assert api.get(path, "compliance", **filters).status_code in {200, 404}, resource
    found = [(read["resource"], read.get("clients")) for read in reads_of(api, "compliance")[before:]]
    expected = [(resource, clients) for _, _, resource, clients in reads]
    assert found == expected
    for name, client in (("solo", solo), ("duo", duo)):
        items = api.get("/access", "auditor", client_id=name).json()["items"]
        shown = [resource for resource, clients in reversed(expected) if clients is not None and client in clients]
        assert [item["resource"] for item in items] == shown


def test_a_client_without_a_number_is_nobodys_reason_to_fail(fresh_api: Api) -> None:
    """An identifier in a stream that no command makes: its events are shown, and the read is on record without it."""
    event = ClientRegistered(client_id="odd")
    with connect(fresh_api.url, "writer") as conn:
        append(conn, NewEvent(uuid7(), "client-01", event, Actor("eve", "human", "admin")))
    found = fresh_api.get("/events", "compliance", type="client.registered")
    assert (found.status_code, [item["client_id"] for item in found.json()["items"]]) == (200, ["odd"])
    [read] = reads_of(fresh_api, "compliance")
    assert (read["rows"], read.get("clients")) == (1, None)

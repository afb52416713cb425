"""Events that no client can send, of each type and in each kind of stream, by the writer's login: all else goes on."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from schema.events import CATALOGUE, Event
from tests.api.http.test_monitoring import POLICY, PORTFOLIO, prices, put, run
from tests.api.served import Api
from tests.support import append_text, connect

EVE = {"id": "eve", "kind": "human", "role": "admin"}
BAD: list[Any] = [7, {}, {"as_of": [], "policy": 7, "positions": "x", "prices": {"EQ": 1}, "receivers": 7}]
# The streams of somebody's events by the first word of their type; others get into those of a request.
STREAMS = {
    "access": ["access-2026-03-01"],
    "agent": ["agent-evil"],
    "alert": ["portfolio-anna", "portfolio-evil"],
    "client": ["client-", "client-1"],
    "credential": ["subject-eve"],
    "delivery": ["delivery-"],
    "corporate-action": ["corporate-actions"],
    "endpoint": ["endpoint-evil", "endpoint-desk"],
    "erasure": ["client-1"],
    "export": ["export-"],
    "flow": ["flows-anna", "flows-evil"],
    "holdings": ["holdings-anna", "holdings-evil"],
    "legal-hold": ["client-1"],
    "log-checkpoint": ["log"],
    "log-key": ["log"],
    "model-call": ["monitoring-", "request-1"],
    "monitoring": ["monitoring-", "monitoring-1"],
    "notification": ["portfolio-anna"],
    "policy": ["policy-monitoring-drift", "policy-monitoring-evil", "policy-access", "policy-retention"],
    "portfolio": ["portfolio-anna", "portfolio-evil", "request-1"],
    "prices": ["prices-2026-03-05"],
    "rebalancing": ["portfolio-anna"],
    "stream-heads": ["stream-heads"],
    "subject": ["subject-eve"],
    "valuation": ["valuation-anna"],
    "valuations": ["valuations-2026-03-05"],
    "verification": ["verification-2026-03-01"],
}
READS = (
    *("/portfolios", "/portfolios/bert", "/portfolios/bert/drift", "/prices/2026-03-05", "/policies/monitoring/drift"),
    *("/alerts", "/notifications", "/monitoring/runs", "/monitoring/runs/1/replay", "/endpoints", "/deliveries"),
    *("/clients", "/clients/2", "/clients/2/timeline", "/clients/2/erasure", "/erasures", "/legal-holds", "/exports"),
    *("/portfolio/requests", "/recommendations", "/decisions", "/model-calls", "/agents", "/reports/override-rates"),
    *("/subjects", "/subject-changes", "/me", "/access", "/events", "/jobs", "/cases/2", "/cases/2/knowledge"),
)


def streams(event: type[Event]) -> list[str]:
    """Return the streams that an event of this type is put into."""
    return STREAMS.get(event.type.partition(".")[0], ["request-1"])


def text(stream: str, event: type[Event], data: object) -> str:
    """Return the line of an event with these members."""
    about = {"id": str(uuid4()), "schema": event.schema_version, "stream": stream, "type": event.type}
    return json.dumps(
        {"body": {"actor": EVE, "data": data, **about}, "expected": "any"}, sort_keys=True, separators=(",", ":")
    )


def watched(api: Api) -> None:
    """Make two clients with a portfolio and a request each, prices, an endpoint, and a run."""
    assert put(api, "/policies/monitoring/drift", "compliance", POLICY).status_code == 201
    endpoint = {"url": "https://desk.example/in", "receivers": ["advisor"]}
    assert put(api, "/endpoints/desk", "admin", endpoint).status_code == 201
    for name in ("Anna", "Bert"):
        path = f"/portfolios/{name.lower()}"
        assert api.asked(client_id=name)
        assert put(api, path, "advisor", {**PORTFOLIO, "client_id": name}).status_code == 201
        assert put(api, f"{path}/holdings", "advisor", holdings("1", "2026-03-01")).status_code == 201
    assert prices(api, "2026-03-05", "asset,price,currency\nEQ,60,USD\nBD,40,USD\n").status_code == 201
    run(api, "2026-03-05")


def holdings(quantity: str, day: str) -> dict[str, Any]:
    """Return what a portfolio holds."""
    return {"as_of": day, "positions": {"EQ": quantity, "BD": "1"}}


@pytest.mark.tampers  # its bodies are not canonical
def test_an_event_that_no_client_can_send_stops_nothing(fresh_api: Api) -> None:
    """Whatever is in other streams, each list is read, portfolios are judged, commands are recorded.

    Events of erasures are not among them: they end the streams of their own client, and `verify` names them.
    """
    watched(fresh_api)
    with connect(fresh_api.url, "writer") as conn:
        for event in CATALOGUE.values():
            for stream in () if event.type.endswith("erased") else streams(event):
                for data in BAD:
                    append_text(conn, text(stream, event, data))
    found = {path: fresh_api.get(path, "compliance").status_code for path in READS}
    assert {path: status for path, status in found.items() if status != 200} == {}
    assert prices(fresh_api, "2026-03-06", "asset,price,currency\nEQ,80,USD\nBD,20,USD\n").status_code == 201
    judged = run(fresh_api, "2026-03-06")
    assert (judged["portfolios"], judged["raised"]) == (2, 2)
    assert fresh_api.get(f"/monitoring/runs/{judged['run']}/replay", "compliance").json()["agrees"]
    assert run(fresh_api, "2026-03-07")["portfolios"] == 2
    assert fresh_api.ask(client_id="Bert").status_code == 202
    path = "/portfolios/bert/holdings"
    assert put(fresh_api, path, "advisor", holdings("3", "2026-03-06")).status_code == 201
    held = fresh_api.call("POST", "/clients/2/legal-holds", "compliance", json={"reason": "An inquiry."})
    assert held.status_code == 201
    endpoint = {"url": "https://desk.example/other", "receivers": ["advisor"]}
    assert put(fresh_api, "/endpoints/desk", "admin", endpoint).status_code == 201
    assert fresh_api.get("/readyz", None).status_code == 200

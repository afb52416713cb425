"""Messages to endpoints: each decision of a run reaches its receiver, under one id, whatever happens on the way."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook

from api.jobs.kinds import KINDS
from api.jobs.webhook_keys import PUBLIC, make_key, write_keys
from ledger.domain.monitoring import delivery
from tests.api.http.test_monitoring import POLICY, PORTFOLIO, put
from tests.api.jobs.delivering import DELIVERY_STEPS, ask_delivery, deliver, settings_in
from tests.api.jobs.listening import Received, receiving
from tests.api.jobs.running import in_process
from tests.api.served import Api, ledger_copy, problem, served
from tests.conftest import Template
from tests.support import connect, eventually

EVENTS = "SELECT type, body::json->'data' FROM events WHERE stream = %s ORDER BY version"
BASE = "https://ledger.example"
MARKS = ("secret client", "600", "400")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """The folder of keys."""
    return tmp_path / "keys"


@pytest.fixture
def ledger(server_url: str, template_database: Template) -> Iterator[str]:
    """A ledger of its own for each test: runs are of now."""
    with ledger_copy(server_url, template_database) as url:
        yield url


@pytest.fixture
def api(ledger: str, keys: Path) -> Iterator[Api]:
    """The application with the portfolio `anna`, and deliveries to receivers on this machine."""
    with application(ledger, keys) as found:
        yield found


@contextlib.contextmanager
def application(ledger: str, keys: Path, **options: Any) -> Iterator[Api]:
    """Serve a ledger with the portfolio `anna`, and send its messages."""
    with served(ledger, job_kinds=KINDS, webhooks=settings_in(keys, **options), link_base=BASE) as found:
        put(found, "/policies/monitoring/drift", "admin", {**POLICY, "stale_after_days": 5})
        found.call("POST", "/clients", "advisor", json={"client_id": "secret client"})
        put(found, "/portfolios/anna", "advisor", {**PORTFOLIO, "client_id": "secret client"})
        held = {"as_of": "2026-03-01", "positions": {"EQ": "600", "BD": "400"}}
        assert put(found, "/portfolios/anna/holdings", "advisor", held).status_code == 201
        yield found


def define(api: Api, url: str, name: str = "desk", **members: Any) -> httpx.Response:
    """Define an endpoint."""
    response = put(api, f"/endpoints/{name}", "admin", {"url": url, "receivers": ["advisor"], **members})
    assert response.status_code == 201, response.text
    return response


def judge(api: Api, equity: str = "200", at: datetime | None = None) -> dict[str, Any]:
    """Record prices of now, or of another time, and judge. At 200 the band is breached."""
    at = at or datetime.now(UTC)
    lines = f"asset,price,currency\nEQ,{equity},USD\nBD,100,USD\n"
    posted = api.call(
        "POST", f"/prices/{at:%Y-%m-%d}?source=ny", "admin", content=lines, headers={"Content-Type": "text/csv"}
    )
    assert posted.status_code == 201, posted.text
    response = api.call("POST", "/monitoring/runs", "admin", json={"as_of": f"{at:%Y-%m-%dT%H:%M:%SZ}"})
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


def reaches(api: Api, state: str, number: int = 1) -> dict[str, Any]:
    """Wait until the message is in this state; return its row."""

    def row() -> dict[str, Any] | None:
        response = api.get(f"/deliveries/{number}")
        found: dict[str, Any] = response.json()
        return found if response.status_code == 200 and found["state"] == state else None

    return eventually(f"the message is {state}", row, within_s=60)


def history(api: Api, number: int = 1) -> list[tuple[str, dict[str, Any]]]:
    """Return type and data of each event of a message."""
    with connect(api.url) as conn:
        return conn.execute(EVENTS, [f"delivery-{number}"]).fetchall()


def ends(api: Api, number: int = 1) -> list[tuple[str, str, int | None]]:
    """Return outcome, reason and status of each end."""
    found = [data for type_, data in history(api, number) if type_ == "delivery.ended"]
    return [(data["outcome"], data["reason"], data.get("status")) for data in found]


def verified(received: Received, secret: str) -> Any:
    """Return the content of a message, once a library of others has verified it."""
    return Webhook(secret).verify(received.body, received.headers)


def test_a_decision_is_delivered_and_verified(api: Api, keys: Path) -> None:
    """Two keys sign during a rotation. The message is thin, and says where to read more."""
    new, old = make_key("v1"), make_key("v1")
    write_keys(keys, "desk", [new, old.__class__(old.text, datetime.now(UTC) + timedelta(hours=1))])
    with receiving() as receiver:
        define(api, receiver.url)
        judge(api, "100")
        run = judge(api)
        row = reaches(api, "delivered")
        [received] = receiver.received
    found = verified(received, new.text)
    assert verified(received, old.text) == found
    [decided] = api.items("/notifications", run=run["run"])
    [alert] = api.items("/alerts")
    assert found["data"] == {
        "run": 2,
        "decisions": [
            {
                "decision": decided["id"],
                "portfolio": "anna",
                "alert": alert["id"],
                "rule": "drift",
                "about": "opened",
                "state": "open",
                "link": f"https://ledger.example/alerts/{alert['id']}",
            }
        ],
    }
    assert [mark for mark in MARKS if mark.encode() in received.body] == []
    assert (row["decisions"], row["attempts"], row["outcome"], row["status"]) == ([decided["id"]], 1, "delivered", 200)
    with connect(api.url) as conn:
        [(sent,)] = conn.execute("SELECT id FROM events WHERE type = 'delivery.planned'").fetchall()
    assert received.headers["webhook-id"] == str(sent)
    assert [data["keys"] for type_, data in history(api) if type_ == "delivery.attempted"] == [
        [new.fingerprint, old.fingerprint]
    ]
    with connect(api.url) as conn:
        bodies = conn.execute("SELECT string_agg(body, '') FROM events").fetchone()
    assert bodies is not None
    assert new.text not in bodies[0]


def test_an_ed25519_key_signs(api: Api, keys: Path) -> None:
    """`v1a`: the receiver has the public key alone."""
    key = make_key("v1a")
    write_keys(keys, "desk", [key])
    with receiving() as receiver:
        define(api, receiver.url)
        judge(api)
        reaches(api, "delivered")
        [received] = receiver.received
    version, _, value = received.headers["webhook-signature"].partition(",")
    names = ("webhook-id", "webhook-timestamp")
    content = b".".join([*(received.headers[name].encode() for name in names), received.body])
    assert version == "v1a"
    public = base64.b64decode(key.for_receiver.removeprefix(PUBLIC))
    Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(value), content)


def test_a_receiver_that_fails_in_every_way(api: Api, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """500, reset, a redirect, slow down: the same id each time, appends go on, and nothing leaks."""
    monkeypatch.setattr(delivery, "PAUSES_S", (0.0,) * 9)
    key = make_key("v1")
    write_keys(keys, "desk", [key])
    with receiving() as other, receiving("500", "reset", f"302\nLocation: {other.url}", "429", "200") as bad:
        define(api, bad.url)
        judge(api)
        api.asked()
        reaches(api, "delivered")
        received, elsewhere = bad.received, other.received
    assert ends(api) == [
        ("failed", "status", 500),
        ("unknown", "no-answer", None),
        ("failed", "status", 302),
        ("failed", "status", 429),
        ("delivered", "status", 200),
    ]
    assert elsewhere == []
    assert len({one.headers["webhook-id"] for one in received}) == 1
    assert [verified(one, key.text)["data"]["run"] for one in received] == [1] * 5


def test_a_receiver_that_does_not_answer(ledger: str, keys: Path) -> None:
    """The attempt ends, and its outcome is unknown: the receiver may have the message. Appends do not wait for it."""
    write_keys(keys, "desk", [make_key("v1")])
    with receiving("silence") as receiver, application(ledger, keys, timeout_s=3.0) as api:
        define(api, receiver.url)
        judge(api)
        api.asked()
        found = eventually("an attempt has ended", lambda: ends(api), within_s=60)
    assert found[0] == ("unknown", "no-answer", None)


def test_a_receiver_that_is_down_for_long(api: Api, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the last pause the message is given up and shown. A person has it sent again, under the same id."""
    monkeypatch.setattr(delivery, "PAUSES_S", (0.0,) * 9)
    write_keys(keys, "desk", [make_key("v1")])
    with receiving() as receiver:
        url = receiver.url
    define(api, url)
    judge(api)
    reaches(api, "failed")
    assert ends(api) == [("failed", "unreachable", None)] * 10
    [failed] = api.get("/jobs", state="failed").json()["items"]
    assert failed["error"] == "given-up"
    problem(api.call("POST", "/deliveries/9/resends", "admin", json={"reason": "back"}), 404, "delivery-unknown")
    with receiving() as receiver:
        define(api, receiver.url)
        again = api.call("POST", "/deliveries/1/resends", "compliance", json={"reason": "it is back"})
        assert again.status_code == 201, again.text
        row = reaches(api, "delivered")
        [received] = receiver.received
    assert (row["attempts"], row["round"]) == (11, 2)
    assert received.headers["webhook-id"]
    problem(api.call("POST", "/deliveries/1/resends", "admin", json={"reason": "again"}), 409, "delivery-not-failed")


def test_a_receiver_that_is_down_for_an_hour(api: Api, keys: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is tried after each pause and gets the message once it is back. Meanwhile others get theirs, appends go on."""
    key = make_key("v1")
    for name in ("desk", "other"):
        write_keys(keys, name, [key])
    with receiving() as receiver:
        define(api, receiver.url)
    with receiving() as other:
        define(api, other.url, "other")
        judge(api)
        reaches(api, "delivered", 2)
        passed_s, pauses = 0.0, iter(delivery.PAUSES_S)
        for attempt in range(1, 5):
            left_s = eventually("it is tried again later", partial(_left_s, api, attempt), within_s=60)
            pause_s = next(pauses)
            assert pause_s - 30 < left_s < pause_s + 1
            api.asked()
            passed_s += pause_s
            if passed_s < 3600:
                _skip_pause(api)
        assert [one.headers["webhook-id"] for one in other.received] == [_webhook_id(api, 2)]
    assert 3600 < passed_s < 3 * 3600
    with receiving(port=int(receiver.url.rpartition(":")[2].partition("/")[0])) as receiver:
        _skip_pause(api)
        reaches(api, "delivered")
        [received] = receiver.received
    assert verified(received, key.text)["data"]["run"] == 1
    assert received.headers["webhook-id"] == _webhook_id(api, 1)
    assert ends(api) == [("failed", "unreachable", None)] * 4 + [("delivered", "status", 200)]
    with connect(api.url) as conn:
        kept = str(conn.execute("SELECT jobs.* FROM jobs").fetchall())
        kept += str(conn.execute("SELECT body FROM events").fetchall())
    assert [place for place in (kept, caplog.text) if key.text.removeprefix("whsec_") in place] == []


def test_a_gone_receiver_is_disabled(api: Api, keys: Path) -> None:
    """410: no other attempt, and nothing for this endpoint until somebody enables it."""
    write_keys(keys, "desk", [make_key("v1")])
    with receiving("410") as receiver:
        define(api, receiver.url)
        judge(api)
        reaches(api, "failed")
        assert len(receiver.received) == 1
    assert ends(api) == [("failed", "gone", 410)]
    shown = eventually("it is disabled", lambda: _disabled(api))
    assert (shown["enabled"], shown["defined_by"]) == (False, "advice-ledger")


def test_private_addresses_are_refused_when_sending(ledger: str, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network of the operator nothing is sent to this machine, whatever name resolves to it."""
    monkeypatch.setattr(delivery, "PAUSES_S", (0.0,))
    write_keys(keys, "desk", [make_key("v1")])
    settings = settings_in(keys)
    closed = settings.__class__(settings.keys)
    with receiving() as receiver, served(ledger, job_kinds=KINDS, webhooks=closed) as api:
        put(api, "/policies/monitoring/drift", "admin", POLICY)
        api.call("POST", "/clients", "advisor", json={"client_id": "anna"})
        put(api, "/portfolios/anna", "advisor", {**PORTFOLIO, "client_id": "anna"})
        put(
            api,
            "/portfolios/anna/holdings",
            "advisor",
            {"as_of": "2026-03-01", "positions": {"EQ": "600", "BD": "400"}},
        )
        define(api, receiver.url.replace("127.0.0.1", "localhost"))
        judge(api)
        reaches(api, "failed")
        assert ends(api) == [("failed", "address-refused", None)] * 2
        assert receiver.received == []


def test_what_is_withheld(api: Api, keys: Path) -> None:
    """Acknowledged meanwhile: nobody is told. A close is; a historical run and a replay have no message."""
    with receiving() as receiver:
        define(api, receiver.url)
        judge(api, "180", datetime.now(UTC) - timedelta(days=3))
        assert api.items("/deliveries") == []
        judge(api, "100")
        judge(api, "180")
        [alert] = api.items("/alerts", state="open")
        taken = api.call("POST", f"/alerts/{alert['id']}/acknowledgements", "advisor", json={})
        assert taken.status_code == 201
        row = eventually("the opening is withheld", lambda: _at_once(api, 2, "withheld"), within_s=60)
        write_keys(keys, "desk", [make_key("v1")])
        eventually("the close is delivered", lambda: _at_once(api, 1, "delivered"), within_s=60)
        assert api.get("/monitoring/runs/3/replay").json()["agrees"]
        assert [json.loads(one.body)["data"]["run"] for one in receiver.received] == [2]
    assert (row["outcome"], row["reason"], row["attempts"]) == ("withheld", "acknowledged", 0)


def test_no_more_messages_than_the_endpoint_takes_in_an_hour(api: Api, keys: Path) -> None:
    """The second message waits for the hour to be over."""
    write_keys(keys, "desk", [make_key("v1")])
    with receiving() as receiver:
        define(api, receiver.url, messages_per_hour=1)
        judge(api)
        reaches(api, "delivered")
        judge(api, "100")
        eventually("it waits", lambda: [row["error"] for row in _jobs(api)].count("messages-per-hour") == 1)
        assert len(receiver.received) == 1


def test_an_endpoint_is_refused(api: Api) -> None:
    """A URL with a secret in it, or none; receivers that nobody is; and what is defined already records nothing."""
    for url in ("https://u:p@x.example/", "https://x.example/?key=1", "ftp://x.example/", "https://", "https://x:0/"):
        problem(put(api, "/endpoints/desk", "admin", {"url": url, "receivers": ["advisor"]}), 422, "invalid")
    problem(put(api, "/endpoints/desk", "admin", {"url": "https://x.example/", "receivers": ["bank"]}), 422, "invalid")
    define(api, "https://x.example/")
    with api.records_nothing():
        again = put(api, "/endpoints/desk", "admin", {"url": "https://x.example/", "receivers": ["advisor"]})
        assert (again.status_code, again.json()["changed"]) == (200, False)
    [shown] = api.get("/endpoints").json()["items"]
    assert (shown["endpoint"], shown["defined_by"]) == ("desk", "admin")
    problem(api.get("/endpoints/other"), 404, "endpoint-unknown")


@pytest.mark.parametrize("step", DELIVERY_STEPS)
def test_a_delivery_that_is_killed(ledger: str, tmp_path: Path, step: str) -> None:
    """The next process delivers it. A second request comes only after an answer that was not read, with the same id."""
    with receiving() as receiver:
        asyncio.run(ask_delivery(ledger, receiver.url, tmp_path))
        assert in_process(deliver, ledger, step, tmp_path) == -signal.SIGKILL
        assert in_process(deliver, ledger, "", tmp_path) == 0
        received = list(receiver.received)
    with connect(ledger) as conn:
        events = conn.execute(EVENTS, ["delivery-1"]).fetchall()
    assert events[-1][1]["outcome"] == "delivered"
    unread = [data["outcome"] for type_, data in events if type_ == "delivery.ended"].count("unknown")
    assert unread == (step in {"after the attempt", "after the answer", "before the end"})
    assert len(received) == 1 + (step in {"after the answer", "before the end"})
    assert len({one.headers["webhook-id"] for one in received}) == 1


def _disabled(api: Api) -> dict[str, Any] | None:
    found: dict[str, Any] = api.get("/endpoints/desk").json()
    return None if found["enabled"] else found


def _webhook_id(api: Api, number: int) -> str:
    with connect(api.url) as conn:
        [(found,)] = conn.execute(
            "SELECT id FROM events WHERE stream = %s AND version = 1", [f"delivery-{number}"]
        ).fetchall()
    return str(found)


def _left_s(api: Api, attempt: int) -> float | None:
    """Return how long the job that waits has to wait, once so many attempts have ended."""
    if len(ends(api)) < attempt:
        return None
    with connect(api.url) as conn:
        row = conn.execute(
            "SELECT extract(epoch FROM not_before - now())::float8 FROM jobs"
            " WHERE state = 'queued' AND error = 'unreachable' AND not_before > now()"
        ).fetchone()
    return None if row is None else float(row[0])


def _skip_pause(api: Api) -> None:
    """Have the pause of all jobs over: the clock of the queue is what stands in its rows."""
    with connect(api.url) as conn:
        conn.execute("UPDATE jobs SET not_before = now() WHERE state = 'queued' AND not_before > now()")


def _at_once(api: Api, number: int, state: str) -> dict[str, Any] | None:
    """End the pauses of all jobs; return the message if it is in this state."""
    _skip_pause(api)
    found: dict[str, Any] = api.get(f"/deliveries/{number}").json()
    return found if found["state"] == state else None


def _jobs(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get("/jobs", kind="deliver").json()["items"]
    return found

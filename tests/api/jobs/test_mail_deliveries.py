"""Messages of monitoring by mail: to the desk again and again, to clients once, and then only by a person."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from api.jobs.kinds import KINDS
from api.jobs.mail import MailSettings
from ledger.domain.monitoring import delivery
from tests.api.http.test_monitoring import POLICY, PORTFOLIO, put
from tests.api.jobs.delivering import DELIVERY_STEPS, PORT_FILE, ask_mail, deliver_mail
from tests.api.jobs.mailing import MailServer, taking_mail
from tests.api.jobs.running import in_process
from tests.api.jobs.test_deliveries import EVENTS, ends, history, judge, reaches
from tests.api.served import Api, ledger_copy, problem, served
from tests.conftest import Template
from tests.support import connect, eventually

CLIENT = "anna@client.example"
DESK = "desk@firm.example"
# What nobody may find in a mail or in the database: the client's name, holdings, and (in the database) addresses.
MARKS = ("secret client", "600", "400")
BASE = "https://ledger.example"


@pytest.fixture
def ledger(server_url: str, template_database: Template) -> Iterator[str]:
    """A ledger of its own for each test: runs are of now."""
    with ledger_copy(server_url, template_database) as url:
        yield url


@contextlib.contextmanager
def application(
    ledger: str, folder: Path, *scripts: Mapping[str, str], receiver: str = "client"
) -> Iterator[tuple[Api, MailServer]]:
    """Serve a ledger with the portfolios anna and berta, whose one endpoint `post` is mail."""
    addresses(folder, f"anna {CLIENT}", "berta berta@client.example", f"* {DESK}")
    with taking_mail(*scripts) as server:
        mail = MailSettings("127.0.0.1", server.port, "ledger@firm.example", folder, timeout_s=5.0)
        with served(ledger, job_kinds=KINDS, mail=mail, link_base=BASE) as api:
            put(api, "/policies/monitoring/drift", "admin", {**POLICY, "stale_after_days": 5})
            held = {"as_of": "2026-03-01", "positions": {"EQ": "600", "BD": "400"}}
            for name in ("anna", "berta"):
                api.call("POST", "/clients", "advisor", json={"client_id": f"secret client {name}"})
                put(api, f"/portfolios/{name}", "advisor", {**PORTFOLIO, "client_id": f"secret client {name}"})
                assert put(api, f"/portfolios/{name}/holdings", "advisor", held).status_code == 201
            made = put(api, "/endpoints/post", "admin", {"channel": "mail", "receivers": [receiver]})
            assert made.status_code == 201, made.text
            tell(api, receiver)
            yield api, server


def addresses(folder: Path, *lines: str) -> None:
    """Write the file of the endpoint."""
    (folder / "post.addresses").write_text("".join(f"{line}\n" for line in lines))


def tell(api: Api, receiver: str) -> None:
    """Have runs tell this receiver."""
    policy = {**POLICY, "version": "2", "stale_after_days": 5, "tell": {"drift": receiver}}
    assert put(api, "/policies/monitoring/drift", "admin", policy).status_code == 201


def test_the_desk_gets_one_mail_for_a_run(ledger: str, tmp_path: Path) -> None:
    """It lists all decisions with ids, rules, states and links, and nothing of a client."""
    with application(ledger, tmp_path, receiver="advisor") as (api, server):
        judge(api)
        row = reaches(api, "delivered")
        [mail] = server.mails
        alerts = {one["portfolio"]: one["id"] for one in api.items("/alerts")}
        [row] = api.items("/deliveries")
        assert (mail.to, len(row["decisions"]), row["status"]) == (DESK, 2, 250)
        text = mail.parsed.get_content()
        for name in ("anna", "berta"):
            assert f"Portfolio {name}, alert {alerts[name]}: drift, opened." in text
            assert f"{BASE}/alerts/{alerts[name]}" in text
        assert [mark for mark in MARKS if mark.encode() in mail.content] == []
        with connect(api.url) as conn:
            [(sent,)] = conn.execute("SELECT id FROM events WHERE type = 'delivery.planned'").fetchall()
            kept = str(conn.execute("SELECT body FROM events").fetchall())
            kept += str(conn.execute("SELECT jobs.* FROM jobs").fetchall())
        assert mail.parsed["Message-ID"] == f"<{sent}@firm.example>"
        assert DESK not in kept
        assert CLIENT not in kept


def test_each_client_gets_a_mail_of_their_own(ledger: str, tmp_path: Path) -> None:
    """It is about their portfolio alone."""
    with application(ledger, tmp_path) as (api, server):
        judge(api)
        reaches(api, "delivered", 1)
        reaches(api, "delivered", 2)
        mails = {mail.to: mail.parsed.get_content() for mail in server.mails}
    assert mails.keys() == {CLIENT, "berta@client.example"}
    assert ("anna" in mails[CLIENT], "berta" in mails[CLIENT]) == (True, False)


@pytest.mark.parametrize("script", ["silence", "reset"])
def test_a_mail_to_a_client_is_repeated_by_people_alone(
    ledger: str, tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to its text was not read: it is a dead letter, until somebody who has asked the client sends it."""
    monkeypatch.setattr(delivery, "PAUSES_S", (0.0,) * 9)
    with application(ledger, tmp_path, {"text": script}, {}) as (api, server):
        put(api, "/portfolios/berta/holdings", "advisor", {"as_of": "2026-03-02", "positions": {"EQ": "3", "BD": "4"}})
        judge(api)
        row = reaches(api, "failed", number := _of_anna(api))
        assert (row["outcome"], row["reason"], row["attempts"]) == ("unknown", "no-answer", 1)
        assert [data["final"] for type_, data in history(api, number) if type_ == "delivery.ended"] == [True]
        [failed] = api.get("/jobs", state="failed").json()["items"]
        assert failed["error"] == "given-up"
        again = api.call("POST", f"/deliveries/{number}/resends", "compliance", json={"reason": "They had none."})
        assert again.status_code == 201, again.text
        reaches(api, "delivered", number)
        first, second = [mail for mail in server.mails if mail.to == CLIENT]
        assert first.parsed["Message-ID"] == second.parsed["Message-ID"]
        problem(
            api.call("POST", f"/deliveries/{number}/resends", "admin", json={"reason": "x"}), 409, "delivery-not-failed"
        )


def test_a_mail_to_the_desk_is_repeated(ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happened to it; the desk can take a mail that comes twice. Only 5xx is the end."""
    monkeypatch.setattr(delivery, "PAUSES_S", (0.0,) * 9)
    scripts: list[dict[str, str]] = [
        {"greeting": "421 busy"},
        {"rcpt": "450 later"},
        {"text": "reset"},
        {"text": "554 no"},
    ]
    with application(ledger, tmp_path, *scripts, receiver="advisor") as (api, server):
        judge(api)
        reaches(api, "failed")
        assert ends(api) == [
            ("failed", "refused", None),
            ("failed", "status", 450),
            ("unknown", "no-answer", None),
            ("failed", "status", 554),
        ]
        assert len({mail.parsed["Message-ID"] for mail in server.mails}) == 1


def test_what_the_operator_has_to_see_to(ledger: str, tmp_path: Path) -> None:
    """Without an address a message waits; with one it is sent. Nothing is lost meanwhile."""
    with application(ledger, tmp_path) as (api, server):
        addresses(tmp_path, "berta berta@client.example")
        judge(api)
        number = _of_anna(api)
        eventually("it waits", lambda: "no-address" in [job["error"] for job in _jobs(api)], within_s=60)
        assert [data for type_, data in history(api, number) if type_ == "delivery.attempted"] == []
        addresses(tmp_path, "berta berta@client.example", f"anna {CLIENT}")
        with connect(api.url) as conn:
            conn.execute("UPDATE jobs SET not_before = now() WHERE state = 'queued'")
        reaches(api, "delivered", number)
        assert CLIENT in [mail.to for mail in server.mails]


def test_an_endpoint_of_mail_is_refused(fresh_api: Api) -> None:
    """A URL, an address, or both receivers at once record nothing."""
    for body in (
        {"channel": "mail", "receivers": ["client"], "url": "https://x.example/"},
        {"channel": "mail", "receivers": ["client", "advisor"]},
        {"channel": "mail", "receivers": ["client"], "to": CLIENT},
        {"channel": "webhook", "receivers": ["client"]},
        {"receivers": ["client"]},
        {"channel": "pigeon", "receivers": ["client"]},
    ):
        with fresh_api.records_nothing():
            problem(put(fresh_api, "/endpoints/post", "admin", body), 422, "invalid")


@pytest.mark.parametrize("receiver", ["advisor", "client"])
@pytest.mark.parametrize("step", DELIVERY_STEPS)
def test_a_mail_that_is_killed(ledger: str, tmp_path: Path, step: str, receiver: Literal["advisor", "client"]) -> None:
    """The next process sends it, unless it may have reached a client: then it is a dead letter."""
    with taking_mail() as server:
        asyncio.run(ask_mail(ledger, receiver, tmp_path))
        (tmp_path / PORT_FILE).write_text(str(server.port))
        assert in_process(deliver_mail, ledger, step, tmp_path) == -signal.SIGKILL
        assert in_process(deliver_mail, ledger, "", tmp_path) == 0
        mails = list(server.mails)
    with connect(ledger) as conn:
        events = conn.execute(EVENTS, ["delivery-1"]).fetchall()
    open_ = step in {"after the attempt", "after the answer", "before the end"}
    given_up = open_ and receiver == "client"
    assert (events[-1][1]["outcome"], events[-1][1]["final"]) == ("unknown" if given_up else "delivered", True)
    was_sent = step in {"after the answer", "before the end", "after the end"}
    assert len(mails) == was_sent + (not given_up and step != "after the end")
    assert len({mail.parsed["Message-ID"] for mail in mails}) <= 1


def _of_anna(api: Api) -> int:
    """Return the number of the message about anna, once its run has planned it."""
    with connect(api.url) as conn:
        [(number,)] = conn.execute(
            "SELECT stream_number(p.stream, 'delivery-') FROM events p JOIN events d"
            " ON d.position = (p.body::json->'data'->'decisions'->>0)::bigint"
            " WHERE p.type = 'delivery.planned' AND d.stream = 'portfolio-anna'"
        ).fetchall()
    return int(number)


def _jobs(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get("/jobs", kind="deliver").json()["items"]
    return found

"""Erasure over HTTP: two people, holds and retention that forbid it, and nothing of the client left anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg import sql

from ledger.domain.policy import HOME
from ledger.domain.retention import Retention
from ledger.export.bundle import Disclosure, write_bundle
from ledger.proof.auditor.__main__ import run
from ledger.proof.bundle.selection import Selection
from ledger.service.policies import Policies
from ledger.tlog.sign.signer_thread import SigningConfig
from ledger.tlog.signing_keys import SigningKey
from ledger.verify.database import verify_chain
from projections.rebuild import rebuild_read_models
from projections.registry import all_models
from tests.api.acting import Acting, second_tokens
from tests.api.following import followed, stream, until
from tests.api.program import cli
from tests.api.served import ASK, ASKS, Api, problem, served
from tests.ledger.tlog.logs import key_for
from tests.support import connect, eventually

ERASE = {"reason": "client-request", "reference": "DSR-2026/17"}


def policies(folder: Path, years: int) -> Policies:
    """Return the packaged policies, but for records that must be kept for so many years."""
    text = json.loads((HOME / "retention.json").read_text("utf-8"))
    for found in text["classes"].values():
        found["years"] = years
    (folder / "retention.json").write_text(json.dumps(text), "utf-8")
    return replace(Policies.packaged(), retention=Retention.load(folder / "retention.json"))


@dataclass
class Scene:
    """A server whose policy keeps nothing, and callers of two subjects for each role."""

    acting: Acting

    @property
    def api(self) -> Api:
        """The server."""
        return self.acting.api

    def client(self, words: str) -> int:
        """Record a case of a new client, with this text in all that is sealed; return the client's number."""
        body = {**ASK, "client_id": f"{words} id", "notes": f"{words} notes", "objectives": [f"{words} objective"]}
        request = int(self.api.call("POST", ASKS, "advisor", json=body).json()["request_id"])
        call = self.acting.started(request, "agent", input_messages=[f"{words} question"])
        assert self.acting.end(call, output_messages=[f"{words} answer"]).status_code == 201
        recommendation = self.api.answered(request)
        self.acting.decided(recommendation, "advisor", outcome="reject", reason_code="house-view", rationale=words)
        [row] = self.api.get("/clients", "compliance", client_id=f"{words} id").json()["items"]
        return int(row["id"])

    def request(self, client: int, who: str = "compliance", key: str | None = None, **body: Any) -> httpx.Response:
        """Request an erasure."""
        return self.acting.post(f"/clients/{client}/erasure", who, {**ERASE, **body}, key)

    def confirm(self, erasure: int, who: str = "compliance2", key: str | None = None) -> httpx.Response:
        """Confirm an erasure."""
        return self.acting.post(f"/erasures/{erasure}/confirmations", who, {}, key)

    def erased(self, words: str) -> int:
        """Make a client and erase it; return its number."""
        client = self.client(words)
        assert self.confirm(self.request(client).json()["erasure"]).status_code == 201
        return client


@pytest.fixture(scope="module")
def scene(module_ledger: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The server."""
    with served(module_ledger, policies=policies(tmp_path_factory.mktemp("policies"), 0)) as api:
        second_tokens(api)
        yield Scene(Acting(api))


def holding(url: str, words: str) -> list[str]:
    """Return the columns of all tables of the ledger and of its staging schema that hold this text."""
    with connect(url) as conn:
        columns = conn.execute(
            "SELECT n.nspname, c.relname, a.attname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " WHERE n.nspname LIKE 'ledger%' AND c.relkind IN ('r', 'm', 'p')"
        ).fetchall()
        query = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE position(%s in {}::text) > 0)")
        return [
            f"{table}.{column}"
            for schema, table, column in columns
            if conn.execute(query.format(sql.Identifier(schema, table), sql.Identifier(column)), [words]).fetchone()
            == (True,)
        ]


def test_runs_go_on_after_the_client_of_a_portfolio_was_erased(scene: Scene) -> None:
    """It stays a leaf, which is judged as unknown and taken as given; nothing more is recorded about it."""
    api, client = scene.api, scene.client("Wanda-Watched")
    policy = {"name": "drift", "version": "1", "band": {"absolute": "0.05"}, "unlisted": "0.02"}
    assert api.call("PUT", "/policies/monitoring/drift", "admin", json=policy).is_success
    body = {
        "client_id": "Wanda-Watched id",
        "base": "USD",
        "targets": {"EQ": "1"},
        "policy": "drift",
        "source": "house",
    }
    assert api.call("PUT", "/portfolios/wanda", "advisor", json=body).status_code == 201
    valued = {"portfolio": "wanda", "as_of": "2026-03-02", "source": "b", "currency": "USD", "values": {"EQ": "8"}}
    lines = {"content": json.dumps(valued), "headers": {"Content-Type": "application/x-ndjson"}}
    assert api.call("POST", "/valuations", "advisor", **lines).is_success
    day = {"as_of": "2026-03-02T22:00:00Z"}
    assert api.call("POST", "/monitoring/runs", "admin", json=day).json()["conditions"]["ok"] == 1
    assert scene.confirm(scene.request(client).json()["erasure"]).status_code == 201
    again = api.call("POST", "/monitoring/runs", "admin", json=day)
    assert again.status_code == 201, again.text
    assert (again.json()["conditions"]["unknown"], again.json()["raised"]) == (1, 0)
    for number in (1, 2):
        for caller, named in (("compliance", ["wanda"]), ("auditor", [])):
            replayed = api.get(f"/monitoring/runs/{number}/replay", caller).json()
            assert (replayed["agrees"], replayed["given"], replayed["given_count"]) == (True, named, 1)


def test_an_erasure_by_two_people_leaves_nothing(scene: Scene) -> None:
    """No table, read, search or report holds a value; chain and rebuild hold; verify names the erasure."""
    api, words = scene.api, "Vera-Erased"
    client = scene.client(words)
    other = scene.client("Otto-Stays")
    assert holding(api.url, words)
    outlook = api.get(f"/clients/{client}/erasure", "compliance").json()
    assert (outlook["client"], outlook["clients"], outlook["forbidden"]) == (client, [client], None)
    asked = scene.request(client)
    assert asked.status_code == 201
    erasure = asked.json()["erasure"]
    row = api.get(f"/erasures/{erasure}").json()
    assert (row["state"], row["client_id"], row["values"]) == ("waiting", f"{words} id", outlook["values"])
    assert holding(api.url, words)
    done = scene.confirm(erasure)
    assert done.status_code == 201, done.text
    # Before any projector can have run again.
    assert holding(api.url, words) == []
    assert holding(api.url, "Otto-Stays")
    row = api.get(f"/erasures/{erasure}").json()
    assert (row["state"], row["client_id"], row["answer_position"]) == ("erased", None, done.json()["event"])
    assert (row["requested_by"], row["answered_by"]) == ("compliance", "compliance2")
    with connect(api.url, "verifier") as conn:
        report = verify_chain(conn)
    assert report.ok, report.findings
    assert report.erased >= outlook["values"]
    assert (erasure, outlook["values"]) in report.erasures
    for read_model in rebuild_read_models(api.url, list(all_models())):
        assert read_model.differing == 0
    assert holding(api.url, words) == []
    for _, path in (("", "/events"), ("", "/portfolio/requests"), ("", "/recommendations"), ("", "/model-calls")):
        assert words not in api.get(path, limit=200).text
    assert words not in api.get("/metrics", None).text
    problem(api.get("/portfolio/requests", client_id=f"{words} id"), 404, "client-unknown")
    assert api.get(f"/clients/{client}").json()["client_id"] is None
    assert api.get(f"/clients/{other}").json()["client_id"] == "Otto-Stays id"


def test_one_person_is_not_enough(scene: Scene) -> None:
    """The subject who requested it cannot confirm it, whatever the role; nothing is recorded or deleted."""
    client = scene.client("Paul-One")
    erasure = scene.request(client).json()["erasure"]
    with scene.api.records_nothing():
        problem(scene.confirm(erasure, "compliance"), 409, "same-person")
        problem(scene.request(client, "compliance2"), 409, "erasure-waits")
    problem(scene.confirm(erasure, "advisor"), 403, "wrong-role")
    declined = scene.acting.post(f"/erasures/{erasure}/declines", "compliance", {"rationale": "by mistake"})
    assert declined.status_code == 201
    with scene.api.records_nothing():
        problem(scene.confirm(erasure), 409, "erasure-answered")
    assert scene.api.get(f"/erasures/{erasure}").json()["rationale"] == "by mistake"
    assert holding(scene.api.url, "Paul-One")


def test_a_hold_forbids_it_and_wins(scene: Scene) -> None:
    """A hold refuses a request, and an erasure that waits; both are recorded. Released, it forbids nothing."""
    api, client = scene.api, scene.client("Hanna-Held")
    place = f"/clients/{client}/legal-holds"
    first = scene.acting.post(place, "compliance", {"reason": "inquiry"}).json()["hold"]
    refused = problem(scene.request(client, key="k1"), 409, "erasure-forbidden")
    assert (refused["hold"], "possible_from" in refused) == (first, False)
    row = api.get(f"/erasures/{refused['erasure']}").json()
    assert (row["state"], row["forbidden"]) == ("refused", {"holds": [first]})
    with api.records_nothing():
        assert problem(scene.request(client, key="k1"), 409, "erasure-forbidden") == refused
        problem(scene.confirm(refused["erasure"]), 409, "erasure-answered")
    scene.acting.post(f"/legal-holds/{first}/releases", "compliance", {"reason": "over"})
    erasure = scene.request(client).json()["erasure"]
    second = scene.acting.post(place, "compliance", {"reason": "another"}).json()["hold"]
    late = problem(scene.confirm(erasure, key="k2"), 409, "erasure-forbidden")
    assert late["hold"] == second
    with api.records_nothing():
        assert problem(scene.confirm(erasure, key="k2"), 409, "erasure-forbidden") == late
    assert api.get(f"/erasures/{erasure}").json()["state"] == "refused"
    assert holding(api.url, "Hanna-Held")
    scene.acting.post(f"/legal-holds/{second}/releases", "compliance", {"reason": "over"})
    assert scene.confirm(scene.request(client).json()["erasure"]).status_code == 201
    assert holding(api.url, "Hanna-Held") == []


def test_an_erased_client_takes_nothing_more(scene: Scene) -> None:
    """No event about it or its cases; a repeated confirmation gets its answer. Its identifier can be a new client's."""
    api, words = scene.api, "Ende-Erased"
    client = scene.client(words)
    [request] = [row["id"] for row in api.items("/portfolio/requests", client_id=f"{words} id")]
    [recommendation] = [row["id"] for row in api.items("/recommendations", client_id=f"{words} id")]
    erasure = scene.request(client).json()["erasure"]
    done = scene.confirm(erasure, key="once")
    assert done.status_code == 201
    assert scene.confirm(erasure, key="once").json() == done.json()
    with api.records_nothing():
        problem(scene.request(client), 409, "client-erased")
        problem(scene.acting.post(f"/clients/{client}/assignments", "compliance", {"group": "x"}), 409, "client-erased")
        problem(scene.acting.post(f"/clients/{client}/aliases", "compliance", {"client_id": "z"}), 409, "client-erased")
        problem(
            scene.acting.post(f"/recommendations/{recommendation}/openings", "advisor", {"digest": "0" * 64}),
            409,
            "digest-mismatch",
        )
        answer = {"recommendation": {"weights": {"cash": "1.0000"}}, "model_name": "model-a"}
        late = scene.acting.post(f"/portfolio/requests/{request}/recommendations", "agent", answer)
        assert late.status_code == 409
    again = api.call("POST", ASKS, "advisor", json={**ASK, "client_id": f"{words} id"})
    assert again.status_code == 202
    [row] = api.get("/clients", "compliance", client_id=f"{words} id").json()["items"]
    assert row["id"] != client


def test_aliases_and_merged_clients_are_erased_together(scene: Scene) -> None:
    """One erasure is of all identifiers of the client, and a hold on a merged one counts."""
    api = scene.api
    old, new = scene.client("Mia-Merged"), scene.client("Mia-Married")
    alias = scene.acting.post(f"/clients/{new}/aliases", "compliance", {"client_id": "Mia-Alias"}).json()["client"]
    hold = scene.acting.post(f"/clients/{old}/legal-holds", "compliance", {"reason": "r"}).json()["hold"]
    assert scene.acting.post(f"/clients/{old}/merges", "compliance", {"into": new}).status_code == 201
    with api.records_nothing():
        problem(scene.request(old), 409, "client-merged")
    assert problem(scene.request(new), 409, "erasure-forbidden")["hold"] == hold
    scene.acting.post(f"/legal-holds/{hold}/releases", "compliance", {"reason": "over"})
    outlook = api.get(f"/clients/{new}/erasure", "compliance").json()
    assert outlook["clients"] == sorted([old, new, alias])
    assert scene.confirm(scene.request(new).json()["erasure"]).status_code == 201
    for words in ("Mia-Merged", "Mia-Married", "Mia-Alias"):
        assert holding(api.url, words) == []


def test_records_must_be_kept(database_url: str) -> None:
    """By the packaged policy: a client with advice is refused with the date, recorded; one without may be erased."""
    with served(database_url) as api:
        second_tokens(api)
        scene = Scene(Acting(api))
        client = scene.client("Rita-Retained")
        outlook = api.get(f"/clients/{client}/erasure", "compliance").json()["forbidden"]
        refused = problem(scene.request(client), 409, "erasure-forbidden")
        assert refused["possible_from"] == outlook["possible_from"]
        assert outlook["kept_until"] in refused["detail"]
        assert api.get(f"/erasures/{refused['erasure']}").json()["forbidden"] == {
            name: value for name, value in outlook.items() if value is not None
        }
        made = api.call("POST", "/clients", "compliance", json={"client_id": "Petra-Prospect"}).json()["client"]
        assert scene.confirm(scene.request(made, reason="recorded-in-error").json()["erasure"]).status_code == 201
        assert holding(api.url, "Petra-Prospect") == []


def test_a_certificate_is_verified_offline(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the log's key alone; with any other key, and after any change of a member, it is refused by name."""
    key = key_for(database_url)
    signing = SigningConfig(key, tmp_path / "last", every_s=0.2)
    with served(database_url, policies=policies(tmp_path, 0), signing=signing) as api:
        second_tokens(api)
        scene = Scene(Acting(api))
        client = scene.client("Clara-Certified")
        erasure = scene.request(client).json()["erasure"]
        path = f"/erasures/{erasure}/certificate"
        problem(api.get(path), 404, "erasure-unknown")
        done = scene.confirm(erasure).json()["event"]
        eventually("it is signed", lambda: api.get(path).status_code == 200)
        content = api.get(path).json()
        shown_at = tmp_path / "shown.json"
        ran = cli("erasures", "certificate", erasure, "-o", shown_at, env={"ADVICE_LEDGER_DATABASE_URL": database_url})
        assert (ran.code, ran.err) == (0, "")
        assert [one["body"] for one in json.loads(shown_at.read_text("utf-8"))["events"]] == [
            one["body"] for one in content["events"]
        ]
        with connect(api.url, "verifier") as conn, (tmp_path / "case.zip").open("w+b") as bundle:
            write_bundle(conn, Selection("request", request=1), Disclosure(everything=True), bundle)
    assert run([str(tmp_path / "case.zip"), "--key", key.verifier.text, "--json"]) == 0
    audited = json.loads(capsys.readouterr().out)
    [gone] = audited["erasures"]
    assert (gone["erasure"], audited["erased_unexplained"]) == (erasure, 0)
    assert gone["values"] == sum(counts["erased"] for counts in audited["fields"].values()) > 0
    file = tmp_path / "certificate.json"

    def run_on(found: Any, *keys: str) -> tuple[int, str]:
        file.write_text(json.dumps(found), "utf-8")
        code = run(["--erasure", str(file), "--json", *(part for one in keys for part in ("--key", one))])
        return code, capsys.readouterr().out

    code, out = run_on(content, key.verifier.text)
    shown = json.loads(out)
    assert (code, shown["ok"], shown["erasure"], shown["position"]) == (0, True, erasure, done)
    assert (shown["requested_by"], shown["erased_by"], shown["clients"]) == ("compliance", "compliance2", [client])
    assert "Clara" not in json.dumps(content)
    assert run_on(content)[0] == 2
    assert run_on(content, SigningKey.generate(key.verifier.name).verifier.text)[0] == 1
    first, second = content["events"]
    broken: list[Any] = [{**content, "origin": "other"}, {**content, "events": [first]}, {}, []]
    broken += [{**content, "events": pair} for pair in ([second, first], [first, first], [second, second])]
    for name, value in second.items():
        changed = value + 1 if isinstance(value, int) else value.replace("1", "2", 1)
        broken.append({**content, "events": [first, {**second, name: changed}]})
        broken.append({**content, "events": [first, {one: second[one] for one in second if one != name}]})
    assert [found for found in broken if run_on(found, key.verifier.text)[0] != 1] == []


def test_what_followers_share_is_forgotten(scene: Scene) -> None:
    """A follower of the state before gets no value of an erased client, though another one read them for it earlier."""
    words = "Mira Shared"
    client = scene.client(words)
    api = scene.api
    head, _ = api.head()
    with stream(api, position_from=head + 1) as (_, others):
        until(others, "caught-up")
        assert words in repr(followed(api, as_of=head))
        assert scene.confirm(scene.request(client).json()["erasure"]).status_code == 201
        assert words not in repr(followed(api, as_of=head))

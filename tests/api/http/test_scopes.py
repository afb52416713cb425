"""Scopes: a reader or writer whose rights are limited to some clients sees and changes nothing of any other client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import orjson
import pytest

from ledger.domain.access_policy import READS_OF_CLIENTS, AccessPolicy
from ledger.domain.policy import HOME
from ledger.service.policies import Policies
from schema.events import SubjectGroupJoined, SubjectRoleGranted, SubjectRoleRevoked
from tests.api.acting import Acting, second_tokens
from tests.api.http.test_rights import operations, permissions
from tests.api.served import ASK, ASKS, Api, problem, served
from tests.subjects import record, revoke, subject
from tests.support import eventually

POLICIES = replace(Policies.packaged(), access=AccessPolicy.load(HOME / "access-assigned.json"))
# Words that only rows of the client that is not in scope hold.
SECRETS = (
    "client-theirs",
    "their notes",
    "their question",
    "their answer",
    "their rationale",
    "their-asset",
    "their inquiry",
)
LATER = "2100-01-01T00:00:00Z"


@dataclass
class Case:
    """What the tests ask for by number: all of one client."""

    client: int
    request: int
    call: int
    recommendation: int
    decision: int
    portfolio: str = "none"
    alert: int = 999_999
    hold: int = 999_999
    erasure: int = 999_999
    finding: int = 999_999

    def path(self, template: str) -> str:
        """The path of this template, about this case."""
        ids = {
            "{client}": self.client,
            "{request_id}": self.request,
            "{model_call_id}": self.call,
            "{recommendation_id}": self.recommendation,
            "{decision_id}": self.decision,
            "{alert}": self.alert,
            "{hold}": self.hold,
            "{erasure}": self.erasure,
            "{finding}": self.finding,
            "{sample}": 1,
            "{item}": 1,
            "{run}": 1,
            "{job}": 1,
            "{export}": 1,
            "{delivery}": 1,
        }
        if template.startswith("/portfolios/"):
            template = template.replace("{name}", self.portfolio)
        for name, number in ids.items():
            template = template.replace(name, str(number))
        template = template.replace("{report}", "override-rates").replace("{position}", "1").replace("{name}", "agent")
        template = template.replace("{day}", "2026-03-02")
        assert "{" not in template, f"{template}: say above what this parameter is for a client"
        return template


UNKNOWN = Case(999_999, 999_999, 999_999, 999_999, 999_999)


@dataclass
class Scoped:
    """A server under the policy `access-assigned.json`, with a case of each advisor."""

    acting: Acting
    own: Case
    theirs: Case

    @property
    def api(self) -> Api:
        """The server."""
        return self.acting.api


def make_case(acting: Acting, advisor: str, client_id: str, words: str) -> Case:
    """Request, call, answer and decide for a new client of this advisor."""
    api = acting.api
    body = {**ASK, "client_id": client_id, "notes": f"{words} notes"}
    request = int(api.call("POST", ASKS, advisor, json=body).json()["request_id"])
    call = acting.started(request, "agent", input_messages=[f"{words} question"])
    assert acting.end(call, output_messages=[f"{words} answer"]).status_code == 201
    recommendation = api.answered(request)
    decided = acting.decided(
        recommendation, advisor, outcome="reject", reason_code="house-view", rationale=f"{words} rationale"
    )
    [row] = api.get("/clients", "compliance", client_id=client_id).json()["items"]
    return Case(row["id"], request, call, recommendation, decided["decision_id"])


@pytest.fixture(scope="module")
def scoped(module_ledger: str) -> Iterator[Scoped]:
    """The advisor has one client, and advisor2 another one."""
    with served(module_ledger, policies=POLICIES) as api:
        second_tokens(api)
        acting = Acting(api)
        own = make_case(acting, "advisor", "client-own", "own")
        theirs = make_case(acting, "advisor2", "client-theirs", "their")
        watch(api, own, "advisor", "client-own", "own")
        watch(api, theirs, "advisor2", "client-theirs", "their")
        assert api.call("POST", "/monitoring/runs", "admin", json={"as_of": "2026-03-02T22:00:00Z"}).status_code == 201
        for case in (own, theirs):
            [row] = api.get("/alerts", "compliance", portfolio=case.portfolio).json()["items"]
            case.alert = row["id"]
        for case, words in ((own, "own"), (theirs, "their")):
            placed = api.call(
                "POST", f"/clients/{case.client}/legal-holds", "compliance", json={"reason": f"{words} inquiry"}
            )
            case.hold = placed.json()["hold"]
            asked = {"reason": "client-request", "note": f"{words} inquiry"}
            refused = api.call("POST", f"/clients/{case.client}/erasure", "compliance", json=asked)
            case.erasure = refused.json()["erasure"]
            found = {"severity": "low", "text": f"{words} inquiry"}
            case.finding = acting.post(f"/cases/{case.request}/findings", "compliance", found).json()["finding"]
        yield Scoped(acting, own, theirs)


def test_writes_about_a_portfolio_tell_nothing_of_a_client_that_is_not_in_scope(scoped: Scoped) -> None:
    """Also if exactly this is on record: the answer is that for what never was, and nothing is recorded."""
    api, words = scoped.api, {"client_id": "client-theirs", "base": "USD", "targets": {"EQ": "1"}, "source": "house"}
    held = {"as_of": "2026-03-01", "positions": {"their-asset": "1"}}
    with api.records_nothing():
        for policy in ("drift", "none"):
            answered = [
                api.call("PUT", f"/portfolios/{name}", "advisor", json={**words, "client_id": client, "policy": policy})
                for name, client in ((scoped.theirs.portfolio, "client-theirs"), ("another", "nobody-here"))
            ]
            assert [(one.status_code, one.json()) for one in answered] == [(404, answered[0].json())] * 2
        answered = [
            api.call("PUT", f"/portfolios/{name}/holdings", "advisor", json=held)
            for name in (scoped.theirs.portfolio, "another")
        ]
        assert [(one.status_code, one.json()) for one in answered] == [(404, answered[0].json())] * 2
        paid = {"reference": "1", "date": "2026-03-01", "kind": "cash-in", "amount": "1", "currency": "USD"}
        answered = [
            api.call("POST", f"/portfolios/{name}/flows", "advisor", json=paid)
            for name in (scoped.theirs.portfolio, "another")
        ]
        assert [(one.status_code, one.json()) for one in answered] == [(404, answered[0].json())] * 2
        for path, line in (("/flows", paid), ("/valuations", valued())):
            answered = [
                api.call("POST", path, "advisor", content=orjson.dumps({"portfolio": name, **line}), headers=LINES)
                for name in (scoped.theirs.portfolio, "another")
            ]
            assert [(one.status_code, one.json()) for one in answered] == [(422, answered[0].json())] * 2
        acts = [
            api.call("POST", f"/alerts/{alert}/acknowledgements", "advisor", json={})
            for alert in (scoped.theirs.alert, 999_999)
        ]
        assert [(one.status_code, one.json()) for one in acts] == [(404, acts[0].json())] * 2


def test_a_run_judged_anew_names_no_portfolio_that_is_not_in_scope(scoped: Scoped) -> None:
    """Counts are of all portfolios; which of them are judged otherwise is told of the reader's own alone."""
    api, csv = scoped.api, {"Content-Type": "text/csv"}
    rows = "asset,price,currency\nown-asset,1,USD\ntheir-asset,1,USD\n"
    assert api.call("POST", "/prices/2026-03-01?source=ny", "admin", content=rows, headers=csv).status_code == 201
    both, own = [api.get("/monitoring/runs/1/would-be", caller).json() for caller in ("compliance", "advisor")]
    assert {scoped.own.portfolio, scoped.theirs.portfolio} == set(both["different"])
    assert own["different"] == [one["portfolio"] for one in own["changes"]] == [scoped.own.portfolio]
    assert own["different_count"] == both["different_count"] == len(both["different"])
    assert (own["conditions"], own["would_be"]) == (both["conditions"], both["would_be"])
    with api.records_nothing():  # who reads no client's data is told of none
        for caller in ("admin", "auditor"):
            found = api.get("/monitoring/runs/1/would-be", caller).json()
            assert (found["different"], found["changes"]) == ([], [])
            assert found["different_count"] == both["different_count"]
    looked = {
        row["subject"]: row
        for row in api.get("/access", "compliance", limit=200).json()["items"]
        if row["resource"].endswith("/would-be")
    }
    assert looked.keys() == {"compliance", "advisor"}
    assert set(looked["compliance"]["clients"]) == {scoped.own.client, scoped.theirs.client}
    assert looked["advisor"]["clients"] == [scoped.own.client]


LINES = {"Content-Type": "application/x-ndjson"}


def valued() -> dict[str, Any]:
    """Return a valuation."""
    return {"as_of": "2026-03-01", "source": "bank", "currency": "USD", "values": {"their-asset": "1"}}


def watch(api: Api, case: Case, advisor: str, client_id: str, words: str) -> None:
    """Watch a portfolio of the client, without prices: the run raises an alert."""
    case.portfolio = f"portfolio-of-{case.client}"
    policy = {"name": "drift", "version": "1", "band": {"absolute": "0.05"}, "unlisted": "0.02"}
    assert api.call("PUT", "/policies/monitoring/drift", "admin", json=policy).status_code in {200, 201}
    body = {"client_id": client_id, "base": "USD", "targets": {"EQ": "1"}, "policy": "drift", "source": "house"}
    path = f"/portfolios/{case.portfolio}"
    assert api.call("PUT", path, advisor, json=body).status_code == 201
    held = {"as_of": "2026-03-01", "positions": {f"{words}-asset": "1"}}
    assert api.call("PUT", f"{path}/holdings", advisor, json=held).status_code == 201


def limited(scoped: Scoped, role: str, **grant: Any) -> str:
    """The name of a new caller whose one role is granted so."""
    name = f"limited-{role}"
    if name not in scoped.api.tokens:
        scoped.api.tokens[name] = subject(scoped.api.url, name, "auditor")
        record(scoped.api.url, name, SubjectRoleRevoked(role="auditor"), SubjectRoleGranted(role=role, **grant))
    return name


def callers(scoped: Scoped) -> list[str]:
    """Callers who may read the first client, and no other."""
    listed = {"until": LATER, "clients": [scoped.own.client]}
    return ["advisor", limited(scoped, "examiner", **listed), limited(scoped, "compliance", **listed)]


def answers(api: Api, caller: str, case: Case, **params: Any) -> Iterator[tuple[str, str, httpx.Response]]:
    """Each GET and HEAD of the OpenAPI document that needs a token, about this case."""
    for method, template in operations(api):
        if method == "GET":
            yield method, template, api.call(method, case.path(template), caller, params=params)


def test_no_route_shows_a_client_that_is_not_in_scope(scoped: Scoped) -> None:
    """Each route of the document, by each limited caller: single reads answer as for what never was, lists leave out.

    Also as of an earlier position, and without waiting for read models. The caller's own client is shown all the same.
    """
    api, shown = scoped.api, 0
    assert api.get(f"/portfolio/requests/{scoped.theirs.request}", "advisor2").status_code == 200
    head = api.head()[0]
    needed = permissions()
    for caller in callers(scoped):
        for how in ({}, {"as_of": head}, {"consistency": "eventual"}):
            hidden = answers(api, caller, scoped.theirs, **how)
            for (_, template, found), (_, _, nothing) in zip(hidden, answers(api, caller, UNKNOWN, **how), strict=True):
                assert not [secret for secret in SECRETS if secret in found.text], (caller, template, found.text)
                if "{" in template and needed["GET", template] in READS_OF_CLIENTS:
                    assert nothing.status_code in {404, 422}
                    assert (found.status_code, found.json()) == (nothing.status_code, nothing.json()), template
        for _, template, found in answers(api, caller, scoped.own):
            shown += "client-own" in found.text
            assert found.status_code == 200 or needed["GET", template] not in READS_OF_CLIENTS, (caller, template)
            head_found = api.call("HEAD", scoped.theirs.path(template), caller)
            assert head_found.status_code == api.call("GET", scoped.theirs.path(template), caller).status_code
    assert shown > 20
    assert "client-theirs" in api.get("/portfolio/requests", "compliance").text
    refused = api.get("/access", "compliance", subject="advisor", action="refused", limit=200).json()["items"]
    assert "GET /portfolio/requests/{request_id}" in {
        row["resource"] for row in refused if row["reason"] == "out-of-scope"
    }


def test_filters_tell_nothing_of_a_client_that_is_not_in_scope(scoped: Scoped) -> None:
    """A filter by an identifier out of scope answers as for one that never was; other filters find nothing."""
    api = scoped.api
    for path in ("/portfolio/requests", "/recommendations", "/decisions", "/model-calls", "/clients"):
        hidden = api.get(path, "advisor", client_id="client-theirs")
        assert problem(hidden, 404, "client-unknown") == problem(
            api.get(path, "advisor", client_id="nobody"), 404, "client-unknown"
        )
        assert api.get(path, "advisor", client_id="client-own").json()["items"] != []
    assert api.get("/recommendations", "advisor", request_id=scoped.theirs.request).json()["items"] == []
    assert api.get("/clients", "advisor", prefix="client-").json()["items"][0]["client_id"] == "client-own"


def test_no_write_reaches_a_client_that_is_not_in_scope(scoped: Scoped) -> None:
    """Each write about a client answers as for what never was, and records nothing."""
    api, acting = scoped.api, scoped.acting
    listed = limited(scoped, "compliance", until=LATER, clients=[scoped.own.client])
    writes = [
        ("advisor", ASKS, {**ASK, "client_id": "client-theirs"}, "client"),
        ("advisor", "/recommendations/{recommendation_id}/openings", {"digest": "0" * 64}, "recommendation"),
        (
            "advisor",
            "/recommendations/{recommendation_id}/decisions",
            {"digest": "0" * 64, "outcome": "approve"},
            "recommendation",
        ),
        (
            "advisor",
            "/recommendations/{recommendation_id}/communications",
            {"digest": "0" * 64, "channel": "letter"},
            "recommendation",
        ),
        (listed, "/decisions/{decision_id}/confirmations", {"digest": "0" * 64, "outcome": "approve"}, "decision"),
        (listed, "/decisions/{decision_id}/revocations", {"reason_code": "other", "rationale": "x"}, "decision"),
        ("advisor", "/decisions/{decision_id}/withdrawals", {"reason_code": "duplicate"}, "decision"),
        ("advisor", "/portfolio/requests/{request_id}/withdrawals", {"reason_code": "duplicate"}, "request"),
        (listed, "/cases/{request_id}/reviews", {"upto": 1, "disposition": "no-concern"}, "request"),
        (listed, "/clients/{client}/assignments", {"subject": "advisor"}, "client"),
    ]
    with api.records_nothing():
        for caller, template, body, what in writes:
            found = problem(acting.post(scoped.theirs.path(template), caller, body), 404, f"{what}-unknown")
            if "{" in template:
                nothing = problem(acting.post(UNKNOWN.path(template), caller, body), 404, f"{what}-unknown")
                assert found["detail"] == nothing["detail"]
        # Whether the other request exists is not told either.
        for replacement in (scoped.theirs.request, UNKNOWN.request):
            replacing: dict[str, Any] = {"reason_code": "duplicate", "replaced_by": replacement}
            found = problem(
                acting.post(f"/portfolio/requests/{scoped.own.request}/withdrawals", "advisor", replacing),
                422,
                "invalid",
            )
            assert found["errors"] == [{"field": "replaced_by", "reason": "there is no such request"}]
        problem(acting.post("/clients/1/merges", listed, {"into": scoped.theirs.client}), 403, "wrong-role")
        problem(api.get("/reports/override-rates", listed), 403, "wrong-role")
        problem(api.get("/access", listed), 403, "wrong-role")
        problem(acting.post("/clients", "advisor", {"client_id": "new"}), 403, "wrong-role")


def test_an_assignment_opens_and_closes_a_client(scoped: Scoped) -> None:
    """By name and by group: the client can be read and acted on while it is assigned, and not before or after."""
    api, acting = scoped.api, scoped.acting
    api.tokens["carla"] = subject(api.url, "carla", "advisor")
    record(api.url, "carla", SubjectGroupJoined(group="team"))
    case, path = scoped.own, f"/portfolio/requests/{scoped.own.request}"
    at = f"/clients/{case.client}"
    problem(api.get(path, "carla"), 404, "request-unknown")
    for whom in ({"subject": "carla"}, {"group": "team"}):
        assert acting.post(f"{at}/assignments", "compliance", whom).status_code == 201
        assert api.get(path, "carla").status_code == 200
        assert api.get(path, "carla", as_of=api.head()[0]).status_code == 200
        assert acting.open(case.recommendation, "carla").status_code == 201
        assert acting.post(ASKS, "carla", {**ASK, "client_id": "client-own"}).status_code == 202
        assert acting.post(f"{at}/unassignments", "compliance", whom).status_code == 201
        problem(api.get(path, "carla"), 404, "request-unknown")
        problem(acting.post(ASKS, "carla", {**ASK, "client_id": "client-own"}), 404, "client-unknown")
    assert (
        acting.post(
            f"{at}/assignments", "compliance", {"subject": "carla", "until": "2020-01-01T00:00:00Z"}
        ).status_code
        == 201
    )
    problem(api.get(path, "carla"), 404, "request-unknown")


def test_a_merge_shows_nobody_more_of_another_client(scoped: Scoped) -> None:
    """Who is assigned to the client that remains reads both; who is assigned to the merged one reads that alone."""
    api, acting = scoped.api, scoped.acting
    names = ("merged-away", "merged-into")
    old, new = (
        make_case(acting, advisor, name, name) for advisor, name in zip(("advisor", "advisor2"), names, strict=True)
    )
    assert acting.post(f"/clients/{old.client}/merges", "compliance", {"into": new.client}).status_code == 201
    assert [api.get(f"/portfolio/requests/{case.request}", "advisor2").status_code for case in (old, new)] == [200, 200]
    assert [api.get(f"/portfolio/requests/{case.request}", "advisor").status_code for case in (old, new)] == [200, 404]
    # The agent is shown the history of both, and so is who may see both; the other one sees that of its own client.
    for role, shown in (
        ("agent", [new.recommendation, old.recommendation]),
        ("advisor2", [new.recommendation, old.recommendation]),
        ("advisor", [old.recommendation]),
    ):
        context = api.get(f"/portfolio/requests/{old.request}/context", role).json()
        assert [row["id"] for row in context["earlier"]] == shown, role
    for path in (
        f"/clients/{old.client}",
        "/clients?client_id=merged-away",
        "/portfolio/requests?client_id=merged-away",
    ):
        found = api.get(path, "advisor") if "?" not in path else api.call("GET", path, "advisor")
        assert found.status_code == 200
        assert ("merged-away" in found.text, '"client_id":"merged-into"' in found.text) == (True, False)
    # The other identifier is not told to be one of the same client either.
    for path in ("/portfolio/requests", "/recommendations", "/clients"):
        problem(api.get(path, "advisor", client_id="merged-into"), 404, "client-unknown")
        assert api.get(path, "advisor2", client_id="merged-away").json()["items"]
    assert api.get(f"/clients/{new.client}/timeline", "advisor").status_code == 404
    assert api.get(f"/clients/{old.client}/timeline", "advisor").status_code == 200


def test_a_new_limit_holds_within_a_second(scoped: Scoped) -> None:
    """A grant for a list of clients takes the place of one for all, and an examiner's role ends with its credential."""
    api = scoped.api
    api.tokens["dora"] = subject(api.url, "dora", "compliance")
    path = f"/portfolio/requests/{scoped.theirs.request}"
    assert api.get(path, "dora").status_code == 200
    timeline = f"/clients/{scoped.own.client}/timeline"
    assert api.get(timeline, "dora").json()["accesses"] is not None
    record(api.url, "dora", SubjectRoleGranted(role="compliance", clients=[scoped.own.client]))
    eventually("the limit holds", lambda: api.get(path, "dora").status_code == 404)
    assert api.get(f"/portfolio/requests/{scoped.own.request}", "dora").status_code == 200
    # As at GET /access: who looked is not shown, because a record may name requests of other clients.
    assert api.get(timeline, "dora").json()["accesses"] is None
    limited = problem(api.get("/events", "dora"), 403, "wrong-role")["detail"]
    assert limited.endswith("this subject has compliance for a list of clients, which is not enough")
    record(api.url, "dora", SubjectRoleRevoked(role="compliance"))
    eventually("the role is gone", lambda: "this subject has no role now" in api.get("/events", "dora").text)
    revoke(api.url, "dora")
    eventually("the token is refused", lambda: api.get(path, "dora").status_code == 401)

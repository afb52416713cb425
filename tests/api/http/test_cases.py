"""The story of a client and of one case, as it was known at any position."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ledger.proof.casefile.changes import changed_fields, lines
from projections.rebuild import rebuild_read_models
from projections.registry import READ_MODELS
from tests.api.acting import EDIT, LARGE, REJECT, Acting, second_tokens
from tests.api.served import Api, problem, served
from tests.conftest import Template, copy_database
from tests.support import connect

BODIES = (
    "SELECT e.position, e.stream, c.client_id FROM events e LEFT JOIN stream_clients c USING (stream) ORDER BY position"
)


@pytest.fixture(scope="module")
def acting(api: Api) -> Acting:
    """Cases of two clients: an edit that was declined, one that was confirmed and told, a rejection, an open call."""
    second_tokens(api)
    acting = Acting(api)
    first = acting.proposed(client_id="client-1", amount_usd=LARGE, notes="private")
    acting.confirm(acting.decided(first, **EDIT), "compliance", outcome="decline", rationale="too much cash")
    acting.confirm(acting.decided(first, **EDIT), "compliance", rationale="seen")
    assert acting.tell(first, message="dear client").status_code == 201
    acting.decided(acting.proposed(client_id="client-2"), **REJECT)
    acting.decided(acting.proposed(client_id="client-1"))
    acting.started(api.asked(client_id="client-1"), input_messages=["what now?"])
    return acting


def steps(timeline: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all steps of a page, in the order of their positions."""
    found = [*timeline["registry"], *itertools.chain(*(case["events"] for case in timeline["cases"]))]
    return sorted(found, key=lambda step: step["position"])


def number_of(api: Api, client_id: str) -> int:
    """Return the number of a client."""
    [client] = api.items("/clients", client_id=client_id)
    return int(client["id"])


def test_a_timeline_has_every_event_of_the_client_by_case(acting: Acting) -> None:
    """All events of the client's streams within the window, in pages of any size, each once, and no other client's."""
    api = acting.api
    client = number_of(api, "client-1")
    with connect(api.url) as conn:
        wanted = [position for position, _, owner in conn.execute(BODIES) if owner == "client-1"]
    whole = api.get(f"/clients/{client}/timeline").json()
    assert [step["position"] for step in steps(whole)] == wanted
    assert [case["request_id"] for case in whole["cases"]] == [1, 3, 4]
    assert [step["type"] for step in whole["registry"]] == ["client.registered"]
    assert whole["next_cursor"] is None
    found: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = api.get(f"/clients/{client}/timeline", limit=4, as_of=whole["as_of"], **cursor).json()
        found += [step["position"] for step in steps(page)]
        assert page["as_of"] == whole["as_of"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == wanted
    told = steps(whole)[-1]
    assert (told["type"], told["actor"]["role"]) == ("model-call.started", "agent")
    assert told["values"]["input_messages"] == ["what now?"]


def test_a_timeline_says_who_looked_to_those_who_may_know(acting: Acting) -> None:
    """Compliance sees the reads of the client's requests within the window; an advisor does not."""
    api = acting.api
    client = number_of(api, "client-1")
    api.get("/portfolio/requests/1", "compliance2")
    looked = api.get(f"/clients/{client}/timeline", "compliance").json()["accesses"]
    assert "compliance2" in {access["subject"] for access in looked}
    assert all(set(access["requests"] or ()) & {1, 3, 4} or access["clients"] == [client] for access in looked)
    assert api.get(f"/clients/{client}/timeline", "advisor").json()["accesses"] is None
    problem(api.get("/clients/999/timeline"), 404, "client-unknown")
    problem(api.get(f"/clients/{client}/timeline", "agent"), 403, "wrong-role")
    [newest] = api.items("/access", subject="advisor", limit=1)
    assert (newest["resource"], newest["requests"]) == ("GET /clients/{client}/timeline", [1, 3, 4])


def test_a_case_has_what_was_recommended_beside_what_was_decided(acting: Acting) -> None:
    """Lines that the edit changed are marked; declines and confirmations are there, with roles and words."""
    case = acting.api.get("/cases/1").json()
    [recommendation] = case["recommendations"]
    changed = {line["path"]: (line["recommended"], line["decided"]) for line in recommendation["lines"]}
    assert changed == {"weights.cash": ("1.0000", "0.6000"), "weights.bonds": (None, "0.4000")}
    assert all(line["changed"] for line in recommendation["lines"])
    assert [(decision["state"], decision["confirmation"]) for decision in case["decisions"]] == [
        ("declined", "decline"),
        ("effective", "approve"),
    ]
    said = [step["values"].get("rationale") for step in case["events"] if step["type"] == "recommendation.confirmed"]
    assert said == ["too much cash", "seen"]
    assert {step["actor"]["role"] for step in case["events"]} == {"advisor", "agent", "compliance"}
    assert case["request"]["notes"] == "private"
    assert case["proof"] == {"last_position": case["events"][-1]["position"], "checkpoint": None}
    assert case["client"] == number_of(acting.api, "client-1")
    problem(acting.api.get("/cases/99"), 404, "request-unknown")
    problem(acting.api.get("/cases/1", "admin"), 403, "wrong-role")


def test_a_case_as_of_a_position_has_nothing_from_later(acting: Acting) -> None:
    """A case as of each position of its own has the events up to there, and nothing that came after."""
    api = acting.api
    now = api.get("/cases/1").json()
    problem(api.get("/cases/1", as_of=now["events"][0]["position"] - 1), 404, "request-unknown")
    for last, step in enumerate(now["events"], 1):
        then = api.get("/cases/1", as_of=step["position"]).json()
        assert then["events"] == now["events"][:last]
        assert all(row["id"] <= step["position"] for row in [*then["recommendations"], *then["decisions"]])
        told = [row["communicated_at"] for row in then["recommendations"]]
        assert (told[-1:] == [None]) or step["type"] == "recommendation.communicated" or not told


def test_knowledge_is_what_the_model_was_shown_beside_what_is_known_now(acting: Acting) -> None:
    """An earlier recommendation stands as it stood when the agent read it, and as it stands now; with the policies."""
    api = acting.api
    earlier = acting.proposed(client_id="client-7")
    request = api.asked(client_id="client-7")
    head = api.head()[0]
    call = acting.started(request, as_of=head, shown=[{"kind": "recommendation", "id": str(earlier)}])
    acting.decided(earlier)
    found = api.get(f"/cases/{request}/knowledge").json()
    [shown] = found["shown"]
    assert (shown["model_call_id"], shown["recommendation_id"], shown["as_of"]) == (call, earlier, head)
    assert (shown["then"]["state"], shown["now"]["state"]) == ("proposed", "approved")
    assert "four-eyes" in {policy["policy"]["name"] for policy in found["policies"]}
    assert api.get(f"/cases/{request}/knowledge", as_of=call - 1).json()["shown"] == []
    first = api.get("/cases/1").json()["events"][0]["position"]
    problem(api.get("/cases/1/knowledge", as_of=first - 1), 404, "request-unknown")


def test_a_diff_names_each_field_that_changed(acting: Acting) -> None:
    """Between two positions: the state, and a row for the decision that is new; nothing between the same ones."""
    api = acting.api
    recommendation = acting.proposed(client_id="client-8")
    request = api.get(f"/recommendations/{recommendation}").json()["request_id"]
    before = api.head()[0]
    decision = acting.decided(recommendation)["decision_id"]
    found = api.get(f"/cases/{request}/diff", since=before).json()
    changes = {(row["kind"], row["id"]): {field["path"]: field for field in row["fields"]} for row in found["changes"]}
    assert changes.keys() == {("recommendation", recommendation), ("decision", decision)}
    state = changes["recommendation", recommendation]["state"]
    assert (state["before"], state["after"]) == ("proposed", "approved")
    assert changes["decision", decision]["decided_by"]["before"] is None
    assert api.get(f"/cases/{request}/diff", since=before, as_of=before).json()["changes"] == []
    problem(api.get(f"/cases/{request}/diff", since=decision, as_of=before), 422, "invalid")
    everything = api.get(f"/cases/{request}/diff", as_of=before).json()["changes"]
    assert all(field["before"] is None for row in everything for field in row["fields"])


# How to fill a table of the other ledger, and from which rows.
COPIED = (
    (
        "INSERT INTO events VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        "SELECT * FROM events WHERE position <= %(last)s ORDER BY position",
    ),
    (
        "INSERT INTO sealed_fields VALUES (%s, %s::json, %s::json)",
        "SELECT position, salts::text, fields::text FROM sealed_fields WHERE position <= %(last)s",
    ),
    (
        "INSERT INTO stream_clients VALUES (%s, %s, %s)",
        "SELECT * FROM stream_clients WHERE stream IN (SELECT stream FROM events WHERE position <= %(last)s)",
    ),
    (
        "UPDATE head SET position = %s, hash = %s, recorded_at = %s",
        "SELECT position, hash, recorded_at FROM events WHERE position = %(last)s",
    ),
)
PATHS = (
    "/cases/1",
    "/cases/3",
    "/clients/1/timeline",
    "/clients/2/timeline?limit=3",
    "/cases/1/diff?since=1",
    "/events?order=oldest&limit=200",
)


@contextlib.contextmanager
def ledger_up_to(server_url: str, template: Template, source: str, last: int) -> Iterator[str]:
    """Yield the URL of another ledger that has the events of `source` up to a position, and no other."""
    name = f"upto_{uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        copy_database(admin, template.name, name)
        try:
            url = make_conninfo(server_url, dbname=name)
            with connect(source) as old, connect(url) as new:
                for table in ("events", "sealed_fields", "stream_clients", "head"):
                    new.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER ALL").format(sql.Identifier(table)))
                for statement, query in COPIED:
                    rows = old.execute(query, {"last": last}).fetchall()
                    with new.cursor() as cursor:
                        cursor.executemany(statement, rows)
            rebuild_read_models(url, list(READ_MODELS))
            yield url
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.mark.slow
def test_as_of_is_what_a_ledger_of_that_moment_says(
    acting: Acting, server_url: str, template_database: Template
) -> None:
    """Each route as of T answers as a fresh ledger that got only the events up to T does without as_of."""
    api = acting.api
    last = api.get("/cases/3").json()["events"][-1]["position"]

    @settings(max_examples=4, deadline=None, phases=[Phase.generate])
    @given(moment=st.integers(last // 2, last))
    def check(moment: int) -> None:
        with (
            ledger_up_to(server_url, template_database, api.url, moment) as url,
            served(url, tokens=api.tokens, read_only=True) as fresh,
        ):
            for path in PATHS:
                then = api.call("GET", f"{path}{'&' if '?' in path else '?'}as_of={moment}", "compliance")
                now = fresh.call("GET", path, "compliance")
                assert (then.status_code, then.json()) == (now.status_code, now.json()), (path, moment)

    check()


keys = st.sampled_from(["a", "b", "asset_class", "weight"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["x", "y"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, phases=[Phase.generate])
@given(before=values, after=values)
def test_no_line_changed_means_the_same_content(before: Any, after: Any) -> None:
    """Two contents differ if and only if a line of theirs does, and a content has no change to itself."""
    assert changed_fields({"c": before}, {"c": before}) == []
    same = json.dumps(before, sort_keys=True) == json.dumps(after, sort_keys=True)
    reordered = {line.path for line in lines({"c": before}, {"c": after})} == {
        line.path for line in lines({"c": before}, {"c": before})
    }
    changed = changed_fields({"c": before}, {"c": after})
    assert not (changed and same)
    # Items that a member identifies may stand in another order.
    assert changed or reordered

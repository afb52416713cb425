"""migrate, rebuild, status, verify and tokens on a real ledger: what they print, as text and JSON, and exit codes."""

from __future__ import annotations

import pytest
from psycopg.conninfo import make_conninfo

from ledger.proof.findings import CHAIN
from ledger.store.envelope import NewEvent, uuid7
from projections.engine import step
from projections.registry import all_models
from schema.events import ModelCallFailed, ModelCallStarted
from schema.migrate import migrate
from tests.api.program import Ran, cli
from tests.projections.poison import poison
from tests.support import CLERK, append, connect, login_role, new, requested, scratch_database
from tests.tampering import tamper

NAMES = [read_model.name for read_model in all_models()]


def on(url: str, *arguments: str) -> Ran:
    """Runs a command on this database."""
    return cli(*arguments, "--database-url", url)


@pytest.fixture
def ledger(database_url: str) -> str:
    """A ledger with three requests of one client, all of them in the read models."""
    with connect(database_url) as conn:
        migrate(conn)  # what the owner may do in a database does not come along when one is copied
    with connect(database_url, "writer") as conn:
        append(conn, *(new("request-", requested(notes=f"note {number}")) for number in range(3)))
    with connect(database_url, "owner") as conn:
        for read_model in all_models():
            step(conn, read_model)
    return database_url


def test_migrate_makes_a_ledger_once(server_url: str) -> None:
    """The first run applies all and builds the read models; the second changes nothing; the name stays."""
    with scratch_database(server_url) as url:
        first = on(url, "migrate", "--origin", "example.org/ledger", "--json")
        assert (first.code, first.err) == (0, "")
        made = first.json()
        assert (made["origin"], made["schema"]) == ("example.org/ledger", "ledger")
        assert made["applied"][0] == "0001_events"
        assert [report["name"] for report in made["rebuilt"]] == NAMES
        second = on(url, "migrate")
        assert second.code == 0
        assert second.out.splitlines() == [
            "ledger example.org/ledger (schema ledger)",
            "migrations applied: none, it was up to date",
        ]
        assert on(url, "migrate", "--origin", "other").failed_with("named example.org/ledger already")
        assert on(url, "status").code == 0


def test_a_name_that_no_ledger_can_have(server_url: str) -> None:
    """The rule is said, and no ledger is made."""
    with scratch_database(server_url) as url:
        assert on(url, "migrate", "--origin", "a b").failed_with("1 to 200 characters")
        assert on(url, "status").failed_with("no ledger yet")


@pytest.mark.slow
def test_a_login_that_may_not_migrate_is_refused_with_what_it_lacks(database_url: str) -> None:
    """migrate, rebuild and tokens are refused with what is lacking; status shows what the login may see."""
    with login_role(database_url, "PASSWORD 'test'", member_of="ledger_reader") as login:
        url = make_conninfo(database_url, user=login, password="test")
        assert on(url, "migrate").failed_with("may not", "migrate with a login that may create roles")
        assert on(url, "rebuild").failed_with(login, "ledger_owner")
        assert on(url, "subjects", "add", "ann").failed_with(login, "ledger_writer")
        assert on(url, "verify").failed_with(login, "ledger_verifier")
        found = on(url, "status", "--json").json()
    assert (found["position"], found["requests_queued"]) == (0, 0)


def test_rebuild_says_what_differed(ledger: str) -> None:
    """0 while the tables hold what the chain says; 1 when rows differed, and 0 again afterwards."""
    ran = on(ledger, "rebuild", "--json")
    assert ran.code == 0
    rows = {"portfolio_requests": 3, "event_index": 3, "event_texts": 3}
    assert ran.json() == [
        {"name": name, "position": 3, "rows": rows.get(name, 0), "differing": 0, "set_aside": []} for name in NAMES
    ]
    with connect(ledger, "owner") as conn:
        conn.execute("UPDATE portfolio_requests SET amount_usd = 1 WHERE id = 2")
        conn.execute("DELETE FROM portfolio_requests WHERE id = 3")
    ran = on(ledger, "rebuild", "portfolio_requests")
    assert (ran.code, ran.out) == (1, "rebuilt portfolio_requests up to position 3: 3 rows, 2 differed\n")
    assert on(ledger, "rebuild", "portfolio_requests").code == 0
    assert on(ledger, "rebuild", "nonsense").failed_with("no read model 'nonsense'", "ai_recommendations")


def test_status_tells_what_is_wrong(ledger: str) -> None:
    """0 and the figures while all is well; 1 for a stopped, an outdated and a missing read model, each by name."""
    ran = on(ledger, "status", "--json")
    assert ran.code == 0
    found = ran.json()
    assert (found["ok"], found["position"], found["requests_queued"], found["migrations_pending"]) == (True, 3, 3, [])
    assert (len(found["hash"]), found["credentials"]) == (64, {"good": 0, "ended": 0})
    assert found["recorded_at"].endswith("Z")
    standing = [(one["name"], one["state"], one["position"], one["lag"]) for one in found["read_models"]]
    assert standing == [(name, "ok", 3, 0) for name in NAMES]
    with connect(ledger, "owner") as conn:
        conn.execute("UPDATE projections SET error = 'no such column', position = 1 WHERE name = 'portfolio_requests'")
        conn.execute("UPDATE projections SET digest = 'old' WHERE name = 'ai_recommendations'")
    ran = on(ledger, "status")
    assert ran.code == 1
    assert "portfolio_requests  stopped   1         2    no such column" in ran.out
    assert "ai_recommendations  outdated  3" in ran.out
    with connect(ledger, "owner") as conn:
        conn.execute("DELETE FROM projections")
    ran = on(ledger, "status", "--json")
    assert (ran.code, ran.json()["ok"]) == (1, False)
    assert [one["state"] for one in ran.json()["read_models"]] == ["never built"] * len(NAMES)
    assert on(ledger, "migrate").code == 0
    assert on(ledger, "status").code == 0


@pytest.mark.slow
def test_orphans_are_calls_without_an_end(ledger: str) -> None:
    """1 and each call by id, request, agent and model while there are some, 0 else; status counts the old ones."""
    started = ModelCallStarted(provider_name="somebody", request_model="some-model")
    with connect(ledger, "writer") as conn:
        first, ended = append(conn, new("request-2", started), new("request-3", started))
        over = NewEvent(uuid7(), "request-3", ModelCallFailed(error_type="timeout"), CLERK, causation=ended.id)
        append(conn, over, new("trace-0123456789abcdef0123456789abcdef", started))
    assert "is 4 events behind" in on(ledger, "orphans").err
    with connect(ledger, "owner") as conn:
        for read_model in all_models():
            step(conn, read_model)
    ran = on(ledger, "orphans")
    assert (ran.code, ran.out, ran.err) == (0, "no model call has been open for 300 s\n", "")
    assert on(ledger, "status", "--json").json()["model_calls_orphaned"] == 0
    with login_role(ledger, "PASSWORD 'test'", member_of="ledger_reader") as login:
        ran = on(make_conninfo(ledger, user=login, password="test"), "orphans", "--older-than", "0", "--json")
    found = ran.json()
    assert (ran.code, ran.err) == (1, "")
    assert [(one["id"], one["request_id"]) for one in found] == [(first.position, 2), (7, None)]
    assert {(one["agent"], one["model"]) for one in found} == {("clerk", "some-model")}
    assert all(0 <= one["age_s"] < 100 for one in found)
    with connect(ledger, "owner") as conn:
        conn.execute("UPDATE model_calls SET created_at = created_at - interval '1 day' WHERE id = 4")
    ran = on(ledger, "orphans")
    assert ran.code == 1
    assert [line.split()[:4] for line in ran.out.splitlines()[1:]] == [["4", "2", "clerk", "some-model"]]
    assert "1 day, 0:00:0" in ran.out
    ran = on(ledger, "status")
    assert ran.code == 0
    assert "orphans  1 model call open for 300 s or longer; advice-ledger orphans lists them\n" in ran.out


def test_verify_names_each_step_and_what_is_not_proven(ledger: str) -> None:
    """Exit 0, every step by its number, and the plain statement that a rewritten suffix would not be seen."""
    ran = on(ledger, "verify")
    assert (ran.code, ran.err) == (0, "")
    for number, promise in CHAIN.steps.items():
        assert f"{number:>3}. {promise}: {'nothing is signed' if number == 10 else 'holds'}" in ran.out
    assert "3 events, positions 1 to 3" in ran.out
    assert "6 sealed values open" in ran.out
    assert "not proven: a rewrite of the events" in ran.out
    assert ran.out.endswith("CONSISTENT, NOT SIGNED: all of the above holds, and no checkpoint covers an event\n")


def test_verify_of_an_empty_ledger_finds_and_claims_nothing(database_url: str) -> None:
    """Nothing is wrong with it, and nothing is claimed."""
    ran = on(database_url, "verify", "--json")
    assert ran.code == 0
    found = ran.json()
    assert (found["ok"], found["events"], found["head_hash"], found["first_bad_position"]) == (True, 0, None, None)


@pytest.mark.tampers
def test_verify_finds_an_edited_body(ledger: str) -> None:
    """Exit 1, and kind and position in text and JSON alike."""
    tamper(ledger, "UPDATE events SET body = replace(body, 'balanced', 'aggressive') WHERE position = 2")
    ran = on(ledger, "verify", "--json")
    assert ran.code == 1
    found = ran.json()
    assert (found["ok"], found["first_bad_position"]) == (False, 2)
    assert [(one["step"], one["kind"], one["position"]) for one in found["findings"]] == [(3, "edited", 2)]
    assert found["covered_by_checkpoint"] is None
    assert "not detectable without a trusted checkpoint" in found["not_proven"][0]
    ran = on(ledger, "verify")
    assert ran.code == 1
    assert "3. each hash is that of its event: FAILS, 1 finding" in ran.out
    assert "edited at position 2:" in ran.out
    assert ran.out.endswith("FAILED: the first bad position is 2\n")


@pytest.mark.tampers
@pytest.mark.slow
def test_verify_shows_so_many_findings(ledger: str) -> None:
    """--max-findings shortens the list and says how many are left out; the verdict is that of all."""
    tamper(ledger, 'UPDATE sealed_fields SET fields = \'{"client_id":"other"}\'')
    most = on(ledger, "verify", "--json").json()
    assert len(most["findings"]) > 2
    ran = on(ledger, "verify", "--json", "--max-findings", "1")
    found = ran.json()
    assert (ran.code, found["findings"]) == (1, most["findings"][:1])
    assert found["more_findings"] == len(most["findings"]) - 1
    assert f"{len(most['findings']) - 1} more findings are not shown" in on(ledger, "verify", "--max-findings", "1").out


@pytest.mark.slow
def test_verify_finds_drift_of_read_models(ledger: str) -> None:
    """Each differing row by id and kind, exit 1; with --no-projections the chain alone, and the output says so."""
    with connect(ledger, "owner") as conn:
        conn.execute("UPDATE portfolio_requests SET amount_usd = 1 WHERE id = 1")
        conn.execute("DELETE FROM portfolio_requests WHERE id = 2")
    ran = on(ledger, "verify", "--no-projections")
    assert (ran.code, "11. each read model holds what folding the chain gives: NOT CHECKED" in ran.out) == (0, True)
    left_out = on(ledger, "verify", "--no-projections", "--json").json()
    assert (left_out["read_models"], "--no-projections" in left_out["not_proven"][-1]) == ([], True)
    ran = on(ledger, "verify", "--json")
    found = ran.json()
    assert (ran.code, found["ok"], found["findings"]) == (1, False, [])
    assert not [claim for claim in found["not_proven"] if "read models" in claim]
    wrong = found["read_models"][0]["differences"]
    assert [(one["id"], one["kind"]) for one in wrong] == [(1, "differs"), (2, "missing")]
    ran = on(ledger, "verify", "--max-findings", "1")
    assert "portfolio_requests up to position 3: 2 rows, at least 1 differ" in ran.out
    assert "projection-drift: portfolio_requests id 1 differs" in ran.out
    assert ran.out.endswith("FAILED: the chain holds, but a read model does not follow it\n")


def test_verify_needs_the_verifiers_rights_alone(ledger: str) -> None:
    """An auditor's login that is member of ledger_verifier runs it, read models included."""
    with login_role(ledger, "PASSWORD 'test'", member_of="ledger_verifier") as login:
        assert on(make_conninfo(ledger, user=login, password="test"), "verify").code == 0


@pytest.mark.slow
def test_a_stream_that_was_set_aside_is_said_everywhere(ledger: str) -> None:
    """rebuild and status exit 1 and name it; `verify` names it, and it is no drift."""
    with connect(ledger) as conn:
        poison(conn)
    line = "the read model portfolio_requests has set aside the stream 'request-4' from position 4 on (SQLSTATE 23502)"
    aside = {"read_model": "portfolio_requests", "stream": "request-4", "position": 4, "sqlstate": "23502"}
    built = on(ledger, "rebuild")
    assert (built.code, line in built.out.splitlines()) == (1, True)
    assert "portfolio_requests up to position 4: 3 rows, none differed" in built.out
    report = next(found for found in on(ledger, "rebuild", "--json").json() if found["name"] == "portfolio_requests")
    assert report["set_aside"] == [aside]
    told = on(ledger, "status")
    assert (told.code, line in told.out.splitlines()) == (1, True)
    assert on(ledger, "status", "--json").json()["streams_set_aside"] == [aside]
    verified = on(ledger, "verify")
    assert (verified.code, f"       {line}" in verified.out.splitlines()) == (0, True)

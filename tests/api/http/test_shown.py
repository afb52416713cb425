"""What a person decides about is what was recorded: a read model that somebody edited is not shown.

The attacker is the login of the projector, which may write read models and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from advice_ledger_client import ContentMismatch, LedgerClient
from advice_ledger_client.shown import checked, digest_of
from psycopg import sql

from ledger.proof.format.canonical import canonical
from projections.ai_recommendations.model import AI_RECOMMENDATIONS
from projections.clients.model import CLIENTS
from projections.decisions.model import DECISIONS
from projections.model_calls.model import MODEL_CALLS
from projections.portfolio_requests.model import PORTFOLIO_REQUESTS
from projections.rebuild import rebuild_read_models
from projections.registry import READ_MODELS
from projections.subjects.model import SUBJECTS
from tests.api.acting import EDIT, Acting, answer_of, second_tokens
from tests.api.served import Api, problem
from tests.support import connect, eventually
from tests.tampering import tamper

EDIT_ROW = """
    BEGIN;
    CREATE TEMP TABLE keep AS SELECT * FROM {table} WHERE id = {id};
    DELETE FROM {table} WHERE id = {id};
    INSERT INTO {table} SELECT (jsonb_populate_record(k, {members})).* FROM keep k;
    COMMIT;
    DROP TABLE keep
"""
EVIL = '{"allocations": [{"asset": "crypto", "weight": "1.0000"}]}'


@pytest.fixture
def act(fresh_api: Api) -> Iterator[Acting]:
    """An application of the test's own, with two tokens of each role. Its read models are right again at the end."""
    second_tokens(fresh_api)
    yield Acting(fresh_api)
    rebuild_read_models(fresh_api.url, list(READ_MODELS))


CAUGHT_UP = "SELECT p.position = h.position FROM projections p, head h WHERE p.name = 'ai_recommendations'"


def edit_row(api: Api, table: str, row_id: int, members: str) -> None:
    """Change members of a row of a read model, with the rights of the projector alone."""
    statement = sql.SQL(EDIT_ROW).format(
        table=sql.Identifier(table), id=sql.Literal(row_id), members=sql.Literal(members)
    )
    with connect(api.url) as conn:
        grant = sql.SQL("GRANT TEMPORARY ON DATABASE {} TO ledger_projector")
        conn.execute(grant.format(sql.Identifier(conn.info.dbname)))
    with connect(api.url, "projector") as conn:
        conn.execute(statement)


def get(api: Api, path: str) -> dict[str, Any]:
    """Read a row."""
    response = api.call("GET", path, "advisor")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_an_edited_recommendation_is_not_shown_and_not_decided(act: Acting) -> None:
    """503 for the row, its list and its client's list, and nothing recorded; after a rebuild it is shown again."""
    api, at = act.api, act.proposed()
    shown = get(api, f"/recommendations/{at}")
    edit_row(api, "ai_recommendations", at, f'{{"recommendation": {EVIL}}}')
    with api.records_nothing():
        for path in (f"/recommendations/{at}", "/recommendations"):
            detail = problem(api.call("GET", path, "advisor"), 503, "content-altered")["detail"]
            assert f"ai_recommendations {at} is not what was recorded (recommendation)" in detail
    # As of a position the row comes from the chain.
    position = api.head()[0]
    assert get(api, f"/recommendations/{at}?as_of={position}")["recommendation"] == shown["recommendation"]
    rebuild_read_models(api.url, list(READ_MODELS))
    assert get(api, f"/recommendations/{at}") == shown


ALTERED = {
    '{"prompt": "another question"}': "prompt",
    '{"recommendation": null}': "recommendation",
    '{"digest": "' + "e" * 64 + '"}': "digest",
    '{"rationale": "it was checked"}': "rationale",
    '{"replacement": ' + EVIL + "}": "replacement",
    '{"replacement_digest": "' + "e" * 64 + '"}': "replacement_digest",
    '{"decision_id": null}': "decision_id",
    '{"client_id": "another"}': "client_id",
    '{"message": "sell all"}': "message",
    '{"state": "approved"}': "state",
    '{"decided_by": "nobody"}': "decided_by",
    '{"model_name": "another"}': "model_name",
    '{"request_id": 1}': "request_id",
    '{"parameters": {"seed": 7}}': "parameters",
    '{"created_at": "2020-01-01T00:00:00Z"}': "created_at",
}
OF_DECISIONS = {
    *("digest", "rationale", "replacement", "replacement_digest", "client_id", "state", "decided_by"),
    *("model_name", "request_id", "created_at"),
}


# What lists check too.
OPENED = {
    *("prompt", "recommendation", "digest", "rationale", "replacement", "replacement_digest"),
    *("client_id", "message", "request_id"),
}


def test_each_member_of_a_single_row_is_compared(act: Acting) -> None:
    """Of an edited recommendation and of its decision, sealed or in clear; each is named."""
    for members, name in ALTERED.items():
        at = act.proposed()
        decided = act.decided(at, **EDIT)["decision_id"]
        places = [("ai_recommendations", at, f"/recommendations/{at}")]
        if name in OF_DECISIONS and "decision_id" not in members:
            places.append(("decisions", decided, f"/decisions/{decided}"))
        for table, row_id, path in places:
            get(act.api, path)
            edit_row(act.api, table, row_id, members)
            detail = problem(act.api.call("GET", path, "advisor"), 503, "content-altered")["detail"]
            assert name in detail.partition("(")[2], (table, members)


def test_lists_open_the_commitments(act: Acting) -> None:
    """A list of recommendations or decisions is not shown if a sealed member or a digest of a row was edited."""
    sealed = {name: members for members, name in ALTERED.items() if name in OPENED}
    assert len(sealed) == len(OPENED)
    for name, members in sealed.items():
        at = act.proposed()
        act.decided(at, **EDIT)
        get(act.api, f"/recommendations/{at}")
        edit_row(act.api, "ai_recommendations", at, members)
        detail = problem(act.api.call("GET", "/recommendations?limit=1", "advisor"), 503, "content-altered")["detail"]
        assert name in detail.partition("(")[2], members


def test_a_list_opens_the_words_to_the_client(act: Acting) -> None:
    """Changed or taken away after the client was told, they are not shown in a list; as they were, they are."""
    for members in ('{"message": "sell all"}', '{"message": null}'):
        at = act.proposed()
        act.decided(at)
        told = act.tell(at, message="as agreed")
        assert told.status_code == 201, told.text
        assert get(act.api, "/recommendations?limit=1")["items"][0]["message"] == "as agreed"
        edit_row(act.api, "ai_recommendations", at, members)
        detail = problem(act.api.call("GET", "/recommendations?limit=1", "advisor"), 503, "content-altered")["detail"]
        assert "message" in detail.partition("(")[2], members
        rebuild_read_models(act.api.url, [AI_RECOMMENDATIONS])


OF_REQUESTS = {
    '{"client_id": "another"}': "client_id",
    '{"notes": "nothing said"}': "notes",
    '{"objectives": ["growth"]}': "objectives",
    '{"amount_usd": 1}': "amount_usd",
    '{"risk_profile": "aggressive"}': "risk_profile",
    '{"status": "failed"}': "status",
    '{"requested_by": "nobody"}': "requested_by",
}
OF_CALLS = {
    '{"client_id": "another"}': "client_id",
    '{"request_id": 1}': "request_id",
    '{"request_model": "another"}': "request_model",
    '{"state": "failed"}': "state",
    '{"usage_input_tokens": 7}': "usage_input_tokens",
    '{"agent": "nobody"}': "agent",
}
IN_LISTS = {"client_id", "notes", "objectives", "request_id"}


def test_requests_and_model_calls_are_compared_too(act: Acting) -> None:
    """Each member of a single row; in lists those that a commitment of the request's first event covers."""
    api = act.api
    for read_model, path, altered in (
        (PORTFOLIO_REQUESTS, "/portfolio/requests", OF_REQUESTS),
        (MODEL_CALLS, "/model-calls", OF_CALLS),
    ):
        table = read_model.name
        for members, name in altered.items():
            row_id = act.api.asked(notes="as told", objectives=["income"])
            if table == "model_calls":
                row_id = act.started(row_id)
            get(api, f"{path}/{row_id}")
            assert get(api, f"{path}?limit=1")["items"][0]["id"] == row_id
            edit_row(api, table, row_id, members)
            single = problem(api.call("GET", f"{path}/{row_id}", "advisor"), 503, "content-altered")["detail"]
            assert name in single.partition("(")[2], (table, members)
            listed = api.call("GET", f"{path}?limit=1", "advisor")
            assert listed.status_code == (503 if name in IN_LISTS else 200), (table, members)
            rebuild_read_models(api.url, [read_model])


def test_lists_open_what_later_events_sealed(act: Acting) -> None:
    """Why a request failed, why a decision was confirmed, who a client is, why an agent was suspended."""
    api = act.api
    failed = api.asked()
    assert act.fail(failed, detail="no data").status_code == 201
    at = act.proposed(amount_usd="2000000.00")
    confirmed = act.confirm(act.decided(at), rationale="as agreed")
    assert confirmed.status_code == 201, confirmed.text
    assert act.command("agent", "suspensions", reason="it is wrong").status_code == 201
    for read_model, path, role, name, found in (
        (PORTFOLIO_REQUESTS, "/portfolio/requests?status=failed", "advisor", "failure_detail", "no data"),
        (DECISIONS, "/decisions?limit=1", "advisor", "second_rationale", "as agreed"),
        (CLIENTS, "/clients?limit=1", "advisor", "client_id", None),
        (SUBJECTS, "/agents", "admin", "suspend_reason", "it is wrong"),
    ):
        row = next(each for each in api.call("GET", path, role).json()["items"] if found in {None, each[name]})
        for other in ('"another"', "null"):
            edit_row(api, read_model.name, row["id"], f'{{"{name}": {other}}}')
            detail = problem(api.call("GET", path, role), 503, "content-altered")["detail"]
            assert name in detail.partition("(")[2], (path, other)
            rebuild_read_models(api.url, [read_model])
            assert api.call("GET", path, role).status_code == 200


def test_values_that_the_owner_changed_are_not_shown(act: Acting) -> None:
    """In the side table, with the read models rebuilt from it: nothing that a list or a single answer shows."""
    api = act.api
    request = api.asked(notes="as told")
    call = act.started(request, input_messages=[{"role": "user", "parts": [{"type": "text", "content": "hello"}]}])
    replace = (
        "UPDATE sealed_fields SET fields = replace(replace(fields::text, '{}', '{}'), '{}', '{}')::json"
        " WHERE position > 0"
    )
    tamper(api.url, replace.format("as told", "as said", "hello", "holla"))
    rebuild_read_models(api.url, list(READ_MODELS))
    for path in (f"/portfolio/requests/{request}", "/portfolio/requests?limit=1", f"/model-calls/{call}"):
        problem(api.call("GET", path, "advisor"), 503, "content-altered")
    tamper(api.url, replace.format("as said", "as told", "holla", "hello"))


def test_a_row_that_was_deleted_or_invented_is_not_shown(act: Acting) -> None:
    """503, not 404 or 200: an event says that the row exists, or none does."""
    at = act.proposed()
    get(act.api, f"/recommendations/{at}")
    edit_row(act.api, "ai_recommendations", at, f'{{"id": {at + 1000}}}')
    for row_id in (at, at + 1000):
        problem(act.api.call("GET", f"/recommendations/{row_id}", "advisor"), 503, "content-altered")


def test_a_table_of_another_version_is_not_what_is_shown(act: Acting) -> None:
    """A single row then comes from the chain, so a false version hides no edit."""
    at = act.proposed()
    shown = get(act.api, f"/recommendations/{at}")
    edit_row(act.api, "ai_recommendations", at, '{"model_name": "another"}')
    with connect(act.api.url, "projector") as conn:
        # Reads are events too, and nothing moves a table of another version.
        eventually("nothing waits", lambda: conn.execute(CAUGHT_UP).fetchone() == (True,))
        conn.execute("UPDATE projections SET digest = 'another version' WHERE name = 'ai_recommendations'")
    assert get(act.api, f"/recommendations/{at}") == shown


def test_the_salt_opens_the_digest_that_is_decided_about(act: Acting) -> None:
    """Anybody can compute the digest from the answer: of the recommendation, and after an edit of the replacement."""
    at = act.proposed()
    row = get(act.api, f"/recommendations/{at}")
    text = canonical(["recommendation", row["recommendation"]])
    salt = bytes.fromhex(row["salts"]["recommendation"])
    assert hashlib.sha256(b"advice-ledger/sealed/v1\n" + salt + text).hexdigest() == row["digest"]
    decided = act.decided(at, **EDIT)
    for path in (f"/recommendations/{at}", f"/decisions/{decided['decision_id']}"):
        row = get(act.api, path)
        salt = bytes.fromhex(row["salts"]["replacement"])
        assert digest_of("replacement", row["replacement"], salt) == row["replacement_digest"]


def test_numbers_open_as_they_were_recorded(act: Acting) -> None:
    """Also those that PostgreSQL writes in another way than canonical JSON."""
    answer = answer_of("1.0000")
    answer["recommendation"] |= {"return": 0.1, "tiny": 1e-30, "count": 3.0, "limit": 9007199254740991}
    request = act.api.asked()
    made = act.post(f"/portfolio/requests/{request}/recommendations", "agent", answer)
    assert made.status_code == 201, made.text
    row = get(act.api, f"/recommendations/{made.json()['recommendation_id']}")
    assert checked(row) is row


def test_the_client_checks_what_the_server_shows(act: Acting) -> None:
    """Content, salt or digest that a server made up raise, and so does content without a salt."""
    at = act.proposed()
    with LedgerClient(act.api.base, act.api.tokens["advisor"]) as client:
        row = client.recommendation(at)
        assert client.recommendations()[0] == row
    evil: dict[str, Any] = {"allocations": []}
    changes: list[dict[str, Any]] = [
        {"recommendation": evil},
        {"salts": {}},
        {"salts": {"recommendation": "zz"}},
        {"salts": None},
        {"digest": "e" * 64},
        {"replacement": evil, "replacement_digest": row["digest"]},
        {"recommendation": evil, "replacement_digest": row["digest"]},
    ]
    for change in changes:
        with pytest.raises(ContentMismatch, match=str(at)):
            checked({**row, **change})
    assert checked({**row, "recommendation": None, "salts": {}})

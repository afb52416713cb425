"""The check of a read model finds every row that differs from the chain, by id, and nothing else."""

from __future__ import annotations

import threading

import pytest

from ledger.database import Connection
from projections.compare import ReadModelCheck, RowDifference, check
from projections.read_model import ReadModel
from projections.rebuild import rebuild_read_models
from projections.registry import READ_MODELS
from schema.events import ModelCallStarted
from tests.projections.scenes import ANSWERS, CALLS, REQUESTS, answer, ask, catch_up, swap_in_hand, waits_for_a_lock
from tests.support import append, connect, eventually, new, requested

COPY = (
    "INSERT INTO portfolio_requests SELECT (jsonb_populate_record(r, '{\"id\": 99}')).* FROM portfolio_requests r"
    " WHERE id = 1"
)
CLIENTS = "SELECT client_id FROM model_calls"


def checked(url: str, read_model: ReadModel, most: int = 1000) -> ReadModelCheck:
    """Check as the verifier does."""
    with connect(url, "verifier") as conn:
        return check(conn, read_model, most=most)


def history(conn: Connection) -> None:
    """Append six requests: 3 and 6 failed, 1 and 2 were answered, 4 and 5 wait. The read models are up to date."""
    ids = ask(conn, 6)
    answer(conn, [ids[0], ids[1], ids[2], ids[5]])
    catch_up(conn)


def test_a_true_table_has_no_difference(database_url: str) -> None:
    """A true table has no difference at its position, even behind the head."""
    with connect(database_url) as conn:
        history(conn)
        ask(conn, 2)
    assert checked(database_url, REQUESTS) == ReadModelCheck("portfolio_requests", 10, 6, None, (), False)
    assert checked(database_url, ANSWERS) == ReadModelCheck("ai_recommendations", 10, 2, None, (), False)


def test_a_client_that_is_named_later_is_no_difference_before(database_url: str) -> None:
    """A table that lags behind the event which names a stream's client is true; so is one that has folded it."""
    with connect(database_url) as conn:
        append(conn, new("request-1", ModelCallStarted(provider_name="p", request_model="m")))
        catch_up(conn)
        append(conn, new("request-1", requested()))
        assert checked(database_url, CALLS) == ReadModelCheck("model_calls", 1, 1, None, (), False)
        catch_up(conn)
        assert [client_id for (client_id,) in conn.execute(CLIENTS)] == ["client-1"]
    assert checked(database_url, CALLS) == ReadModelCheck("model_calls", 2, 1, None, (), False)


@pytest.mark.parametrize(
    ("tampering", "row_id", "kind"),
    [
        ("UPDATE portfolio_requests SET amount_usd = amount_usd + 0.01 WHERE id = 2", 2, "differs"),
        ("UPDATE portfolio_requests SET notes = NULL WHERE id = 3", 3, "differs"),
        ("UPDATE portfolio_requests SET objectives = '[]' WHERE id = 3", 3, "differs"),
        ("UPDATE portfolio_requests SET stream = 'request-5' WHERE id = 4", 4, "differs"),
        ("UPDATE portfolio_requests SET updated_at = updated_at + interval '1 microsecond' WHERE id = 1", 1, "differs"),
        ("DELETE FROM portfolio_requests WHERE id = 6", 6, "missing"),
        (COPY, 99, "unexpected"),
    ],
)
def test_each_tampering_is_found(database_url: str, tampering: str, row_id: int, kind: str) -> None:
    """A row that was edited in any column, deleted or made up is named, and no other row."""
    with connect(database_url) as conn:
        history(conn)
        conn.execute(tampering.encode())
    found = checked(database_url, REQUESTS)
    assert found.differences == (RowDifference("portfolio_requests", row_id, kind),)
    assert (found.error, found.truncated) == (None, False)
    assert checked(database_url, ANSWERS).differences == ()


def test_an_edited_recommendation_is_found(database_url: str) -> None:
    """An edit deep inside a recommendation is found."""
    with connect(database_url) as conn:
        history(conn)
        conn.execute("UPDATE ai_recommendations SET recommendation = jsonb_set(recommendation, '{cash}', '\"0.9\"')")
    assert [(found.id, found.kind) for found in checked(database_url, ANSWERS).differences] == [
        (7, "differs"),
        (8, "differs"),
    ]


def test_there_may_be_more_than_are_named(database_url: str) -> None:
    """The check names `most` differences at most, by lowest id, and says if there are more."""
    with connect(database_url) as conn:
        history(conn)
        conn.execute("UPDATE portfolio_requests SET status = 'sold'")
    assert [found.id for found in checked(database_url, REQUESTS, most=4).differences] == [1, 2, 3, 4]
    assert checked(database_url, REQUESTS, most=4).truncated
    assert not checked(database_url, REQUESTS, most=6).truncated


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        ("DROP TABLE portfolio_requests", "never built"),
        ("DELETE FROM projections", "another version"),
        ("UPDATE projections SET digest = 'old'", "another version"),
        ("ALTER TABLE portfolio_requests ADD comment text", "its columns"),
    ],
)
def test_what_cannot_be_compared_is_an_error(database_url: str, harm: str, reason: str) -> None:
    """If the table is missing, or another version made it, the check says so, and what to do."""
    with connect(database_url) as conn:
        history(conn)
        conn.execute(harm.encode())
    found = checked(database_url, REQUESTS)
    assert found.error is not None
    assert reason in found.error
    assert "advice-ledger rebuild" in found.error
    assert found.differences == ()


def test_a_standstill_is_told(database_url: str) -> None:
    """The check reports the recorded error of a read model."""
    with connect(database_url) as conn:
        history(conn)
        conn.execute("UPDATE projections SET error = 'it broke'")
    assert checked(database_url, REQUESTS).error == "it broke"


def test_a_check_that_begins_during_a_swap_is_not_misled(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check takes its snapshot after the swap: position and rows belong together, and no row is missed."""
    found: list[ReadModelCheck] = []
    thread = threading.Thread(target=lambda: found.append(checked(database_url, REQUESTS)))
    with connect(database_url) as conn:
        history(conn)
        ask(conn, 2)  # the new table has these, the position before the swap had not
        with swap_in_hand(database_url, monkeypatch):
            thread.start()
            eventually("a session waits for a lock", lambda: waits_for_a_lock(conn))
        thread.join(20)
    assert found == [ReadModelCheck("portfolio_requests", 12, 8, None, (), False)]


def test_rebuilds_meanwhile_do_not_mislead_it(database_url: str) -> None:
    """Checks that run while tables are swapped again and again find no difference."""
    stopping = threading.Event()
    found: list[ReadModelCheck] = []

    def check_on() -> None:
        with connect(database_url, "verifier") as verifier:
            while not stopping.is_set():
                found.extend(check(verifier, read_model) for read_model in READ_MODELS)

    with connect(database_url) as conn:
        history(conn)
    thread = threading.Thread(target=check_on)
    thread.start()
    try:
        for _ in range(5):
            rebuild_read_models(database_url, list(READ_MODELS))
    finally:
        stopping.set()
        thread.join(20)
    assert found
    assert {(one.error, one.differences) for one in found} == {(None, ())}

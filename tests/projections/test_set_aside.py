"""A stream that a fold cannot take is set aside, listed, and stops nothing: live, in a rebuild and as of a position."""

from __future__ import annotations

import asyncio
import logging
import random
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ledger.database import Connection, connect_async, conninfo
from ledger.errors import StreamSetAside
from projections import compare, rebuild, registry
from projections.client_history import client_history
from projections.engine import step
from projections.read_model import UP_TO, ReadModel
from projections.reads import AsOf, count_set_aside
from projections.registry import READ_MODELS
from projections.rows import read_rows
from projections.set_aside import Cause, SetAside, cause_of, listed
from schema.events import Event, ModelCallStarted
from tests.projections.poison import poison, poisoned
from tests.projections.scenes import (
    ANSWERS,
    REQUESTS,
    SECRET,
    answer,
    ask,
    assert_true_to_the_chain,
    catch_up,
    decided,
    edited_copy,
    following,
    head,
    recommended,
    standing,
    table,
)
from tests.support import append, append_text, connect, eventually, new, requested

LONG_ID = random.Random(7).randbytes(50_000).hex()
# In the mended fold, an amount that is not a number becomes 0.
CAST, MENDED_CAST = "money(request.data->>'amount_usd')", "coalesce(money(request.data->>'amount_usd'), 0)"
# An event in the stream of an answered request; its members that are wrong; the read models that cannot show it.
POISONS: dict[str, tuple[Event, dict[str, Any], list[str]]] = {
    "a member is missing": (recommended(), {"model_name": None}, ["ai_recommendations"]),
    "the actor is missing": (recommended(), {"actor": {}}, ["ai_recommendations"]),
    "no object": (ModelCallStarted(provider_name="p", request_model="m"), {"data": 7}, ["model_calls"]),
    "not a truth value": (decided(3), {"needs_second": "maybe"}, ["decisions"]),
    "not a position": (decided(3), {"recommendation_id": "x"}, []),
    "not a number": (recommended(), {"model_call_id": [1]}, []),
    "too large a number": (recommended(), {"model_call_id": "9" * 30}, []),
    "a number with an exponent": (recommended(), {"supersedes": 1e300}, []),
}


def history(conn: Connection) -> None:
    """Append two requests with answers, at positions 1 to 4."""
    append(conn, new("request-", requested("client-0")), new("request-", requested("client-1")))
    append(conn, new("request-1", recommended()), new("request-2", recommended()))


def agree(conn: Connection, url: str) -> list[SetAside]:
    """Assert that the live tables at the head are those of a rebuild, with the same list; return the list."""
    assert [standing(conn, read_model) for read_model in READ_MODELS] == [(head(conn), None)] * len(READ_MODELS)
    live, before = listed(conn), [table(conn, read_model) for read_model in READ_MODELS]
    reports = rebuild.rebuild_read_models(url, list(READ_MODELS))
    assert [found for report in sorted(reports, key=lambda one: one.name) for found in report.set_aside] == live
    assert [report.differing for report in reports] == [0] * len(READ_MODELS)
    assert (listed(conn), [table(conn, read_model) for read_model in READ_MODELS]) == (live, before)
    assert_true_to_the_chain(url)
    return live


def folded(conn: Connection, read_model: ReadModel, upto: int) -> list[Any]:
    """Return the rows as of a position."""
    query = sql.SQL("SELECT * FROM ({}) m ORDER BY id").format(read_model.rows(UP_TO))
    return conn.execute(query, {"upto": upto}).fetchall()


@pytest.mark.parametrize("name", POISONS)
def test_no_event_stops_a_read_model(database_url: str, name: str) -> None:
    """As the writer: the stream is set aside from that event on where it cannot be folded; everything else goes on."""
    event, changes, expected = POISONS[name]
    with connect(database_url) as conn, connect(database_url, "projector") as live:
        history(conn)
        catch_up(live)
        before = [table(conn, read_model) for read_model in READ_MODELS]
        with connect(database_url, "writer") as writer:
            append_text(writer, poisoned(new("request-1", event), **changes))
        append(conn, new("request-2", decided(4)), new("request-1", recommended()))
        catch_up(live)
        append(conn, new("request-1", recommended()))
        catch_up(live)
        found = agree(conn, database_url)
        assert found == [SetAside(model, "request-1", 5, "23502") for model in expected]
        for read_model, rows in zip(READ_MODELS, before, strict=True):
            assert folded(conn, read_model, 4) == rows
            assert folded(conn, read_model, head(conn)) == table(conn, read_model)
            streams = {row[0] for row in table(conn, read_model)}
            assert ("request-1" in streams) <= (read_model.name not in expected)


def test_a_value_too_long_for_an_index_stops_nothing(database_url: str) -> None:
    """The table's index refuses the row, not the fold. A rebuild fills a table with indexes then."""
    with connect(database_url) as conn, connect(database_url, "projector") as live:
        history(conn)
        append_text(conn, poisoned(new("request-1", decided(3)), actor={"id": LONG_ID, "kind": "human", "role": "a"}))
        catch_up(live)
        assert agree(conn, database_url) == [SetAside("decisions", "request-1", 5, "54000")]


def test_many_streams_are_set_aside_in_one_step(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Halving finds all of them; each is logged once, without values."""
    with connect(database_url) as conn:
        bad = []
        for number in range(60):
            if number % 7 == 3:
                bad.append(poison(conn))
            ask(conn, 2)
        with following(database_url):
            eventually("all are at the head", lambda: standing(conn, REQUESTS)[0] == head(conn))
            eventually("all are at the head", lambda: standing(conn, ANSWERS)[0] == head(conn))
        found = listed(conn)
        assert [aside.stream for aside in found] == bad
        assert len(table(conn, REQUESTS)) == 120
        ours = [record.levelno for record in caplog.records if record.name != "psycopg"]
        assert ours == [logging.ERROR] * len(bad)
        assert SECRET not in caplog.text
        catch_up(conn)
        agree(conn, database_url)


def test_a_mended_fold_takes_the_stream_back(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fold of a newer version that can take the events clears the list; then the stream is followed again."""
    with connect(database_url) as conn:
        ask(conn, 3)
        poison(conn)
        catch_up(conn)
        assert rebuild.rebuild_outdated(database_url) == []
        assert [aside.stream for aside in listed(conn)] == ["request-4"]
        mended = edited_copy(REQUESTS, tmp_path, "fold.sql", CAST, MENDED_CAST)
        monkeypatch.setattr(registry, "READ_MODELS", (mended, *READ_MODELS[1:]))
        (report,) = rebuild.rebuild_outdated(database_url)
        assert (report.rows, report.set_aside, listed(conn)) == (4, (), [])
        answer(conn, [4])
        while step(conn, mended):
            pass
        found = conn.execute("SELECT id, status FROM portfolio_requests WHERE stream = 'request-4'").fetchall()
        assert found == [(4, "recommended")]


@pytest.mark.parametrize("projector_role", [True, False], ids=["projector", "owner"])
def test_a_list_that_lies_is_drift(database_url: str, projector_role: bool) -> None:
    """`verify` lists set-aside streams, and reports one that can be folded and has no rows."""
    with connect(database_url) as conn, connect(database_url, "verifier") as verifier:
        ask(conn, 2)
        poison(conn)
        catch_up(conn)
        assert compare.check(verifier, REQUESTS).findings == ()
        role = connect(database_url, "projector" if projector_role else "owner")
        with role as liar:
            liar.execute("DELETE FROM portfolio_requests WHERE id = 1")
            liar.execute("INSERT INTO streams_set_aside VALUES ('portfolio_requests', 'request-1', 1, '22P02')")
        found = compare.check(verifier, REQUESTS)
        assert [aside.stream for aside in found.set_aside] == ["request-1", "request-3"]
        assert [finding.message for finding in found.findings] == [
            "portfolio_requests stream 'request-1' is set aside, and can be folded"
        ]
        rebuild.rebuild_read_models(database_url, [REQUESTS])
        assert compare.check(verifier, REQUESTS).findings == ()


@pytest.fixture
def two_poisoned(database_url: str) -> str:
    """Four requests with answers at 5, 6 and 8; then request-1 and request-4, both of client-0, are poisoned."""
    with connect(database_url) as conn:
        answer(conn, ask(conn, 4))
        poison(conn, "request-1")
        poison(conn, "request-4")
        catch_up(conn)
    return database_url


def test_reads_leave_out_what_was_set_aside_since(two_poisoned: str) -> None:
    """Lists and histories as of a position have the rows that were there; now, and as of the poison, they have not."""

    async def read() -> None:
        async with await connect_async(conninfo(two_poisoned, "reader")) as conn:

            async def ids(as_of: int | None, **filters: object) -> list[int]:
                found = await read_rows(conn, ANSWERS, filters, as_of=AsOf(as_of), limit=9)
                return [row["id"] for row in found]

            assert await ids(8) == await ids(8, state=["proposed"]) == [8, 6, 5]
            assert await ids(7) == [6, 5]
            assert await ids(9) == [8, 6]
            assert await ids(10) == await ids(None) == [6]
            assert await ids(9, client_id=["client-0"]) == [8]
            assert await ids(10, client_id=["client-0"]) == []
            assert [await count_set_aside(conn, ANSWERS, AsOf(at)) for at in (8, 9, None)] == [0, 1, 2]
            assert await count_set_aside(conn, REQUESTS, AsOf()) == 0
            assert await count_set_aside(conn, ANSWERS, AsOf(), client_id=["client-1"]) == 0
            with pytest.raises(StreamSetAside, match=r"'request-1' from position 9 on \(SQLSTATE 23502\)"):
                await count_set_aside(conn, ANSWERS, AsOf(), client_id=["client-0"])
            with pytest.raises(StreamSetAside, match="'request-4'"):
                await count_set_aside(conn, ANSWERS, AsOf(None, "request-4"))
            histories = [await client_history(conn, ["client-0"], at, 5) for at in (8, 9, 10)]
            assert [len(found["client-0"]) for found in histories] == [2, 1, 0]

    asyncio.run(read())


@pytest.mark.parametrize(
    ("sqlstate", "cause"),
    [
        *((state, Cause.DATA) for state in ("22P02", "22003", "22P05", "23502", "23505", "21000", "54000", "54001")),
        *((state, Cause.SESSION) for state in ("08006", "53100", "57014", "57P01", "40P01", "40001", "55P03", "58030")),
        *((state, Cause.SESSION) for state in ("25006", "25P02")),
        *((state, Cause.PROGRAM) for state in ("42703", "42804", "42501", "0A000", "P0001", "XX001")),
    ],
)
def test_each_error_has_its_cause(database_url: str, sqlstate: str, cause: Cause) -> None:
    """Data is set aside, a bad session or server is tried again, SQL that does not run stops its read model."""
    raising = sql.SQL("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = {}; END $$").format(sql.Literal(sqlstate))
    with connect(database_url) as conn, pytest.raises(psycopg.Error) as caught:
        conn.execute(raising)
    assert cause_of(caught.value) is cause

"""Reading as of a position gives the fold of that prefix, filtered, the newest first, however it is cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from typing import Any, TypeVar

import orjson
import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from ledger.database import AsyncConnection, Connection, conninfo
from ledger.proof.format.hashes import SALT_BYTES, commitment
from projections import reads
from projections.client_history import client_history
from projections.read_model import UP_TO, ReadModel
from projections.reads import AsOf
from projections.registry import READ_MODELS, UnknownReadModel
from schema.events import AgentSuspended, ModelCallStarted, RecommendationConfirmed, RecommendationRecorded
from tests.projections.scenes import (
    AGENTS,
    ANSWERS,
    DIGEST,
    answer,
    ask,
    catch_up,
    decided,
    head,
    recommended,
    tell_everything,
)
from tests.support import append, append_text, connect, edited, new

T = TypeVar("T")

FILTERS: list[dict[str, Any]] = [
    {},
    {"client_id": "client-1"},
    {"client_id": "nobody"},
    {"before_id": 12},
    {"client_id": "client-2", "before_id": 12},
]
# Filters that only one read model has: changing ones and fixed ones.
OWN: dict[str, list[dict[str, Any]]] = {
    "portfolio_requests": [{"status": "queued"}, {"status": "failed", "before_id": 10}, {"risk_profile": "bold"}],
    "ai_recommendations": [{"state": "proposed"}, {"state": "superseded"}, {"model_name": "model-a", "request_id": 2}],
    "decisions": [
        {"state": "waiting"},
        {"state": "effective", "client_id": "client-0"},
        {"outcome": "edit"},
        {"outcome": "respond", "decided_by": "clerk"},
        {"recommendation_id": 4},
        {"agent": "clerk"},
        {"agent": "nobody"},
    ],
    "model_calls": [
        {"state": "open"},
        {"state": "completed", "agent": "clerk"},
        {"request_model": "m", "recommendation_id": 4},
        {"state": "failed"},
    ],
    "agents": [{"name": "2"}, {"suspended": True}, {"suspended": False}],
}


IN_VAIN: list[dict[str, Any]] = [{"risk_profile": "bold"}, {"agent": "nobody"}, {"state": "failed"}]


def several_lives(conn: Connection) -> None:
    """Append requests in all states, of three clients, so that each filter above matches some rows and misses some."""
    for outcome in ("approve", "edit", "reject", "respond", "approve", "edit"):
        recommendation_id = tell_everything(conn)
        (at,) = conn.execute("SELECT stream FROM events WHERE position = %s", [recommendation_id]).fetchall()
        content: dict[str, Any] = {"replacement": {"cash": "0"}} if outcome == "edit" else {}
        (later,) = append(conn, new(at[0], decided(recommendation_id, outcome, needs_second=True, **content)))
        if outcome != "reject":
            say: Any = "decline" if outcome == "approve" else "approve"
            given = {"recommendation_id": recommendation_id, "decision_id": later.position, "digest": DIGEST}
            append(conn, new(at[0], RecommendationConfirmed.model_validate({**given, "outcome": say})))
        if outcome == "respond":
            append(conn, new(at[0], recommended()), new(at[0], ModelCallStarted(provider_name="p", request_model="n")))
            append(conn, new("agent-2", AgentSuspended(reason="too bold")))


def run(url: str, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Read as the API does."""

    async def connected() -> T:
        async with await psycopg.AsyncConnection.connect(conninfo(url, "reader"), autocommit=True) as conn:
            return await work(conn)

    return asyncio.run(connected())


def read(
    url: str, read_model: ReadModel, filters: dict[str, Any], upto: int | None, limit: int
) -> list[dict[str, Any]]:
    """Return rows, with JSON as values."""
    as_of = AsOf(upto)
    return run(url, lambda conn: reads.read_rows(conn, read_model, filters, as_of=as_of, limit=limit, parsed=True))


def read_all(
    url: str, read_model: ReadModel, filters: dict[str, Any], asked: list[tuple[int | None, int]]
) -> list[list[dict[str, Any]]]:
    """Return the rows for each position and limit, read on one connection."""

    async def work(conn: AsyncConnection) -> list[list[dict[str, Any]]]:
        return [
            await reads.read_rows(conn, read_model, filters, as_of=AsOf(upto), limit=limit, parsed=True)
            for upto, limit in asked
        ]

    return run(url, work)


def folded(conn: Connection, read_model: ReadModel, filters: dict[str, Any], upto: int) -> list[dict[str, Any]]:
    """Return the same rows from the fold of everything, filtered in Python."""
    with conn.cursor(row_factory=dict_row) as cursor:
        query = sql.SQL("SELECT * FROM ({}) m ORDER BY id DESC").format(read_model.rows(UP_TO))
        rows = cursor.execute(query, {"upto": upto}).fetchall()
    below = filters.get("before_id", upto + 1)
    wanted = {name: value for name, value in filters.items() if name != "before_id"}
    kept = [row for row in rows if row["id"] < below and wanted.items() <= row.items()]
    return [{name: value for name, value in row.items() if name != "stream"} for row in kept]


@pytest.mark.parametrize(
    "window", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(500, marks=pytest.mark.slow)]
)
def test_as_of_is_the_fold_of_the_prefix(database_url: str, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    """Holds for each read model, filter, limit and position, and for any size of the windows."""
    monkeypatch.setattr(reads, "WINDOW_ROWS", window)
    with connect(database_url) as conn:
        several_lives(conn)
        answer(conn, ask(conn, 7)[:5])
        catch_up(conn)
        last = head(conn)
        for read_model in READ_MODELS:
            everybodys = [found for found in FILTERS if "client_id" not in found]
            for filters in [*(everybodys if read_model is AGENTS else FILTERS), *OWN[read_model.name]]:
                asked = [(upto, limit) for upto in (0, 3, 11, 17, 33, last - 1, last, None) for limit in (100, 2)]
                for (upto, limit), found in zip(asked, read_all(database_url, read_model, filters, asked), strict=True):
                    expected = folded(conn, read_model, filters, last if upto is None else upto)
                    assert found == expected[:limit]


@pytest.mark.parametrize("read_model", READ_MODELS, ids=lambda found: found.name)
def test_every_filter_finds_something(database_url: str, read_model: ReadModel) -> None:
    """Each filter above matches something, except those that must not, so the test above tests something."""
    with connect(database_url) as conn:
        several_lives(conn)
        answer(conn, ask(conn, 7)[:5])
        catch_up(conn)
    missing = [found for found in OWN[read_model.name] if not read(database_url, read_model, found, None, 1)]
    assert missing == [found for found in OWN[read_model.name] if found in IN_VAIN]


def test_the_history_of_several_clients(database_url: str) -> None:
    """The newest few recommendations of each client as of any position are those of the fold; no client is left out."""
    clients = ["client-0", "client-1", "client-2", "nobody"]
    with connect(database_url) as conn:
        for _ in range(2):
            answer(conn, ask(conn, 9))
            several_lives(conn)
        with connect(database_url, "projector") as live:
            catch_up(live)
        for upto in (0, 12, 30, head(conn)):
            found = run(database_url, partial(client_history, client_ids=clients, upto=upto, most=3))
            assert list(found) == clients
            for client in clients:
                expected = folded(conn, ANSWERS, {"client_id": client}, upto)[:3]
                assert [row.items() <= whole.items() for row, whole in zip(found[client], expected, strict=True)] == [
                    True
                ] * len(expected)
                assert all("prompt" not in row and "recommendation" in row for row in found[client])


@pytest.mark.tampers  # verify rightly names numbers that not every reader of JSON keeps; append() takes them
def test_json_comes_back_as_it_was_recorded(database_url: str) -> None:
    """Numbers beyond 64 bits and tiny numbers come back as they were recorded: nothing on the way parses them."""
    numbers = '{"big":1e+30,"exact":0.1,"whole":12345678901234567890123,"tiny":5e-324}'
    event = new("request-7", RecommendationRecorded(recommendation={"a": 1}, model_name="m"))
    salt = "00" * SALT_BYTES
    committed = commitment("recommendation", bytes.fromhex(salt), numbers.encode())

    def seal(body: dict[str, Any]) -> dict[str, Any]:
        return {**body, "sealed": {"recommendation": committed}}

    text = edited(event, body=seal, fields=lambda _: "FIELDS", salts=lambda _: {"recommendation": salt})
    with connect(database_url) as conn:
        append_text(conn, text.replace('"FIELDS"', f'{{"recommendation":{numbers}}}'))
        catch_up(conn)
    exact = partial(json.loads, parse_int=Decimal, parse_float=Decimal)
    for upto in (None, 1):
        (row,) = run(database_url, partial(reads.read_rows, read_model=ANSWERS, filters={}, as_of=AsOf(upto), limit=1))
        assert exact(orjson.dumps(row, default=str))["recommendation"] == exact(numbers)
        (parsed,) = read(database_url, ANSWERS, {}, upto, 1)
        assert parsed["recommendation"].keys() == exact(numbers).keys()
    assert run(database_url, lambda conn: reads.sealed_values(conn, [1, 2])) == {1: {"recommendation": numbers}, 2: {}}


def test_sealed_values_come_byte_for_byte(database_url: str) -> None:
    """Megabytes, escapes and all scripts come back as the text that the commitment was made of."""
    message = "".join(map(chr, range(1, 0xD7FF, 7))) * 100 + "\u2028\U0001f600"
    call = ModelCallStarted(provider_name="p", request_model="m", input_messages=[message], system_instructions={})
    with connect(database_url) as conn:
        append(conn, new("request-1", call))
        ((body,),) = conn.execute("SELECT body FROM events").fetchall()
        ((salts,),) = conn.execute("SELECT salts FROM sealed_fields").fetchall()
    found = run(database_url, lambda conn: reads.sealed_values(conn, [1]))[1]
    assert found.keys() == {"input_messages", "system_instructions"}
    for name, value in found.items():
        assert commitment(name, bytes.fromhex(salts[name]), value.encode()) == json.loads(body)["sealed"][name]


def test_unknown_views_are_refused(database_url: str) -> None:
    """The error about a name that is not a view names the views that exist."""
    for name in ("decisions", "tokens", "nothing"):
        with pytest.raises(UnknownReadModel, match="override_rates"):
            run(database_url, partial(reads.read_view, name=name, limit=1))

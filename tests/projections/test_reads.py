"""Reading as of a position gives the fold of that prefix, filtered, the newest first, however it is cut."""

from __future__ import annotations

import asyncio
import json
import operator
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple, TypeVar

import orjson
import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from ledger.database import AsyncConnection, Connection, conninfo
from ledger.proof.format.hashes import SALT_BYTES, commitment
from projections import reads, reports, rows
from projections.client_history import client_history
from projections.read_model import UP_TO, ReadModel
from projections.reads import AsOf
from projections.registry import READ_MODELS, UnknownReadModel
from projections.rows import Shape, count_rows, read_rows
from schema.events import (
    AgentSuspended,
    ClientMerged,
    ModelCallStarted,
    RecommendationCommunicated,
    RecommendationConfirmed,
    RecommendationRecorded,
)
from tests.projections.delivered import deliver
from tests.projections.exported import export
from tests.projections.naive_texts import words
from tests.projections.scenes import (
    ANSWERS,
    DIGEST,
    answer,
    ask,
    catch_up,
    decided,
    head,
    hold_and_ask_to_erase,
    recommended,
    register,
    supervise,
    tell_everything,
)
from tests.projections.scenes_monitoring import watch
from tests.support import append, append_text, connect, edited, new

T = TypeVar("T")

LONG_AGO, FAR_AWAY = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
# The columns that filters by a range are about, but for those of the same name.
RANGES = {"amount": ("amount_usd",), "communicated": ("communicated_at",), "decided": ("decided_at", "created_at")}

FILTERS: list[dict[str, Any]] = [
    {},
    {"client_id": "client-1"},
    {"client_id": "nobody"},
    {"before_id": 12},
    {"client_id": "client-2", "before_id": 12},
]
# Filters that only one read model has: changing ones and fixed ones.
OWN: dict[str, list[dict[str, Any]]] = {
    "portfolio_requests": [
        {"status": ["queued"]},
        {"status": ["failed", "recommended"], "before_id": 10},
        {"risk_profile": "bold"},
        {"requested_by": "clerk", "amount_from": 1, "amount_to": 10**9},
    ],
    "ai_recommendations": [
        {"state": ["proposed", "waiting"]},
        {"state": ["superseded"]},
        {"model_name": "model-a", "request_id": 2},
        {"decided_from": LONG_AGO, "requested_by": "clerk"},
        {"communicated_to": FAR_AWAY, "amount_to": 10**9},
        {"decided_by": "clerk", "reason_code": "house-view"},
    ],
    "decisions": [
        {"state": ["waiting", "declined"]},
        {"state": ["effective"], "client_id": "client-0"},
        {"communicated_from": LONG_AGO, "risk_profile": "balanced"},
        {"decided_from": FAR_AWAY},
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
    "subjects": [{"name": "ann"}, {"kind": "human"}, {"suspended": True}],
    "credentials": [{"subject": "ann"}, {"kind": "token", "credential": 2}],
    "accesses": [{"subject": "clerk"}, {"action": "read", "before_id": 12}, {"subject": "nobody"}],
    "clients": [{"merged_into": 1}, {"client_id": "client of request-3"}],
    "event_index": [
        {"type": "recommendation.decided"},
        {"outcome": "edit", "role": "advisor"},
        {"model": "m"},
        {"text": "what NOW"},
    ],
    "event_texts": [{"from_id": 9}],
    "portfolios": [{"name": "p1"}, {"policy": "drift", "client": 2}],
    "portfolio_alerts": [{"state": "closed"}, {"portfolio": "p1", "rule": "data"}, {"run": 2}],
    "notifications": [{"run": 1}, {"portfolio": "p2", "reason": "opened"}],
    "flows": [{"portfolio": "p1"}, {"kind": "cash-in", "date": "2030-01-01"}],
    "valuations": [{"portfolio": "p1"}, {"source": "bank", "valued_on": "2030-01-01"}],
    "corporate_actions": [{"asset": "EQ"}, {"action": "split", "date": "2030-01-01"}],
    "monitoring_runs": [{"state": "completed"}, {"historical": True}],
    "deliveries": [{"state": "delivered"}, {"endpoint": "desk", "run": 1}],
    "exports": [{"state": "completed"}, {"client": 1, "requested_by": "clerk"}],
    "erasures": [{"state": "waiting"}, {"client": 2, "reason": "retention-over"}, {"state": "declined"}],
    "samples": [{"drawn_by": "clerk"}, {"id": 2}],
    "review_items": [{"state": "open"}, {"assignee": "bob", "sample": 1}, {"due_before": "2030-06-01T00:00:00Z"}],
    "findings": [{"state": "closed"}, {"client": 2}, {"severity": "high", "assignee": "ann"}],
    "legal_holds": [{"state": "active"}, {"client": 2}, {"request_id": 3, "state": "released"}],
}


IN_VAIN: list[dict[str, Any]] = [
    {"risk_profile": "bold"},
    {"agent": "nobody"},
    {"state": "failed"},
    {"subject": "nobody"},
    {"decided_from": FAR_AWAY},
]


def several_lives(conn: Connection) -> None:
    """Append requests in all states, of three clients, so that each filter above matches some rows and misses some."""
    for outcome in ("approve", "edit", "reject", "respond", "approve", "edit"):
        recommendation_id = tell_everything(conn)
        (at,) = conn.execute("SELECT stream FROM events WHERE position = %s", [recommendation_id]).fetchall()
        content: dict[str, Any] = {"replacement": {"cash": "0"}} if outcome == "edit" else {}
        content |= {"reason_code": "house-view"} if outcome in {"edit", "reject"} else {}
        (later,) = append(conn, new(at[0], decided(recommendation_id, outcome, needs_second=True, **content)))
        if outcome != "reject":
            say: Any = "decline" if outcome == "approve" else "approve"
            given = {"recommendation_id": recommendation_id, "decision_id": later.position, "digest": DIGEST}
            append(conn, new(at[0], RecommendationConfirmed.model_validate({**given, "outcome": say})))
        if outcome == "edit":
            told = {"recommendation_id": recommendation_id, "digest": DIGEST, "channel": "phone"}
            append(conn, new(at[0], RecommendationCommunicated.model_validate(told)))
        if outcome == "respond":
            append(conn, new(at[0], recommended()), new(at[0], ModelCallStarted(provider_name="p", request_model="n")))
            append(conn, new("agent-2", AgentSuspended(reason="too bold")), new("client-2", ClientMerged(into=1)))
    register(conn, "ann")
    register(conn, "bob")
    watch(conn)
    watch(conn, 2)
    export(conn)
    export(conn, 2)
    deliver(conn, 1, "desk")
    deliver(conn, 2, "portal")
    hold_and_ask_to_erase(conn)
    supervise(conn)


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
    return run(url, lambda conn: read_rows(conn, read_model, filters, as_of=as_of, limit=limit, parsed=True))


class Found(NamedTuple):
    """The rows in both orders, and how many there are."""

    newest: list[dict[str, Any]]
    oldest: list[dict[str, Any]]
    counted: tuple[int, bool]


def read_all(
    url: str, read_model: ReadModel, filters: dict[str, Any], asked: list[tuple[int | None, int]]
) -> list[Found]:
    """Return what is read for each position and limit, on one connection."""

    async def read_one(conn: AsyncConnection, upto: int | None, limit: int) -> Found:
        state = AsOf(upto)
        newest = await read_rows(conn, read_model, filters, as_of=state, limit=limit, parsed=True)
        shape = Shape("oldest")
        oldest = await read_rows(conn, read_model, filters, as_of=state, limit=limit, shape=shape, parsed=True)
        return Found(newest, oldest, await count_rows(conn, read_model, filters, as_of=state, most=limit))

    async def work(conn: AsyncConnection) -> list[Found]:
        return [await read_one(conn, upto, limit) for upto, limit in asked]

    return run(url, work)


def folded(conn: Connection, read_model: ReadModel, filters: dict[str, Any], upto: int) -> list[dict[str, Any]]:
    """Return the same rows from the fold of everything, filtered in Python."""
    with conn.cursor(row_factory=dict_row) as cursor:
        query = sql.SQL("SELECT * FROM ({}) m ORDER BY id DESC").format(read_model.rows(UP_TO))
        rows = cursor.execute(query, {"upto": upto}).fetchall()
    if "text" in filters:
        found = with_words(conn, filters["text"])
        rows = [row for row in rows if row["id"] in found]
    of_columns = {name: value for name, value in filters.items() if name != "text"}
    kept = [row for row in rows if all(matches(row, name, value) for name, value in of_columns.items())]
    return [{name: value for name, value in row.items() if name != "stream"} for row in kept]


def with_words(conn: Connection, asked: str) -> set[int]:
    """Return the positions of all events whose sealed values have the words that are asked for, found in Python."""
    sealed = conn.execute("SELECT position, fields FROM sealed_fields").fetchall()
    return {position for position, fields in sealed if set(words(asked)) <= set(words(fields))}


def matches(row: dict[str, Any], name: str, value: Any) -> bool:
    """Say whether a row matches a filter, as the words of the filter mean it."""
    about, _, edge = name.rpartition("_")
    if name in {"from_id", "after_id", "before_id"}:
        compare = {"from_id": operator.ge, "after_id": operator.gt, "before_id": operator.lt}[name]
        return bool(compare(row["id"], value))
    if name == "due_before":
        return row["due_at"] is not None and bool(row["due_at"] < value)
    if about in RANGES and edge in {"from", "to"}:
        found = row[next(column for column in RANGES[about] if column in row)]
        if found is None:
            return False
        return bool(found >= value if edge == "from" else found < value or (about == "amount" and found == value))
    return row[name] in value if isinstance(value, list) else bool(row[name] == value)


@pytest.mark.parametrize(
    "window", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(500, marks=pytest.mark.slow)]
)
def test_as_of_is_the_fold_of_the_prefix(database_url: str, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    """Holds for each read model, filter, limit and position, and for any size of the windows."""
    monkeypatch.setattr(rows, "WINDOW_ROWS", window)
    with connect(database_url) as conn:
        several_lives(conn)
        answer(conn, ask(conn, 7)[:5])
        catch_up(conn)
        last = head(conn)
        for read_model in READ_MODELS:
            everybodys = [found for found in FILTERS if "client_id" not in found]
            of_clients = "client_id" in read_model.row.model_fields
            for filters in [*(FILTERS if of_clients else everybodys), *OWN[read_model.name]]:
                asked = [(0, 100), (11, 2), (17, 100), (33, 2), (last, 100), (None, 2), (None, 100)]
                for (upto, limit), found in zip(asked, read_all(database_url, read_model, filters, asked), strict=True):
                    expected = folded(conn, read_model, filters, last if upto is None else upto)
                    assert found.newest == expected[:limit]
                    assert found.oldest == expected[::-1][:limit]
                    assert found.counted == (min(len(expected), limit), len(expected) <= limit)


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
        (row,) = run(database_url, partial(read_rows, read_model=ANSWERS, filters={}, as_of=AsOf(upto), limit=1))
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
            run(database_url, partial(reports.read_view, name=name, limit=1))

"""Live = rebuild = as of = a naive fold, for any events in any batching."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.rows import dict_row

from ledger import store
from ledger.database import conninfo
from ledger.envelope import NewEvent, encode, uuid7
from projections.compare import check
from projections.engine import ONE_CLIENT, ONE_STREAM, PROJECTIONS, UP_TO, Projection, projection, step
from projections.rebuild import rebuild
from schema.events import Event, PortfolioRequested, RecommendationRecorded, RequestFailed
from schema.fields import Constraints
from tests.projections.naive import Entry, Row, ai_recommendations, portfolio_requests
from tests.support import CLERK, Connection, connect

REQUESTS, ANSWERS = PROJECTIONS

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
clients = ("client-a", "client-b", "клиент")

limits = st.builds(
    Constraints,
    exclude_asset_classes=st.lists(st.sampled_from(["timber", "gold"]), max_size=2),
    min_cash=st.none() | st.decimals(0, 1, places=4),
)


def requests(client: str) -> st.SearchStrategy[Event]:
    """What asks for a recommendation."""
    return st.builds(
        PortfolioRequested,
        client_id=st.just(client),
        risk_profile=st.sampled_from(["conservative", "balanced", "aggressive"]),
        amount_usd=st.decimals(min_value="0.01", max_value="999999999999.99", places=2),
        horizon_years=st.none() | st.integers(1, 60),
        objectives=st.none() | st.lists(text.filter(bool), max_size=2),
        constraints=st.none() | limits,
        notes=st.none() | text,
    )


answers = st.builds(
    RecommendationRecorded,
    recommendation=st.dictionaries(text, st.integers(-5, 5) | text | st.just(0.5), max_size=3),
    model_name=st.sampled_from(["m1", "m2"]),
    model_version=st.none() | st.just("2"),
    parameters=st.none() | st.dictionaries(text, st.none() | st.booleans(), max_size=2),
    prompt=st.none() | text,
)
failures = st.builds(RequestFailed, reason=st.sampled_from(["no-answer", "refused"]), detail=st.none() | text)


@st.composite
def batches(draw: st.DrawFn) -> list[list[tuple[str, Event]]]:
    """Batches of (stream, event): requests and answers in any order, twice, and in streams that are no request's.

    An "N" in a stream's name stands for a number that is new in each example.
    """
    # Each stream has one client, as the ledger demands.
    owners = {"request-N1": clients[0], "request-N2": clients[0], "request-N3": clients[1]}
    streams = st.sampled_from([*owners, "request-0N", "request-xN", "requests-N", "policy-N"])

    def event(stream: str) -> st.SearchStrategy[tuple[str, Event]]:
        return st.tuples(st.just(stream), requests(owners.get(stream, clients[2])) | answers | failures)

    return draw(st.lists(st.lists(streams.flatmap(event), min_size=1, max_size=6), min_size=1, max_size=6))


async def append(url: str, batch: list[tuple[str, Event]]) -> list[Entry]:
    """Records a batch."""
    lines = [encode(NewEvent(uuid7(), stream, event, CLERK)) for stream, event in batch]
    async with await psycopg.AsyncConnection.connect(conninfo(url, "writer"), autocommit=True) as conn:
        recorded = await store.append(conn, lines)
    return [Entry(event, at) for (_, event), at in zip(batch, recorded, strict=True)]


def rows(conn: Connection, source: sql.Composable, given_: dict[str, Any]) -> list[Row]:
    """The rows of a source, in order of id."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql.SQL("SELECT * FROM ({}) m ORDER BY id").format(source), given_).fetchall()


def table(read_model: Projection) -> sql.Composed:
    """The read model as it stands."""
    return sql.SQL("SELECT * FROM {}").format(sql.Identifier(read_model.name))


def naive(read_model: Projection, history: list[Entry], everything: list[Entry]) -> list[Row]:
    """What the rows should be after `history`; a stream's client may be known only from `everything`."""
    if read_model is REQUESTS:
        return portfolio_requests(history)
    owners = {
        entry.at.stream: entry.event.client_id for entry in everything if isinstance(entry.event, PortfolioRequested)
    }
    return ai_recommendations(history, owners)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def check_example(url: str, history: list[Entry], numbers: Iterator[int], data: st.DataObject) -> None:
    """Appends some more, and compares every way to read with the naive fold."""
    with connect(url) as conn, connect(url, "projector") as live:
        number = str(next(numbers))
        for batch in data.draw(batches()):
            named = [(stream.replace("N", number), event) for stream, event in batch]
            history += asyncio.run(append(url, named))
            for _ in range(data.draw(st.integers(0, 2))):
                for read_model in PROJECTIONS:
                    step(live, read_model, data.draw(st.integers(1, 10)))
        for read_model in PROJECTIONS:
            while step(live, read_model):
                pass
        head = history[-1].at.position
        upto = max(0, head - data.draw(st.integers(0, 30)))
        for read_model in PROJECTIONS:
            check_read_model(conn, read_model, history, upto, f"request-{number}1")
        if data.draw(st.booleans()):
            for report in rebuild(url, list(PROJECTIONS)):
                assert (report.position, report.differing) == (head, 0)
            for read_model in PROJECTIONS:
                assert rows(conn, table(read_model), {}) == naive(read_model, history, history)


def check_read_model(conn: Connection, read_model: Projection, history: list[Entry], upto: int, stream: str) -> None:
    """The table is the naive fold; so are, up to `upto`, the folds of all events, of a stream and of a client."""
    expected = naive(read_model, history, history)
    assert rows(conn, table(read_model), {}) == expected
    assert rows(conn, read_model.rows(UP_TO), {"upto": history[-1].at.position}) == expected
    assert check(conn, read_model).differences == ()
    prefix = [entry for entry in history if entry.at.position <= upto]
    before = naive(read_model, prefix, history)
    assert rows(conn, read_model.rows(UP_TO), {"upto": upto}) == before
    of_stream = naive(read_model, [entry for entry in prefix if entry.at.stream == stream], history)
    assert rows(conn, read_model.rows(ONE_STREAM), {"stream": stream, "upto": upto}) == of_stream
    mine = [row for row in before if row["client_id"] == clients[0]]
    assert rows(conn, read_model.rows(ONE_CLIENT), {"client_id": clients[0], "upto": upto}) == mine


def test_live_is_rebuild_is_as_of_is_naive(database_url: str) -> None:
    """However the events are batched and the steps are cut, every way to read gives the naive fold of the prefix."""
    check_example(database_url, [], itertools.count(100))


@pytest.mark.parametrize("read_model", PROJECTIONS, ids=lambda found: found.name)
def test_columns_of_fold_and_table_agree(database_url: str, read_model: Projection) -> None:
    """INSERT … SELECT goes by position: the fold's columns are the table's, in name, order and type."""
    with connect(database_url) as conn:
        made = conn.execute(sql.SQL("{} LIMIT 0").format(table(read_model))).description
        folded = conn.execute(sql.SQL("{} LIMIT 0").format(read_model.rows(UP_TO)), {"upto": 0}).description
    assert made is not None
    assert folded is not None
    assert [(c.name, c.type_code) for c in made] == [(c.name, c.type_code) for c in folded]


def test_erased_values_are_null(database_url: str) -> None:
    """When a client's sealed values are gone, the fold still works and says null where they were."""
    asked = PortfolioRequested(client_id="c", risk_profile="balanced", amount_usd=Decimal(1), notes="n")
    answer = RecommendationRecorded(recommendation={"a": 1}, model_name="m", prompt="p")
    asyncio.run(append(database_url, [("request-1", asked), ("request-1", answer)]))
    with connect(database_url) as conn:
        conn.execute("ALTER TABLE sealed_fields DISABLE TRIGGER ALL; ALTER TABLE stream_clients DISABLE TRIGGER ALL")
        conn.execute("DELETE FROM sealed_fields; DELETE FROM stream_clients")
        rebuild(database_url, list(PROJECTIONS))
        request, recommendation = rows(conn, table(REQUESTS), {}) + rows(conn, table(ANSWERS), {})
    assert [request[name] for name in ("client_id", "objectives", "notes")] == [None] * 3
    assert (request["risk_profile"], request["amount_usd"], request["recommendation_id"]) == ("balanced", Decimal(1), 2)
    assert [recommendation[name] for name in ("client_id", "recommendation", "prompt")] == [None] * 3
    assert (recommendation["request_id"], recommendation["model_name"]) == (1, "m")


def test_unknown_names_are_refused() -> None:
    """A read model that is not there is named, with those that are."""
    with pytest.raises(KeyError, match=r"portfolio_requests, ai_recommendations"):
        projection("portfolios")

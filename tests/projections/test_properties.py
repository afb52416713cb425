"""Live = rebuild = as of = a naive fold, for any events in any batching."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.rows import dict_row

from ledger.database import Connection, conninfo
from ledger.store import events as store
from ledger.store.envelope import NewEvent, uuid7
from projections.compare import check
from projections.engine import step
from projections.read_model import ONE_CLIENT, ONE_STREAM, UP_TO, ReadModel
from projections.rebuild import rebuild_read_models
from projections.registry import READ_MODELS, get_read_model
from schema.events import (
    ClientAliased,
    ClientRegistered,
    ExportRequested,
    FlowRecorded,
    PortfolioDefined,
    PortfolioRequested,
    RecommendationCommunicated,
    RecommendationDecided,
    RecommendationRecorded,
    ValuationRecorded,
)
from tests.projections.delivered import naive_deliveries
from tests.projections.exported import naive_exports
from tests.projections.histories import CLIENTS, DIGEST, NAMED, Past, batches, entry, lines
from tests.projections.naive import Entry, Row, ai_recommendations, decisions, portfolio_requests
from tests.projections.naive_agents import accesses, agents, model_calls
from tests.projections.naive_clients import clients, erasures, legal_holds
from tests.projections.naive_events import event_index
from tests.projections.naive_monitoring import (
    corporate_actions,
    flows,
    monitoring_runs,
    notifications,
    portfolio_alerts,
    portfolios,
    valuations,
)
from tests.projections.naive_reviews import findings, review_items, samples
from tests.projections.naive_subjects import credentials, subjects
from tests.projections.naive_texts import event_texts
from tests.projections.scenes import ANSWERS, DECISIONS, REQUESTS
from tests.support import CLERK, connect


async def append(url: str, batch: list[NewEvent]) -> list[Entry]:
    """Append a batch."""
    given_lines = lines(batch)
    async with await psycopg.AsyncConnection.connect(conninfo(url, "writer"), autocommit=True) as conn:
        recorded = await store.append(conn, given_lines)
    return [entry(*found) for found in zip(batch, recorded, given_lines, strict=True)]


def rows(conn: Connection, source: sql.Composable, given_: dict[str, Any]) -> list[Row]:
    """Return the rows of a source, in the order of id."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql.SQL("SELECT * FROM ({}) m ORDER BY id").format(source), given_).fetchall()


def table(read_model: ReadModel) -> sql.Composed:
    """Return a SELECT of the current table."""
    return sql.SQL("SELECT * FROM {}").format(sql.Identifier(read_model.name))


def naive(read_model: ReadModel, history: list[Entry]) -> list[Row]:
    """Return the expected rows after `history`. A later event may name the client of a stream: it has none yet."""
    naming = PortfolioRequested | PortfolioDefined | ClientRegistered | ClientAliased | ExportRequested
    naming |= FlowRecorded | ValuationRecorded
    owners = {found.at.stream: str(found.event.client_id) for found in history if isinstance(found.event, naming)}
    folds: dict[str, Callable[[], list[Row]]] = {
        "portfolio_requests": lambda: portfolio_requests(history),
        "ai_recommendations": lambda: ai_recommendations(history, owners),
        "decisions": lambda: decisions(history, owners),
        "model_calls": lambda: model_calls(history, owners),
        "agents": lambda: agents(history),
        "subjects": lambda: subjects(history),
        "credentials": lambda: credentials(history),
        "accesses": lambda: accesses(history),
        "clients": lambda: clients(history),
        "event_index": lambda: event_index(history),
        "event_texts": lambda: event_texts(history),
        "portfolios": lambda: portfolios(history, owners),
        "portfolio_alerts": lambda: portfolio_alerts(history, owners),
        "notifications": lambda: notifications(history, owners),
        "monitoring_runs": lambda: monitoring_runs(history),
        "exports": lambda: naive_exports(history),
        "deliveries": lambda: naive_deliveries(history),
        "legal_holds": lambda: legal_holds(history, owners),
        "erasures": lambda: erasures(history, owners),
        "samples": lambda: samples(history),
        "review_items": lambda: review_items(history),
        "findings": lambda: findings(history, owners),
        "flows": lambda: flows(history, owners),
        "valuations": lambda: valuations(history, owners),
        "corporate_actions": lambda: corporate_actions(history),
    }
    return folds[read_model.name]()


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def check_example(url: str, history: list[Entry], numbers: Iterator[int], data: st.DataObject) -> None:
    """Append more events, and compare every way to read with the naive fold."""
    with connect(url) as conn, connect(url, "projector") as live:
        past = Past(str(next(numbers)), history[-1].at.position + 1 if history else 1)
        for _ in range(data.draw(st.integers(1, 6))):
            history += asyncio.run(append(url, data.draw(batches(past))))
            for _ in range(data.draw(st.integers(0, 2))):
                for read_model in READ_MODELS:
                    step(live, read_model, data.draw(st.integers(1, 10)))
        for read_model in READ_MODELS:
            while step(live, read_model):
                pass
        head = history[-1].at.position
        upto = max(0, head - data.draw(st.integers(0, 30)))
        for read_model in READ_MODELS:
            check_read_model(conn, read_model, history, upto, f"request-{past.number}1")
        if data.draw(st.booleans()):
            for report in rebuild_read_models(url, list(READ_MODELS)):
                assert (report.position, report.differing) == (head, 0)
            for read_model in READ_MODELS:
                assert rows(conn, table(read_model), {}) == naive(read_model, history)


def check_read_model(conn: Connection, read_model: ReadModel, history: list[Entry], upto: int, stream: str) -> None:
    """Compare the table, and the folds up to `upto` of all events, of a stream and of a client, with the naive fold."""
    expected = naive(read_model, history)
    assert rows(conn, table(read_model), {}) == expected
    assert rows(conn, read_model.rows(UP_TO), {"upto": history[-1].at.position}) == expected
    assert check(conn, read_model).differences == ()
    prefix = [entry for entry in history if entry.at.position <= upto]
    before = naive(read_model, prefix)
    assert rows(conn, read_model.rows(UP_TO), {"upto": upto}) == before
    of_stream = naive(read_model, [entry for entry in prefix if entry.at.stream == stream])
    assert rows(conn, read_model.rows(ONE_STREAM), {"stream": stream, "upto": upto}) == of_stream
    streams = {stream for (stream,) in conn.execute(NAMED, [CLIENTS[0], upto])}
    mine = [row for row in before if row.get("client_id", CLIENTS[0]) == CLIENTS[0] and row["stream"] in streams]
    assert rows(conn, read_model.rows(ONE_CLIENT), {"client_id": [CLIENTS[0]], "upto": upto}) == mine


def test_live_is_rebuild_is_as_of_is_naive(database_url: str) -> None:
    """With any batches and any steps, every way to read gives the naive fold of the prefix."""
    check_example(database_url, [], itertools.count(100))


@pytest.mark.parametrize("read_model", READ_MODELS, ids=lambda found: found.name)
def test_columns_of_fold_and_table_agree(database_url: str, read_model: ReadModel) -> None:
    """INSERT … SELECT goes by position, so the columns of fold and table agree in name, order and type."""
    with connect(database_url) as conn:
        made = conn.execute(sql.SQL("{} LIMIT 0").format(table(read_model))).description
        folded = conn.execute(sql.SQL("{} LIMIT 0").format(read_model.rows(UP_TO)), {"upto": 0}).description
    assert made is not None
    assert folded is not None
    assert [(c.name, c.type_code) for c in made] == [(c.name, c.type_code) for c in folded]


@pytest.mark.tampers
def test_erased_values_are_null(database_url: str) -> None:
    """After a client's sealed values were erased, the fold still works and gives null for them."""
    asked = PortfolioRequested(client_id="c", risk_profile="balanced", amount_usd=Decimal(1), notes="n")
    answer = RecommendationRecorded(recommendation={"a": 1}, model_name="m", prompt="p")
    decided = RecommendationDecided(
        recommendation_id=2,
        digest=DIGEST,
        outcome="edit",
        replacement={"a": 2},
        rationale="r",
        needs_second=False,
        second_rules=[],
        four_eyes_version="1",
    )
    told = RecommendationCommunicated(recommendation_id=2, digest=DIGEST, channel="letter", message="dear")
    events = (asked, answer, decided, told)
    asyncio.run(append(database_url, [NewEvent(uuid7(), "request-1", event, CLERK) for event in events]))
    with connect(database_url) as conn:
        conn.execute("ALTER TABLE sealed_fields DISABLE TRIGGER ALL; ALTER TABLE stream_clients DISABLE TRIGGER ALL")
        conn.execute("DELETE FROM sealed_fields; DELETE FROM stream_clients")
        rebuild_read_models(database_url, list(READ_MODELS))
        request, recommendation, decision = itertools.chain(
            *(rows(conn, table(found), {}) for found in (REQUESTS, ANSWERS, DECISIONS))
        )
    assert [request[name] for name in ("client_id", "objectives", "notes")] == [None] * 3
    assert (request["risk_profile"], request["amount_usd"], request["recommendation_id"]) == ("balanced", Decimal(1), 2)
    assert [recommendation[name] for name in ("client_id", "recommendation", "prompt")] == [None] * 3
    assert [recommendation[name] for name in ("rationale", "replacement", "message")] == [None] * 3
    assert (recommendation["request_id"], recommendation["model_name"]) == (1, "m")
    assert (recommendation["state"], recommendation["communicated_digest"]) == ("communicated", DIGEST)
    assert recommendation["digest"] == decision["replacement_digest"]
    assert [decision[name] for name in ("client_id", "rationale", "replacement")] == [None] * 3


def test_unknown_names_are_refused() -> None:
    """The error about an unknown read model names those that exist."""
    with pytest.raises(KeyError, match=r"portfolio_requests, ai_recommendations"):
        get_read_model("unknown")

"""An import of the export of another ledger: the same read models, whatever ends it, and however often it is run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ledger.database import Connection
from ledger.errors import Refused
from ledger.imports.history import HistoryEvent
from ledger.imports.importer import Importer, StreamMovedOn
from ledger.imports.sources import read
from ledger.store.envelope import NewEvent, uuid7
from schema.events import (
    ClientRegistered,
    Confirm,
    PortfolioRequested,
    RecommendationDecided,
    RecommendationRecorded,
)
from tests.conftest import Template, ledger_copy
from tests.ledger.imports.scenes import (
    ACTORS,
    DIGEST,
    IMPORTER,
    SOURCE,
    History,
    count,
    importable,
    imported,
    lines,
    positions,
    rows,
)
from tests.ledger.service.test_clients import opened
from tests.support import append, connect, failed, new, requested


# An example has two databases of its own.
@settings(max_examples=6, deadline=None, phases=[Phase.generate])
@given(data=st.data())
def test_the_read_models_are_those_of_the_first_ledger(
    server_url: str, template_database: Template, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Any history: all columns are equal but those of OTHER, with positions that are those of the same events."""
    with (
        ledger_copy(server_url, template_database, verify=False) as old,
        ledger_copy(server_url, template_database) as new,
    ):
        History(old, data).fill(data.draw(st.integers(1, 60)))
        file = tmp_path_factory.mktemp("import") / "events.ndjson"
        file.write_bytes(b"\n".join(lines(old)) + b"\n")
        batch = data.draw(st.sampled_from([1, 7, 1000]))
        done = imported(new, file, batch_events=batch)
        assert done.recorded == count(new) == len(importable(old))
        places = positions(old, new)
        assert sorted(places) == list(range(1, count(new) + 1))
        assert rows(new, places) == rows(old)
        again = imported(new, file)
        assert (again.recorded, again.already) == (0, done.recorded)


class Killed(Exception):
    """The importer was killed."""


class Mortal:
    """A connection that ends at one of its steps, as with its program."""

    def __init__(self, conn: Connection, steps: int) -> None:
        self._conn = conn
        self.steps = steps

    def __getattr__(self, name: str) -> Any:
        """Return a method of the connection, unless its time has come."""
        if name in {"execute", "cursor", "transaction"}:
            if self.steps == 0:
                self._conn.close()
                raise Killed
            self.steps -= 1
        return getattr(self._conn, name)


@pytest.fixture(scope="module")
def history(server_url: str, template_database: Template, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lines of a ledger with two clients, three requests, and decisions."""
    file = tmp_path_factory.mktemp("history") / "old.ndjson"
    with ledger_copy(server_url, template_database) as old:
        with connect(old) as conn:
            for number in (1, 2):
                append(conn, new("client-", ClientRegistered(client_id=f"client {number}")))
            for _ in range(3):
                asked = PortfolioRequested(client_id="client 1", risk_profile="balanced", amount_usd="9", client=1)
                [request] = append(conn, new("request-", asked))
                [answer] = append(conn, new(request.stream, RecommendationRecorded(recommendation={}, model_name="m")))
                decided = {"recommendation_id": answer.position, "second_rules": ["large"], "needs_second": True}
                event = RecommendationDecided(digest=DIGEST, outcome="approve", four_eyes_version="1", **decided)
                append(conn, NewEvent(uuid7(), request.stream, event, ACTORS[0]))
        file.write_bytes(b"\n".join(lines(old)) + b"\n")
    return file


def test_killed_at_any_step_and_run_again_it_ends_as_if_never_killed(
    history: Path, server_url: str, template_database: Template
) -> None:
    """Also with batches of another size, and if the commit was not acknowledged. Each batch is there whole or not."""
    with ledger_copy(server_url, template_database) as whole:
        assert imported(whole, history).recorded == 11
        wanted = rows(whole)
        bodies = recorded_bodies(whole)
    for step in range(0, 20, 1):
        with ledger_copy(server_url, template_database, verify=step % 5 == 0) as url:
            with contextlib.suppress(Killed), connect(url, "writer") as writer, connect(url, "reader") as reader:
                mortal: Any = Mortal(writer, step)
                Importer(mortal, reader, SOURCE, IMPORTER, batch_events=3).run(events_of(history))
            assert count(url) in {0, 1, 3, 4, 6, 9, 11}
            done = imported(url, history, batch_events=4)
            assert done.recorded + done.already == 11
            assert rows(url) == wanted
            assert recorded_bodies(url) == bodies


def recorded_bodies(url: str) -> list[Any]:
    """Return the bodies in order, without commitments."""
    with connect(url) as conn:
        return [body for (body,) in conn.execute("SELECT body::jsonb - 'sealed' FROM events ORDER BY position")]


def events_of(file: Path) -> Iterator[HistoryEvent]:
    """Return the events of a file."""
    return (event for event in read(file) if isinstance(event, HistoryEvent))


def test_others_record_meanwhile(history: Path, database_url: str) -> None:
    """Between two batches others append: what is imported names its own events, and read models are right."""

    def beside() -> Iterator[HistoryEvent]:
        for event in events_of(history):
            with connect(database_url) as conn:
                append(conn, new("request-", requested("other")))
            yield event

    with connect(database_url, "writer") as writer, connect(database_url, "reader") as reader:
        done = Importer(writer, reader, SOURCE, IMPORTER, batch_events=2).run(beside())
    assert done.recorded == 11
    found = rows(database_url)
    assert {row["state"] for row in found["ai_recommendations"]} == {"waiting"}
    assert len(found["decisions"]) == 3
    assert sum(row["client_id"] == "client 1" for row in found["portfolio_requests"]) == 3


def test_an_answer_between_two_parts_of_a_request_ends_the_import(history: Path, database_url: str) -> None:
    """The import cannot put what happened then after what happens now."""

    def interrupted() -> Iterator[HistoryEvent]:
        for event in events_of(history):
            if event.type == "recommendation.recorded":
                with connect(database_url) as conn:
                    append(conn, new("request-1", failed()))
            yield event

    with connect(database_url, "writer") as writer, connect(database_url, "reader") as reader:
        importer = Importer(writer, reader, SOURCE, IMPORTER, batch_events=1)
        with pytest.raises(StreamMovedOn, match="others have recorded events in request-1"):
            importer.run(interrupted())


def test_a_client_that_is_known_here_keeps_its_number_and_its_assignments(history: Path, database_url: str) -> None:
    """Its requests are imported under that number."""
    with connect(database_url) as conn:
        append(conn, new("client-", ClientRegistered(client_id="client 2", subject="zoe")))
        append(conn, new("client-", ClientRegistered(client_id="client 1", subject="zoe")))
    done = imported(database_url, history)
    assert (done.recorded, dict(done.left_out)) == (9, {"of a client that is known here": 2})
    with connect(database_url) as conn:
        query = "SELECT DISTINCT body::json->'data'->>'client' FROM events WHERE type = 'portfolio.requested'"
        assert conn.execute(query).fetchall() == [("2",)]


def test_who_decided_there_cannot_confirm_here(history: Path, database_url: str) -> None:
    """Rules about people see who acted, not who imported it. An imported queue is nobody's task."""
    imported(database_url, history)

    async def work() -> None:
        async with opened(database_url) as [ledger]:
            [row] = [row for row in rows(database_url)["decisions"] if row["request_id"] == 1]
            confirm = Confirm(digest=row["digest"], outcome="approve")
            with pytest.raises(Refused) as refused:
                await ledger.decisions.confirm(ACTORS[0], row["id"], confirm)
            assert refused.value.code == "same-person"

    asyncio.run(work())

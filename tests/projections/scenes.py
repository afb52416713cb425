"""Shared by the tests of read models: short histories, tables and positions, and an event that no fold accepts."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Annotated, Any

import pytest
from psycopg import sql

from ledger.database import Connection
from ledger.store.envelope import NewEvent, uuid7
from projections import compare, swap
from projections.engine import step
from projections.projector import Projector
from projections.read_model import ReadModel
from projections.rebuild import rebuild_read_models
from projections.registry import READ_MODELS
from schema.events import (
    AccessRecorded,
    AgentRegistered,
    CaseReviewed,
    ClientRegistered,
    CredentialIssued,
    CredentialRevoked,
    ErasureDeclined,
    ErasureRequested,
    Event,
    LegalHoldPlaced,
    LegalHoldReleased,
    ModelCallCompleted,
    ModelCallStarted,
    RecommendationDecided,
    RecommendationOpened,
    RecommendationRecorded,
    SubjectGroupJoined,
    SubjectRegistered,
    SubjectRoleGranted,
    SubjectSuspended,
)
from schema.fields import Sealed
from schema.findings import FindingAssigned, FindingClosed, FindingOpened
from schema.samples import ReviewAssigned, ReviewReassigned, SampleDrawn
from tests.support import CLERK, append, connect, failed, new, requested

REQUESTS, ANSWERS, DECISIONS, CALLS, AGENTS, SUBJECTS, CREDENTIALS, ACCESSES, CLIENTS, EVENTS = READ_MODELS[:10]
SECRET = "0000-secret-0000"
DIGEST = "5" * 64
SAMPLE = SampleDrawn(
    decided_from="2026-01-01T00:00:00Z",
    decided_to="2026-04-01T00:00:00Z",
    size=1,
    reviewers=["ann"],
    method="lowest-tickets/v1",
    seed=DIGEST,
    seed_from="server",
    upto=9,
    population=2,
    population_digest=DIGEST,
    chosen=[7],
)


class Unfoldable(Event):
    """A request that no fold accepts: its amount is not a number. append() does not check that and records it."""

    type = "portfolio.requested"
    schema_version = 1

    client_id: Annotated[str, Sealed()]
    risk_profile: str = "balanced"
    amount_usd: str = SECRET


def register(conn: Connection, name: str = "ann") -> None:
    """Append a subject with a role, a group and two credentials, of which one is revoked; suspend it."""
    stream = f"subject-{name}"
    events = (
        SubjectRegistered(kind="human", display_name="Ann"),
        SubjectRoleGranted(role="advisor", until="2040-01-01T00:00:00Z", clients=[1]),
        SubjectGroupJoined(group="zurich"),
        CredentialIssued(credential=1, kind="token", sha256=DIGEST),
        CredentialIssued(credential=2, kind="token", sha256=DIGEST, replaces=1, replaced_until="2040-01-01T00:00:00Z"),
        CredentialRevoked(credential=2, reason="lost"),
        SubjectSuspended(reason="on leave"),
    )
    append(conn, *(new(stream, event) for event in events))


def recommended(weight: str = "1.0000") -> RecommendationRecorded:
    """Return a recommendation."""
    return RecommendationRecorded(recommendation={"cash": weight}, model_name="model-a", prompt="what now?")


def ask(conn: Connection, count: int = 1) -> list[int]:
    """Append `count` requests of three clients in turn, in one batch. Return their ids."""
    events = [new("request-", requested(f"client-{number % 3}", notes="n")) for number in range(count)]
    return [int(row.stream.removeprefix("request-")) for row in append(conn, *events)]


def answer(conn: Connection, ids: list[int]) -> None:
    """Append an answer to each request, in one batch; every third answer is a failure."""
    append(conn, *(new(f"request-{one}", failed("refused") if one % 3 == 0 else recommended()) for one in ids))


def read_of(*requests: int) -> AccessRecorded:
    """Return the record that a person read these requests."""
    return AccessRecorded(
        subject="clerk", role="auditor", action="read", resource="GET /decisions", requests=list(requests)
    )


def decided(recommendation_id: int, outcome: str = "approve", **fields: Any) -> RecommendationDecided:
    """Return a decision that is effective at once, unless `fields` say otherwise."""
    given = {"digest": DIGEST, "needs_second": False, "second_rules": [], "four_eyes_version": "1"}
    return RecommendationDecided.model_validate(
        {"recommendation_id": recommendation_id, "outcome": outcome, **given, **fields}
    )


def tell_everything(conn: Connection) -> int:
    """Append a request with call, answer, opening and decision; an agent, a read, a client. Return the answer's id."""
    (one,) = ask(conn)
    stream = f"request-{one}"
    (call,) = append(conn, new(stream, ModelCallStarted(provider_name="p", request_model="m")))
    ended = NewEvent(uuid7(), stream, ModelCallCompleted(), CLERK, causation=call.id)
    (_, given) = append(conn, ended, new(stream, recommended().model_copy(update={"model_call_id": call.position})))
    opened = RecommendationOpened(recommendation_id=given.position, digest=DIGEST)
    append(conn, new(stream, opened), new(stream, decided(given.position)))
    append(conn, new(f"agent-{one}", AgentRegistered(answer_schema="weights/v1")))
    append(conn, new("access-1", read_of(one)))
    append(conn, new("client-", ClientRegistered(client_id=f"client of {stream}", subject="ann")))
    return int(given.position)


def hold_and_ask_to_erase(conn: Connection) -> None:
    """Append holds of two clients, of which one is released; and two erasures of client 2, of which one is declined."""
    (_, held) = append(conn, *(new(f"client-{one}", LegalHoldPlaced(reason="r", request_id=3)) for one in (1, 2)))
    counts = {"clients": [2], "streams": 1, "events": 1, "values": 1}
    asked = [ErasureRequested(reason="client-request", **counts), ErasureRequested(reason="retention-over", **counts)]
    (first, _) = append(conn, *(new("client-2", event) for event in asked))
    append(conn, new("client-2", ErasureDeclined(erasure_id=first.position, rationale="no")))
    append(conn, new("client-2", LegalHoldReleased(reason="r", hold_id=held.position)))


def supervise(conn: Connection) -> None:
    """Append two samples, items for two people of which one is reviewed, and findings about a case and a client."""
    for number in (1, 2):
        append(conn, new(f"sample-{number}", SAMPLE))
    due = ("2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z")
    items = [ReviewAssigned(sample=1, decision_id=1, assignee="ann", due_at=at) for at in due]
    (first, _) = append(conn, new("request-1", items[0]), new("request-2", items[1]))
    append(conn, new("request-1", ReviewReassigned(item_id=first.position, assignee="bob")))
    append(conn, new("request-2", CaseReviewed(upto=9, disposition="no-concern")))
    wrong = FindingOpened(severity="high", text="wrong")
    opened = append(conn, new("request-1", wrong), new("client-2", wrong))
    for one in opened:
        append(conn, new(one.stream, FindingAssigned(finding_id=one.position, assignee="ann")))
    closed = FindingClosed(finding_id=opened[1].position, resolution="accepted", reason="small")
    append(conn, new("client-2", closed))


def chat(url: str, stopping: Callable[[], bool]) -> None:
    """Append requests and answers until `stopping` returns true."""
    with connect(url) as conn:
        while not stopping():
            answer(conn, ask(conn, 5))


def catch_up(conn: Connection) -> None:
    """Step all read models until there is nothing to do."""
    for read_model in READ_MODELS:
        while step(conn, read_model) is not None:
            pass


def head(conn: Connection) -> int:
    """Return the position of the last event."""
    return int(conn.execute("SELECT position FROM head").fetchall()[0][0])


def standing(conn: Connection, read_model: ReadModel) -> tuple[int, str | None]:
    """Return (position, error) of a read model."""
    found = conn.execute("SELECT position, error FROM projections WHERE name = %s", [read_model.name]).fetchall()
    return int(found[0][0]), found[0][1]


def table(conn: Connection, read_model: ReadModel) -> list[Any]:
    """Return the rows of the table in use, in the order of id."""
    query = sql.SQL("SELECT * FROM {} ORDER BY id").format(sql.Identifier(read_model.name))
    return conn.execute(query).fetchall()


def assert_true_to_the_chain(url: str) -> None:
    """Assert that all read models are at the head and hold what folding the chain gives."""
    with connect(url) as conn, connect(url, "verifier") as verifier:
        for read_model in READ_MODELS:
            assert standing(conn, read_model) == (head(conn), None)
            found = compare.check(verifier, read_model)
            assert (found.error, found.differences) == (None, ())
            assert found.rows == len(table(conn, read_model))


@contextmanager
def following(url: str) -> Iterator[Projector]:
    """Run a projector while the block runs."""
    projector = Projector(url)
    projector.start()
    try:
        yield projector
    finally:
        projector.stop()
        assert not projector.is_alive()


@contextmanager
def swap_in_hand(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """While the block runs, hold a rebuild of portfolio_requests that has replaced the table and not committed yet."""
    reached, go = threading.Event(), threading.Event()
    grant = swap._grant

    def hold(conn: Connection, place: swap.Place) -> None:
        grant(conn, place)
        reached.set()
        assert go.wait(20)

    with monkeypatch.context() as patch:
        patch.setattr(swap, "_grant", hold)
        thread = threading.Thread(target=rebuild_read_models, args=(url, [REQUESTS]))
        thread.start()
        assert reached.wait(20)
        try:
            yield
        finally:
            go.set()
            thread.join(20)
        assert not thread.is_alive()


def waits_for_a_lock(conn: Connection) -> bool:
    """Return whether another session of this database waits for a lock."""
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return conn.execute(query).fetchone() is not None


_copies = itertools.count()


def edited_copy(read_model: ReadModel, folder: Path, file: str, old: str, new_text: str) -> ReadModel:
    """Return the read model with one of its .sql files edited."""
    copy = folder / f"copy-{next(_copies)}" / read_model.name
    copytree(read_model.folder, copy)
    path = copy / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new_text), "utf-8")
    return replace(read_model, folder=copy)

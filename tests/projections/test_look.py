"""One look for all read models: it moves on those without work, exactly once, and leaves rows right."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from ledger.database import Connection
from projections import projector
from projections.compare import check
from projections.engine import LOOK, LOOK_AFTER_LOOK, STEP_EVENTS, look, step
from projections.event_texts.model import EVENT_TEXTS
from projections.registry import READ_MODELS
from tests.projections.histories import Past, batches, lines
from tests.projections.scenes import (
    AGENTS,
    ANSWERS,
    CALLS,
    DECISIONS,
    EVENTS,
    REQUESTS,
    answer,
    ask,
    assert_true_to_the_chain,
    following,
    head,
    standing,
    table,
)
from tests.projections.test_step import WRITE_DOWN_STEPS
from tests.support import append, append_lines, connect, eventually, new, requested


def looking(url: str) -> Connection:
    """Connect as a projector does."""
    return connect(url, "projector", **LOOK_AFTER_LOOK)


def positions(conn: Connection) -> list[int]:
    """Return the position of each read model."""
    return [standing(conn, read_model)[0] for read_model in READ_MODELS]


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def check_example(url: str, numbers: Iterator[int], data: st.DataObject) -> None:
    """Append batches; look and step in any sizes; compare each read model with the fold up to its own position."""
    with looking(url) as live, connect(url, "verifier") as verifier, connect(url, "writer") as writer:
        past = Past(str(next(numbers)), head(live) + 1)
        for _ in range(data.draw(st.integers(1, 5))):
            append_lines(writer, lines(data.draw(batches(past))))
            for _ in range(data.draw(st.integers(0, 3))):
                sizes = data.draw(st.lists(st.integers(0, 10), min_size=len(READ_MODELS), max_size=len(READ_MODELS)))
                found = look(live, READ_MODELS, data.draw(st.integers(1, 10)))
                for read_model, size in zip(found.touched, sizes, strict=False):
                    if size:
                        step(live, read_model, size)
                for read_model in READ_MODELS:
                    assert (check(verifier, read_model).error, check(verifier, read_model).findings) == (None, ())
        while (found := look(live, READ_MODELS)).touched or found.moved:
            for read_model in found.touched:
                step(live, read_model)
    assert_true_to_the_chain(url)


def test_looks_and_steps_in_any_sizes_keep_every_read_model_right(database_url: str) -> None:
    """A read model that a look moved on holds what folding the chain up to its position gives."""
    check_example(database_url, itertools.count(100))


def chase(url: str, until: int) -> None:
    """Look, and step where there is a step, until all read models are at `until`."""
    with looking(url) as conn:
        while min(positions(conn)) < until:
            for read_model in look(conn, READ_MODELS, 7).touched:
                step(conn, read_model, 5)


def test_looks_and_steps_race_without_gap_or_overlap(database_url: str) -> None:
    """Whoever moves a read model, by a look or by a step, the moves join up."""
    rounds, per_round = 20, 20
    last = rounds * per_round
    threads = [threading.Thread(target=chase, args=(database_url, last)) for _ in range(3)]
    with connect(database_url) as conn:
        conn.execute(WRITE_DOWN_STEPS)
        for thread in threads:
            thread.start()
        for _ in range(rounds):
            answer(conn, ask(conn, per_round // 2))
        for thread in threads:
            thread.join(60)
        for read_model in READ_MODELS:
            moves = conn.execute("SELECT after, upto FROM steps WHERE name = %s ORDER BY after", [read_model.name])
            reached = 0
            for after, upto in moves:
                assert after == reached
                reached = upto
            assert reached == head(conn) == last
    assert_true_to_the_chain(database_url)


def test_untouched_read_models_move_together(database_url: str) -> None:
    """A look moves those that no event touches, to the end of the range or the head, and says whether more is left."""
    touched = [REQUESTS, EVENTS, EVENT_TEXTS]
    others = [read_model for read_model in READ_MODELS if read_model not in touched]
    with looking(database_url) as live, connect(database_url) as conn:
        ask(conn, 4)
        for upto in (3, 4):
            found = look(live, READ_MODELS, 3)
            assert (found.touched, found.moved, found.more) == (touched, others, True)
            assert {standing(conn, read_model)[0] for read_model in others} == {upto}
            assert standing(conn, REQUESTS)[0] == 0
        assert [step(live, read_model) for read_model in touched] == [4, 4, 4]
        found = look(live, READ_MODELS)
        assert (found.touched, found.moved, found.more) == ([], [], False)


def test_a_look_leaves_what_is_not_its_own(database_url: str) -> None:
    """A row that another process has locked, one of other SQL and one that has stopped are left as they are."""
    with looking(database_url) as live, connect(database_url) as conn, connect(database_url) as other:
        ask(conn)
        conn.execute("UPDATE projections SET digest = 'of another version' WHERE name = 'agents'")
        conn.execute("UPDATE projections SET error = 'stopped' WHERE name = 'decisions'")
        with other.transaction(force_rollback=True):
            other.execute("SELECT FROM projections WHERE name = 'model_calls' FOR UPDATE")
            found = look(live, [REQUESTS, DECISIONS, CALLS, AGENTS, ANSWERS])
        assert (found.touched, found.moved) == ([REQUESTS], [ANSWERS])
        assert [standing(conn, read_model)[0] for read_model in (DECISIONS, CALLS, AGENTS, ANSWERS)] == [0, 0, 0, 1]
        assert table(conn, REQUESTS) == []


def test_a_look_goes_through_the_index(database_url: str) -> None:
    """Planned on empty tables, and kept, the look reads the events by position."""
    with looking(database_url) as conn:
        known = '[{"name": "agents", "digest": "d", "types": ["a.b"]}]'
        text = LOOK.replace("%(most)s", "5").replace("%(naming)s", "ARRAY['c.d']").replace("%(known)s", f"'{known}'")
        explain = sql.SQL("EXPLAIN {}").format(sql.SQL(text))
        plan = "\n".join(line for (line,) in conn.execute(explain, prepare=False))
    assert "events_pkey" in plan
    assert "Seq Scan on events" not in plan


def test_a_backlog_is_worked_off_without_a_pause(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While more events wait than one step takes, the projector goes on at once: here, a pause would be an hour."""
    monkeypatch.setattr(projector, "FIRST_PAUSE_S", 3600.0)
    with connect(database_url) as conn:
        for _ in range(2):
            append(conn, *(new("request-", requested(f"client-{number}")) for number in range(STEP_EVENTS // 2 + 1)))
        with following(database_url):
            eventually("the backlog is worked off", lambda: min(positions(conn)) == head(conn) > STEP_EVENTS)
    assert_true_to_the_chain(database_url)

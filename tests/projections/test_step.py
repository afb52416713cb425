"""The live step: exactly once, bounded, and only on the table of this version."""

from __future__ import annotations

import multiprocessing
import threading

import psycopg
import pytest

from projections.engine import StepFailed, step
from projections.registry import READ_MODELS
from tests.projections.scenes import (
    ANSWERS,
    REQUESTS,
    answer,
    ask,
    assert_true_to_the_chain,
    catch_up,
    head,
    standing,
    table,
)
from tests.support import append, connect, eventually, new, requested

SPAWN = multiprocessing.get_context("spawn")

# Writes down each move of a position, in the transaction that makes it.
WRITE_DOWN_STEPS = """
    CREATE TABLE steps (name text, after bigint, upto bigint);
    CREATE FUNCTION write_down_step() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = ledger AS $$
    BEGIN
        INSERT INTO steps VALUES (NEW.name, OLD.position, NEW.position);
        RETURN NULL;
    END
    $$;
    CREATE TRIGGER write_down_step AFTER UPDATE OF position ON projections
        FOR EACH ROW EXECUTE FUNCTION write_down_step();
"""


def race(url: str, until: int) -> None:
    """Take small steps of both read models until they are at `until`."""
    with connect(url, "projector") as conn:
        while any(standing(conn, read_model)[0] < until for read_model in READ_MODELS):
            for read_model in READ_MODELS:
                step(conn, read_model, 7)


def test_every_event_is_applied_exactly_once_whoever_races(database_url: str) -> None:
    """With three threads and two processes stepping while events come, the steps join up without gap or overlap."""
    rounds, per_round = 30, 20
    last = rounds * per_round
    threads = [threading.Thread(target=race, args=(database_url, last)) for _ in range(3)]
    processes = [SPAWN.Process(target=race, args=(database_url, last)) for _ in range(2)]
    with connect(database_url) as conn:
        conn.execute(WRITE_DOWN_STEPS)
        for process in processes:
            process.start()
        for thread in threads:
            thread.start()
        for _ in range(rounds):
            answer(conn, ask(conn, per_round // 2))
        for thread in threads:
            thread.join(60)
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0]
        for read_model in READ_MODELS:
            steps = conn.execute("SELECT after, upto FROM steps WHERE name = %s ORDER BY after", [read_model.name])
            reached = 0
            for after, upto in steps:
                assert after == reached
                reached = upto
            assert reached == head(conn) == last
    assert_true_to_the_chain(database_url)


def test_a_step_has_at_most_so_many_events(database_url: str) -> None:
    """Steps end at positions, not at streams: with a low limit, a request is projected before its answer."""
    with connect(database_url) as conn:
        answer(conn, ask(conn, 2))
        assert [step(conn, REQUESTS, 3) for _ in range(3)] == [3, 4, None]
        assert [step(conn, ANSWERS, 1) for _ in range(5)] == [1, 2, 3, 4, None]
        catch_up(conn)
    assert_true_to_the_chain(database_url)


def test_a_step_that_another_has_in_hand_is_left_to_it(database_url: str) -> None:
    """A process that finds the row of the projection locked goes on, and does not wait."""
    with connect(database_url) as conn, connect(database_url) as other:
        ask(conn)
        with other.transaction():
            other.execute("SELECT FROM projections WHERE name = 'portfolio_requests' FOR UPDATE")
            assert step(conn, REQUESTS) is None
            assert step(conn, ANSWERS) == 1
        assert step(conn, REQUESTS) == 1


def test_a_program_with_other_sql_keeps_its_hands_off(database_url: str) -> None:
    """A step does nothing to a table that another version built."""
    with connect(database_url) as conn:
        ask(conn)
        conn.execute("UPDATE projections SET digest = 'of another version'")
        assert step(conn, REQUESTS) is None
        assert standing(conn, REQUESTS) == (0, None)
        assert table(conn, REQUESTS) == []


def test_a_failed_step_leaves_no_trace(database_url: str) -> None:
    """If the SQL does not run, rows and position are as before; the error names the place and the SQLSTATE."""
    with connect(database_url) as conn:
        (one,) = ask(conn)
        catch_up(conn)
        conn.execute("ALTER TABLE portfolio_requests DROP COLUMN notes")
        before = table(conn, REQUESTS)
        answer(conn, [one])
        with pytest.raises(StepFailed, match="42601") as caught:
            step(conn, REQUESTS)
        assert (caught.value.after, caught.value.upto) == (1, 2)
        assert (table(conn, REQUESTS), standing(conn, REQUESTS)) == (before, (1, None))
        assert step(conn, ANSWERS) == 2


def test_trouble_that_passes_is_no_failed_step(database_url: str) -> None:
    """A transient error, such as a lock timeout, is raised as it is; the same step succeeds later."""
    with connect(database_url) as conn, connect(database_url) as other:
        ask(conn)
        conn.execute("SET lock_timeout = '50ms'")
        with other.transaction():
            other.execute("LOCK TABLE portfolio_requests")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                step(conn, REQUESTS)
        assert step(conn, REQUESTS) == 1


def test_a_crash_between_rows_and_commit_changes_nothing(database_url: str) -> None:
    """If the backend dies within a step, table and position are as before, and the next step does it all."""
    with connect(database_url) as conn, connect(database_url) as holder, connect(database_url) as doomed:
        ask(conn, 3)
        with holder.transaction():
            holder.execute("LOCK TABLE portfolio_requests IN SHARE MODE")  # the step can read, and not write
            failures: list[psycopg.Error] = []

            def stepping() -> None:
                try:
                    step(doomed, REQUESTS)
                except psycopg.OperationalError as error:
                    failures.append(error)

            thread = threading.Thread(target=stepping)
            thread.start()
            waiting = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
            )
            eventually("the step waits", lambda: conn.execute(waiting, [doomed.info.backend_pid]).fetchone())
            thread.join(10)
        assert len(failures) == 1
        assert (standing(conn, REQUESTS), table(conn, REQUESTS)) == ((0, None), [])
        catch_up(conn)
    assert_true_to_the_chain(database_url)


def test_streams_that_are_no_requests_are_stepped_over(database_url: str) -> None:
    """Events of other streams move the position and make no rows, whatever their types."""
    with connect(database_url) as conn:
        streams = ("policy-core", "request-", "request-x", "request-007", f"request-{10**18}", "requests-1")
        append(conn, *(new(stream, requested("c")) for stream in streams))
        catch_up(conn)
        assert [row_id for (row_id,) in conn.execute("SELECT id FROM portfolio_requests")] == [1]
    assert_true_to_the_chain(database_url)

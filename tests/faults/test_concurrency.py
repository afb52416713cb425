"""Many processes append while one reads along: nothing missed, nothing twice, no gap, no fork."""

from __future__ import annotations

import multiprocessing

import pytest

from tests.faults import load
from tests.faults.load import Written
from tests.support import append, check_chain, connect, new

PROCESSES = 8


def run(url: str, rounds: int) -> tuple[list[Written], int, list[tuple[int, str]]]:
    """The answers to each writer process, and the events that the reader saw, with the number of its reads."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(PROCESSES + 1)
    with context.Pool(PROCESSES + 1, load.prepare, [start]) as pool:
        reader = pool.apply_async(load.tail, [url])
        writers = [pool.apply_async(load.write, [url, number, rounds]) for number in range(PROCESSES)]
        written = [writer.get(500) for writer in writers]
        with connect(url, "writer") as conn:
            append(conn, new(load.END))
        fresh, seen = reader.get(30)
    return written, fresh, seen


def check(url: str, rounds: int) -> None:
    """Run the load, and compare all answers with the events in the ledger."""
    written, fresh, seen = run(url, rounds)
    with connect(url) as conn:
        rows = check_chain(conn)
        numbers = conn.execute("SELECT last FROM stream_numbers WHERE category = 'request-'").fetchone()
    callers = PROCESSES * load.CALLERS

    assert [(row.position, str(row.id)) for row in rows] == seen
    assert fresh > rounds  # it did read along, and not only in the end

    acknowledged = [place for process in written for place in process.acknowledged]
    assert sorted(acknowledged) == seen[:-1]
    refused = {identity for process in written for identity in process.refused}
    assert refused.isdisjoint(identity for _, identity in seen)

    # Only who fought for one stream was refused, two events at a time; each fight had a winner to lose against.
    won = sum(row.stream == "fought-for" for row in rows)
    assert won > 0
    assert len(refused) == 2 * (callers * rounds - won)
    assert len(refused) > 0
    assert len(acknowledged) == callers * rounds * 4 + 2 * won
    assert numbers == (callers * rounds,)


@pytest.mark.slow
def test_eight_processes_and_a_reader_lose_and_double_nothing(database_url: str) -> None:
    """Each event that was acknowledged is seen once, at its position; what was refused is nowhere; the chain holds."""
    check(database_url, 20)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_eight_processes_and_a_reader_lose_and_double_nothing_for_longer(database_url: str) -> None:
    """The same over a longer time."""
    check(database_url, 150)

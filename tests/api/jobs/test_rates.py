"""At most so many messages an hour: one count for all processes, however often and whenever they try."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from api.jobs.deliveries import DELIVER, DUE_AT_ONCE, Deliverer, DeliveryParameters, due
from api.jobs.kind import JobRun, JobTools, TryLater
from api.jobs.runner import JobRunner
from api.jobs.webhook_keys import make_key, write_keys
from ledger.database import conninfo
from ledger.domain.monitoring import delivery
from ledger.service.ledger import Ledger
from ledger.service.monitoring.deliveries import SLOT
from projections.deliveries.model import DELIVERIES
from projections.rebuild import rebuild_read_models
from schema.events import DefineEndpoint, DeliveryPlanned
from schema.states import DeliveryState, JobState
from tests.api.jobs.delivering import breach, settings_in
from tests.api.jobs.listening import receiving
from tests.api.jobs.running import queue_of, until
from tests.faults.workers import opened
from tests.ledger.service.watching import OPS
from tests.support import append, connect, new

HOUR_S = 3600.0
# The times of an endpoint, as seconds before now; a negative one is in the future.
SET = (
    "INSERT INTO delivery_rates SELECT 'desk', array_agg(clock_timestamp() - s * interval '1 second' ORDER BY s DESC)"
    " FROM unnest(%s::float8[]) s ON CONFLICT (endpoint) DO UPDATE SET sent_at = excluded.sent_at"
)


def take(url: str, most: int, endpoint: str = "desk") -> float | None:
    """Try to send one more message; return the seconds that it has to wait."""
    with connect(url, "writer") as conn:
        row = conn.execute(SLOT, [endpoint, most]).fetchone()
    return None if row is None or row[0] is None else float(row[0])


def sent(url: str, *seconds_ago: float) -> None:
    """Have messages sent at these times."""
    with connect(url) as conn:
        conn.execute(SET, [list(seconds_ago)])


def test_many_at_once_get_no_more_than_there_are(database_url: str) -> None:
    """Of forty that try at once, seven may send; another endpoint has a count of its own."""
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: take(database_url, 7), range(40)))
    assert found.count(None) == 7
    assert all(HOUR_S - 60 < wait <= HOUR_S for wait in found if wait is not None)
    assert take(database_url, 7, "other") is None


@pytest.mark.parametrize(
    ("seconds_ago", "most", "wait_s"),
    [
        ((3601, 10), 2, None),
        ((3000, 10), 2, 600),
        ((3000, 2000, 10), 2, 1600),
        ((3000, 2000, 10), 1, 3590),
        ((3601, 3600.5), 1, None),
        ((-7200,), 1, 3600),
        ((10, -7200), 3, None),
    ],
)
def test_any_hour_is_an_hour(
    database_url: str, seconds_ago: tuple[float, ...], most: int, wait_s: float | None
) -> None:
    """The next one may be sent once the last but so many is an hour ago. A time in the future counts as now."""
    sent(database_url, *map(float, seconds_ago))
    found = take(database_url, most)
    assert (found is None) == (wait_s is None)
    if found is not None and wait_s is not None:
        assert wait_s - 30 < found <= wait_s


def test_old_times_are_forgotten(database_url: str) -> None:
    """The row has no more times than may be sent within an hour."""
    sent(database_url, *range(3600, 8000))
    assert take(database_url, 3) is None
    sent(database_url, -7200)
    assert take(database_url, 3) is None
    with connect(database_url) as conn:
        [(times, ahead)] = conn.execute(
            "SELECT cardinality(sent_at), sent_at[1] > clock_timestamp() FROM delivery_rates"
        ).fetchall()
    assert (times, ahead) == (2, False)


def test_two_senders_share_the_count(database_url: str, tmp_path: Path) -> None:
    """Five messages wait for an endpoint that takes two an hour, and two processes send: two arrive."""

    async def work(url: str) -> None:
        async with opened(database_url) as ledger, queue_of(database_url) as queue:
            ledger.deliveries = replace(ledger.deliveries, sending=queue.writing)
            await breach(ledger, "anna", DefineEndpoint(url=url, receivers=["advisor"], messages_per_hour=2))
            with connect(database_url) as conn:
                [(position,)] = conn.execute(
                    "SELECT position FROM events WHERE type = 'notification.decided'"
                ).fetchall()
            with connect(database_url, "writer") as conn:
                for run in range(2, 6):
                    append(conn, new("delivery-", DeliveryPlanned(run=run, endpoint="desk", decisions=[position])))
            for number in range(1, 6):
                await queue.ask(DELIVER, DeliveryParameters(delivery=number, round=1), "advice-ledger", uuid.uuid4())
            tools = JobTools(ledger, lambda role, _: conninfo(database_url, role), webhooks=settings_in(tmp_path))
            runners = [
                JobRunner(queue, [replace(DELIVER, run=Deliverer().run, due=None)], tools, idle_s=0.02)
                for _ in range(2)
            ]
            for runner in runners:
                runner.start()
            await until(queue, lambda jobs: [job.error for job in jobs].count("messages-per-hour") == 3)
            for runner in runners:
                await runner.stop()

    write_keys(tmp_path, "desk", [make_key("v1")])
    with receiving() as receiver:
        asyncio.run(work(receiver.url))
        assert len({one.headers["webhook-id"] for one in receiver.received}) == len(receiver.received) == 2


def test_an_endpoint_that_does_not_answer_rests(database_url: str, tmp_path: Path) -> None:
    """Of five messages for a receiver that is down, one is tried. All arrive once the rest is over."""
    time = [0.0]
    deliverer = Deliverer(clock=lambda: time[0])

    async def tried(ledger: Ledger) -> list[DeliveryState]:
        """Try each message once, in order; return the states."""
        tools = JobTools(ledger, lambda role, _: conninfo(database_url, role), webhooks=settings_in(tmp_path))
        said = []
        for number in range(1, 6):
            run = JobRun(number, "advice-ledger", 1, DeliveryParameters(delivery=number, round=1), tools, "")
            try:
                await deliverer.run(run)
            except TryLater as later:
                said.append(later.name)
        reasons.append(said)
        return [(await ledger.deliveries.get(number))[0].state for number in range(1, 6)]

    async def work(url: str, port: int) -> None:
        async with opened(database_url) as ledger, queue_of(database_url) as queue:
            ledger.deliveries = replace(ledger.deliveries, sending=queue.writing)
            await breach(ledger, "anna", DefineEndpoint(url=url, receivers=["advisor"]))
            with connect(database_url) as conn:
                [(position,)] = conn.execute(
                    "SELECT position FROM events WHERE type = 'notification.decided'"
                ).fetchall()
            with connect(database_url, "writer") as conn:
                for run in range(2, 6):
                    append(conn, new("delivery-", DeliveryPlanned(run=run, endpoint="desk", decisions=[position])))
            assert await tried(ledger) == [DeliveryState.WAITING] * 5
            assert reasons == [["unreachable", *["endpoint-resting"] * 4]]
            time[0] += delivery.PAUSES_S[0]
            with receiving(port=port):
                assert await tried(ledger) == [DeliveryState.DELIVERED] * 5

    reasons: list[list[str]] = []
    write_keys(tmp_path, "desk", [make_key("v1")])
    with receiving() as receiver:
        url = receiver.url
    asyncio.run(work(url, int(url.rpartition(":")[2].partition("/")[0])))


def test_slow_endpoints_hold_no_place_of_another_one(database_url: str, tmp_path: Path) -> None:
    """Eleven that take the message and do not answer, asked first: the twelfth has its message while they wait."""
    slow = [f"slow-{number}" for number in range(11)]

    async def work(silent: str, good: str) -> None:
        async with opened(database_url) as ledger, queue_of(database_url) as queue:
            ledger.deliveries = replace(ledger.deliveries, sending=queue.writing)
            tools = JobTools(ledger, lambda role, _: conninfo(database_url, role), webhooks=settings_in(tmp_path))
            for name in slow:
                await ledger.deliveries.define(OPS, name, DefineEndpoint(url=silent, receivers=["advisor"]))
            await breach(ledger, "anna", DefineEndpoint(url=good, receivers=["advisor"]))
            for number in range(len(slow), 0, -1):  # the plan is in the order of names: desk is the first
                await queue.ask(DELIVER, DeliveryParameters(delivery=number + 1, round=1), "test", uuid.uuid4())
            await queue.ask(DELIVER, DeliveryParameters(delivery=1, round=1), "test", uuid.uuid4(), pause_s=0.2)
            runner = JobRunner(queue, [DELIVER], tools, idle_s=0.02)
            runner.start()
            await until(queue, lambda jobs: [job.state for job in jobs].count(JobState.DONE) == 1)
            states = [(await ledger.deliveries.get(number))[0].state for number in range(1, len(slow) + 2)]
            await runner.stop()
        assert states == [DeliveryState.DELIVERED, *[DeliveryState.SENDING] * len(slow)]

    for name in ("desk", *slow):
        write_keys(tmp_path, name, [make_key("v1")])
    with receiving("silence") as silent, receiving() as good:
        asyncio.run(work(silent.url, good.url))


def test_messages_in_hundreds_delay_no_other_endpoint(database_url: str, tmp_path: Path) -> None:
    """The first look for messages finds that of each endpoint, the next one those that have no job yet."""
    count = DUE_AT_ONCE + 50

    async def work() -> list[set[int]]:
        found = []
        async with opened(database_url) as ledger, queue_of(database_url) as queue:
            tools = JobTools(ledger, lambda role, _: conninfo(database_url, role), webhooks=settings_in(tmp_path))
            for _ in range(3):
                asked = await due(tools)
                for key, parameters in asked:
                    await queue.ask(DELIVER, parameters, "test", key)
                found.append({parameters.delivery for _, parameters in asked})
        return found

    with connect(database_url, "writer") as conn:
        for number in range(1, count + 2):
            endpoint = "other" if number > count else "desk"
            append(conn, new("delivery-", DeliveryPlanned(run=number, endpoint=endpoint, decisions=[1])))
    rebuild_read_models(database_url, [DELIVERIES])
    first, second, third = asyncio.run(work())
    assert (len(first), len(second), third) == (DUE_AT_ONCE, count + 1 - DUE_AT_ONCE, set())
    assert count + 1 in first
    assert first | second == set(range(1, count + 2))

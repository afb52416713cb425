"""Clocks that are wrong: a time far ahead is refused by name, and times that stand still are named everywhere."""

from __future__ import annotations

import asyncio
from time import time

import pytest

from api.http.readiness import clocks_differ
from api.http.routes import health
from api.services import services_of
from ledger import database
from ledger.errors import ClockAhead
from ledger.store.envelope import Line, encode
from ledger.store.events import Receipt
from ledger.store.head import Clocks
from ledger.store.writer import Writer
from ledger.verify.continuous import VerificationConfig
from tests.api.program import cli
from tests.api.served import Api, make_tokens, problem, served
from tests.faults.attacks import REHASH, SET_HEAD
from tests.ledger.verify.verifying import until, verifying
from tests.support import append, append_lines, append_text, connect, eventually, line, new, refused, text
from tests.tampering import tamper

AHEAD = """
    SELECT clock_is_ahead(
        now() + %s * interval '1 s', now() + %s * interval '1 s', now() + %s::float8 * interval '1 s')
"""
# Callers were registered an hour ago: an event of now would show that the database's clock is right.
AGE = "UPDATE events SET recorded_at = recorded_at - interval '1 hour'"
HOUR_US = 3_600_000_000
# The owner moves the last event an hour ahead, as a clock that was ahead would have.
JUMP = """
    ALTER TABLE events DISABLE TRIGGER USER;
    ALTER TABLE head DISABLE TRIGGER USER;
    UPDATE events SET recorded_at = recorded_at + interval '1 hour' WHERE position = (SELECT position FROM head);
    UPDATE events e SET hash = event_hash(
        e.prev_hash, e.position, e.version, (extract(epoch FROM e.recorded_at) * 1000000)::bigint, e.body)
    WHERE position = (SELECT position FROM head);
    UPDATE head h SET hash = e.hash, recorded_at = e.recorded_at FROM events e WHERE e.position = h.position;
    ALTER TABLE events ENABLE ALWAYS TRIGGER refuse_change;
    ALTER TABLE head ENABLE ALWAYS TRIGGER refuse_change;
    ALTER TABLE head ENABLE ALWAYS TRIGGER check_head;
"""


def stamped(lines: list[Line], now_us: int) -> str:
    """Return the lines as a batch of append(text) with the time of this program."""
    return f'{{"now":{now_us},' + "\n".join(map(text, lines))[1:]


@pytest.mark.parametrize(
    ("moment", "last", "sent", "is_ahead"),
    [
        (0, 0, 0, False),
        (299, 0, 0, False),
        (301, 0, 0, True),
        (3600, 0, 3600, False),  # nothing was recorded for an hour
        (3600, 3500, 0, False),  # the application's clock is behind
        (0, 3600, 0, False),
        (3600, 0, None, False),  # the application does not say
    ],
)
def test_ahead_of_both(database_url: str, moment: int, last: int, sent: int | None, *, is_ahead: bool) -> None:
    """A time is ahead if it is more than five minutes after both the last event and the application's time."""
    with connect(database_url) as conn:
        assert conn.execute(AHEAD, [moment, last, sent]).fetchone() == (is_ahead,)


def test_a_jump_is_refused_and_nothing_recorded(database_url: str) -> None:
    """append() refuses it by name, for one line and for many; with the right time the same lines are recorded."""
    lines = [encode(new("late")), encode(new("late"))]
    now_us = int(time() * 1_000_000)
    with connect(database_url, "writer") as conn:
        for batch in (lines, lines[:1]):
            with refused("AL007") as refusal:
                append_lines(conn, batch, now_us=now_us - HOUR_US)
            with refused("AL007"):
                append_text(conn, stamped(batch, now_us - HOUR_US))
            assert "clock" in refusal.message
        assert [row.position for row in append_lines(conn, lines, now_us=now_us)] == [1, 2]
        # An hour behind the last event's time is no jump, and a batch without a time is taken.
        assert len(append_lines(conn, [encode(new("late"))], now_us=now_us - HOUR_US)) == 1
        assert len(append_text(conn, stamped([encode(new("late"))], now_us - HOUR_US))) == 1
        assert len(append_lines(conn, [encode(new("late"))], now_us=None)) == 1
        assert len(append_text(conn, line(new("late")))) == 1


def test_the_writer_sends_its_time(database_url: str) -> None:
    """A writer whose clock is an hour behind the database's gets ClockAhead, and goes on when it is right."""
    behind_s = 3600.0

    async def main() -> Receipt:
        nonlocal behind_s
        writer = Writer(database.conninfo(database_url, "writer"), patience_s=0.3, clock=lambda: time() - behind_s)
        await writer.start()
        with pytest.raises(ClockAhead):
            await writer.append([new("late")])
        # A refusal is no outage: /readyz compares the clocks itself.
        assert (await writer.check()).cause is None
        behind_s = 0
        [receipt] = await writer.append([new("late")])
        await writer.close()
        return receipt

    assert asyncio.run(main()).position == 1


def test_a_database_ahead_is_named_over_http(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose clock is an hour behind: 503 clock-ahead, and /readyz says why, until the clock is right."""

    def behind() -> float:
        return time() - 3600

    tokens = make_tokens(database_url)
    tamper(database_url, AGE, REHASH.format(at=1), SET_HEAD)
    cli("rebuild", "--database-url", database_url)
    with served(database_url, tokens=tokens, patience_s=1.0) as api:
        with monkeypatch.context() as wrong, api.records_nothing():
            wrong.setattr(services_of(api.app).ledger.writer, "_clock", behind)
            wrong.setattr(health, "time", behind)
            refusal = api.ask()
            assert "clock" in problem(refusal, 503, "clock-ahead")["detail"]
            answer = api.get("/readyz", None)
            [reason] = answer.json()["reasons"]
            assert (answer.status_code, reason) == (503, next(clocks_differ(Clocks(3600, None, None), 0)))
        assert api.ask().status_code == 202
        eventually("ready", lambda: api.get("/readyz", None).status_code == 200)


@pytest.mark.parametrize(("ahead_s", "reasons"), [(-3600, 0), (0, 0), (300, 0), (301, 1)])
def test_clocks_differ_from_five_minutes_on(ahead_s: float, reasons: int) -> None:
    """/readyz has a reason exactly where append() could refuse; a database that is behind is no reason."""
    assert len([*clocks_differ(Clocks(1000 + ahead_s, None, None), 1000)]) == reasons


@pytest.fixture
def jumped(database_url: str) -> str:
    """A ledger whose last event was recorded while the clock was an hour ahead."""
    with connect(database_url) as conn:
        append(conn, new("before"), new("before"))
        conn.execute(JUMP)
    return database_url


@pytest.mark.slow
def test_times_that_stand_still_are_named(jumped: str, caplog: pytest.LogCaptureFixture) -> None:
    """/readyz, /metrics, verify and continuous verification say since which position; writes go on."""
    cli("rebuild", "--database-url", jumped)
    with served(jumped, patience_s=1.0) as api:
        assert api.ask().status_code == 202
        answer = eventually("ready", lambda: (found := api.get("/readyz", None)).status_code == 200 and found)
        assert "times stand still since position 2" in answer.json()["warnings"][0]
        assert ahead(api) > 3000
    ran = cli("verify", "--json", "--database-url", jumped)
    assert (ran.code, ran.json()["times_stand_still_since"]) == (0, 2)
    assert "times stand still since position 2" in cli("verify", "--database-url", jumped).out
    with verifying(jumped, VerificationConfig(rest_s=0.05, rests=0)) as verifier:
        until(verifier, lambda now: now.passed_s is not None)
        eventually("a line in the log", lambda: "times stand still since position 2" in caplog.text)


def ahead(api: Api) -> float:
    """The gauge of how far the last event is ahead."""
    lines = api.get("/metrics", None).text.splitlines()
    [value] = [line.split()[1] for line in lines if line.startswith("advice_ledger_head_ahead_seconds ")]
    return float(value)

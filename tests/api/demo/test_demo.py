"""The demo: its counts match the ledger, its rules keep their promises, and it leaves nothing behind."""

from __future__ import annotations

import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.demo import rules
from api.demo.clients import clients
from api.demo.market import Quarter, quarters, weeks
from api.postgres.connect import open_database
from ledger.domain import four_eyes
from ledger.domain.answer_schemas import ALLOCATIONS, check
from ledger.proof.tlog.checkpoint import open_checkpoint
from ledger.proof.tlog.note import VerifierKey
from tests.api.program import PROGRAM, Ran, cli, environment
from tests.support import check_chain, connect, eventually

OUTCOMES = "SELECT body::jsonb->'data'->>'outcome' FROM events WHERE type = 'recommendation.decided'"
ASKED = "SELECT occurred_at, imported_by IS NOT NULL FROM event_index WHERE type = 'portfolio.requested'"
CORRECTED = "SELECT decided_at FROM ai_recommendations WHERE reason_code = 'market-event'"
CURL = re.compile(r"^curl '(\S+)' -H 'Authorization: Bearer (\S+)'$", re.MULTILINE)
CLIENTS, YEARS = 3, 1
REVIEWS = CLIENTS * 4 * YEARS
AMOUNT = Decimal("1000000.00")
# Beside other tests a tiny demo has taken more than two minutes.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The folder of the demo's ledger. The server's account could not enter pytest's own folder."""
    name = Path(tempfile.mkdtemp(prefix="advice-ledger-test-"))
    yield name / "demo"
    shutil.rmtree(name)


@pytest.fixture(scope="module")
def ran(folder: Path) -> Ran:
    """Run a tiny demo: three clients and four quarters."""
    return cli("demo", "--clients", CLIENTS, "--years", YEARS, "--data-dir", folder, "--json")


@pytest.mark.slow
def test_its_counts_match_the_ledger(ran: Ran, folder: Path) -> None:
    """Each count of the summary is the number of such events in the chain, which verifies."""
    assert ran.code == 0, ran.err
    found = ran.json()
    done, answers = found["done"], found["answers"]
    with open_database(None, folder) as url, connect(url) as conn:
        events = check_chain(conn)
        types = Counter(kind for (kind,) in conn.execute("SELECT type FROM events"))
        outcomes = Counter(outcome for (outcome,) in conn.execute(OUTCOMES))
    assert types["portfolio.requested"] == done["requests"] == REVIEWS + CLIENTS
    assert types["request.failed"] == done["failed"] == 1
    assert types["model-call.completed"] == types["recommendation.recorded"] == done["recommendations"]
    assert done["calls_completed"] == done["recommendations"]
    assert types["model-call.failed"] == done["calls_failed"] == sum(done["refused"].values())
    assert types["recommendation.opened"] == done["opened"]
    assert types["recommendation.communicated"] == done["communicated"]
    assert types["recommendation.confirmed"] == done["confirmed"] + done["declined"]
    assert {name: times for name, times in done["decisions"].items() if times} == outcomes
    assert done["needs_second"] - done["confirmed"] - done["declined"] == len(answers["waiting"])
    assert types["recommendation.replayed"] == 1
    assert len(events) == sum(types.values())
    # After the verification come only its readers: an export, which may record where streams end, and reads.
    later = Counter(event.type for event in events[answers["verification"]["events"] :])
    assert later.keys() <= {"access.recorded", "stream-heads.recorded"}
    assert later["stream-heads.recorded"] == types["stream-heads.recorded"] <= 1


@pytest.mark.slow
def test_the_ledger_s_answers_are_complete_and_verified(ran: Ran) -> None:
    """No call is open, the replay is identical, the chain and the read models verify."""
    answers = ran.json()["answers"]
    assert answers["orphans"] == 0
    assert answers["replay"]["outcome"] == "identical"
    assert answers["verification"]["ok"] is True
    assert len(answers["proposed"]) == CLIENTS - 1
    evidence = answers["evidence"]
    assert (evidence["audit"]["ok"], evidence["audit"]["trusted"]) == (True, True)
    assert evidence["audit"]["events"] == evidence["case"]["events"] > 0
    key = VerifierKey.parse(evidence["key"])
    assert open_checkpoint(evidence["checkpoint"].encode(), key.name, [key]).checkpoint.size > 0
    assert [row["id"] for row in answers["then"]] == [min(row["id"] for row in answers["now"])]


@pytest.mark.slow
def test_its_reviews_are_on_the_dates_of_their_quarters(ran: Ran, folder: Path) -> None:
    """Each quarter has the request of each client, asked in its first days, and the database recorded all just now."""
    assert ran.code == 0
    with open_database(None, folder) as url, connect(url) as conn:
        asked = conn.execute(ASKED).fetchall()
        [(first, last)] = conn.execute("SELECT min(recorded_at), max(recorded_at) FROM events").fetchall()
        changed = conn.execute(CORRECTED).fetchall()
    periods = quarters(4 * YEARS)
    found = Counter(
        period.name
        for at, imported in asked
        for period in periods
        if imported and timedelta() < at.date() - period.known < timedelta(days=9)
    )
    assert found == {period.name: CLIENTS for period in periods}
    assert [at - first < last - first for at, imported in asked if not imported] == [True] * CLIENTS
    assert {at.date() for (at,) in changed} <= {period.last for period in periods if period.had_correction}


@pytest.mark.slow
def test_its_runs_match_the_ledger(ran: Ran, folder: Path) -> None:
    """Each count of the watch is the number of such events, nothing is delivered, and a run comes out the same."""
    watched, answers = ran.json()["watched"], ran.json()["answers"]
    with open_database(None, folder) as url, connect(url) as conn:
        types = Counter(kind for (kind,) in conn.execute("SELECT type FROM events"))
        historical = conn.execute("SELECT bool_and(historical) FROM monitoring_runs").fetchone()
    raised = sum(watched["raised"].values())
    assert list(watched["raised"]) == [period.name for period in quarters(4 * YEARS)]
    assert types["monitoring.run-completed"] == types["prices.recorded"] == watched["runs"] == 52 * YEARS
    assert types["alert.raised"] == raised == types["alert.acknowledged"] == watched["acknowledged"] > 0
    assert types["alert.closed"] == watched["closed"]
    assert types["notification.decided"] == watched["decisions"] >= raised
    assert types["holdings.recorded"] == CLIENTS + watched["rebalanced"]
    assert (types["delivery.attempted"], historical) == (0, (True,))
    assert (answers["run_replay"]["agrees"], answers["run_replay"]["run"]) == (True, watched["run"])
    assert {row["receivers"][0] for row in answers["told"]} == {"advisor"}


def test_the_weeks_cover_each_quarter() -> None:
    """Each week's prices are those of its last trading day, and no week of the quarters is left out."""
    periods = quarters(8)
    found = weeks(periods)
    assert found == sorted(found, key=lambda week: week.day)
    assert found[-1].day == periods[-1].last
    assert all((after.day - before.day).days <= 10 for before, after in pairwise(found))
    assert {week.quarter for week in found} == {period.name for period in periods}
    assert all(periods[0].known < week.day and min(week.prices.values()) > 0 for week in found)


@pytest.mark.usefixtures("ran")
@pytest.mark.slow
def test_it_needs_a_ledger_of_its_own(folder: Path) -> None:
    """A folder with a ledger is refused."""
    assert cli("demo", "--data-dir", folder).failed_with("has a ledger already", "another folder")


def test_the_extra_is_named_where_it_is_missing() -> None:
    """Without skfolio, the message names the extra to install."""
    missing = "import sys; sys.modules['skfolio.datasets'] = None"
    assert cli("demo", before=missing).failed_with("advice-ledger[optimise]")


def test_the_client_is_named_where_it_is_missing() -> None:
    """Without the client's distribution `--help` works, and the demo says what to install."""
    missing = "import sys; sys.modules['advice_ledger_client'] = None"
    assert cli("--help", before=missing).code == 0
    assert cli("demo", before=missing).failed_with("pip install 'advice-ledger-client'")


def test_keep_and_json_exclude_each_other() -> None:
    """--keep is for people, --json for programs."""
    assert cli("demo", "--keep", "--json").failed_with("--keep and --json")


@pytest.mark.slow
def test_an_interrupted_demo_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C ends with exit code 2 and leaves neither a process nor a folder."""
    temporary = Path(tempfile.mkdtemp(prefix="advice-ledger-test-"))
    temporary.chmod(0o711)
    command = [sys.executable, "-c", PROGRAM, "demo", "--clients", "3"]
    with (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=err, env=environment(TMPDIR=str(temporary))
        )
        try:
            eventually("the demo has begun", lambda: b"reviews" in (tmp_path / "err").read_bytes(), within_s=120)
            assert [path.name.startswith("advice-ledger-demo-") for path in temporary.iterdir()] == [True, True]
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(120)
    assert code == 2, (tmp_path / "err").read_text()
    assert list(temporary.iterdir()) == []
    assert [found for found in command_lines() if str(temporary) in found] == []
    temporary.rmdir()


@pytest.mark.slow
def test_a_demo_that_is_kept_answers_until_it_is_ended(tmp_path: Path) -> None:
    """With --keep, the printed address works with the tokens in a file of ours, and Ctrl-C ends with exit code 0."""
    command = [sys.executable, "-c", PROGRAM, "demo", "--clients", "1", "--years", "1", "--keep"]
    shown = tmp_path / "out"
    with shown.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env=environment())
        try:
            eventually("the demo shows its commands", lambda: b"\ncurl " in shown.read_bytes(), within_s=300)
            [(url, name)] = re.findall(
                r"^curl '(\S+)' -H \"Authorization: Bearer \$(\S+)\"$", shown.read_text(), re.MULTILINE
            )
            [path] = re.findall(r"^\. (\S+)$", shown.read_text(), re.MULTILINE)
            assert stat.filemode(Path(path).stat().st_mode) == "-rw-------"
            [token] = re.findall(rf"^export {name}=(\S+)$", Path(path).read_text(), re.MULTILINE)
            assert "alt_" not in shown.read_text()
            answer = httpx.get(url, headers={"Authorization": f"Bearer {token}"})
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(120)
    assert (answer.status_code, code) == (200, 0)


def test_the_quarters_are_those_of_the_prices() -> None:
    """Each quarter's prices end before it begins, and the known falls are found."""
    found = quarters(36)
    assert (found[0].name, found[-1].name) == ("2014 Q1", "2022 Q4")
    assert all(one.known < one.last for one in found)
    assert [one.known for one in found[1:]] == [one.last for one in found[:-1]]
    deepest = max(found, key=lambda one: one.fall)
    assert (deepest.name, deepest.had_correction) == ("2020 Q1", True)
    assert 0.3 < deepest.fall < 0.35


shares = st.lists(st.integers(0, 10_000), min_size=2, max_size=20).filter(any)


@given(parts=shares, amount=st.integers(1, 10**11))
def test_edits_are_whole_and_keep_to_the_limit(parts: list[int], amount: int) -> None:
    """An edited answer sums to the whole, and no stock is above the limit."""
    amount_usd = Decimal(amount).scaleb(-2)
    answer = answer_of(parts)
    limited = rules.house_limit(answer, amount_usd)
    for edited in filter(None, (limited, rules.more_cash(answer, amount_usd))):
        check(ALLOCATIONS, edited, amount_usd)
    kept = four_eyes.parts(limited or answer) or {}
    assert all(weight <= rules.HOUSE_LIMIT for name, weight in kept.items() if name != "cash")


def test_decisions_are_the_same_at_every_run() -> None:
    """The same client in the same quarter gets the same decision, in any order."""
    quarter = Quarter("2020 Q1", quarters(1)[0].known, quarters(1)[0].last, 0.32)
    one = clients(2, "seed")[1]
    answer = answer_of([1] * 12)
    judged = [rules.judge(one, quarter, AMOUNT, answer, rules.random_for("seed", one, quarter)) for _ in range(2)]
    assert judged[0] == judged[1]
    assert clients(5, "seed")[:2] == clients(2, "seed")


def test_a_deep_fall_is_a_reason_to_reject() -> None:
    """Most answers in a quarter with a deep fall are rejected as a market event, and none in a calm one."""
    one = clients(2, "seed")[1]
    calm, deep = (Quarter("Q", quarters(1)[0].known, quarters(1)[0].last, fall) for fall in (0.05, 0.4))
    codes = {
        quarter.fall: Counter(
            rules.judge(one, quarter, AMOUNT, answer_of([1] * 12), Random(chance)).members.get("reason_code")
            for chance in range(100)
        )
        for quarter in (calm, deep)
    }
    assert codes[0.05]["market-event"] == 0
    assert codes[0.4]["market-event"] > 50


def answer_of(parts: list[int]) -> dict[str, Any]:
    """Build an answer like the optimiser's with these shares; the last is cash."""
    from api.agents.limits import WEIGHT_UNIT, apportion

    names = [f"S{number}" for number in range(len(parts) - 1)] + ["cash"]
    split = apportion(Decimal(1), dict(zip(names, map(Decimal, parts), strict=True)), WEIGHT_UNIT)
    return {
        "kind": "optimised-portfolio",
        "allocations": [{"asset": name, "weight": f"{weight:.4f}"} for name, weight in split.items()],
    }


def command_lines() -> list[str]:
    """List the command lines of all visible processes."""
    import psutil

    return [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]

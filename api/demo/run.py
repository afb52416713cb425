"""The demo from start to end: a ledger, quarters of reviews through its HTTP API, then questions to it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from advice_ledger_client import LedgerClient

from api.agents.builtin.agent import BuiltinAgent
from api.agents.optimiser.agent import OptimiserAgent
from api.demo import questions
from api.demo.clients import Client, clients
from api.demo.market import Quarter, quarters
from api.demo.questions import Answers, Story
from api.demo.review import Outcome, Review, coming
from api.demo.server import ADMIN, HOUSE, OPTIMISER, Site, running

SEED = "advice-ledger"
# At a time; each client's quarters come one after the other.
THREADS = 8
TIMEOUT_S = 60.0

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Plan:
    """How much the demo does, and where: `data_dir` None is a temporary folder; `environment` None is ours."""

    clients: int = 36
    quarters: int = 36
    data_dir: Path | None = None
    environment: Mapping[str, str] | None = None
    seed: str = SEED


@dataclass(frozen=True)
class Done:
    """What the demo did, how often, as it counted itself. `seconds` is of the reviews and `events` stand
    at their end, without what came before and after; `refused` are calls that the agent would not answer."""

    clients: int
    quarters: int
    first: str
    last: str
    falls: dict[str, float]
    seconds: float
    events: int
    requests: int
    failed: int
    calls_completed: int
    calls_failed: int
    refused: dict[str, int]
    recommendations: int
    opened: int
    decisions: dict[str, int]
    needs_second: int
    confirmed: int
    declined: int
    communicated: int


@dataclass(frozen=True)
class Result:
    """What was done and what the ledger says of it; `site` answers as long as the demo runs."""

    done: Done
    answers: Answers
    site: Site


@contextlib.contextmanager
def demo(plan: Plan, on_progress: OnProgress) -> Iterator[Result]:
    """Runs it; the ledger serves as long as the block runs.

    Raises MissingExtra, ValueError for more quarters than there are, DemoFailed, ClientError, and what the database
    raises.
    """
    periods = quarters(plan.quarters)
    everybody = clients(plan.clients, plan.seed)
    with running(plan.data_dir, plan.environment) as site, _people(site) as people:
        _register(people)
        began = monotonic()
        outcomes = _reviews(people, everybody, periods, plan.seed, on_progress)
        seconds = monotonic() - began
        done = _done(everybody, periods, outcomes, _coming(site, people, everybody, len(periods), on_progress), seconds)
        yield Result(done, questions.ask(site, people, _story(everybody, periods, outcomes), on_progress), site)


@contextlib.contextmanager
def _people(site: Site) -> Iterator[dict[str, LedgerClient]]:
    """A client of the API for each name, with that name's token."""
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(LedgerClient(site.url, token, timeout_s=TIMEOUT_S))
            for name, token in site.tokens.items()
        }


def _register(people: Mapping[str, LedgerClient]) -> None:
    """Says what the answers of both agents have to look like, which the ledger then enforces."""
    for name, schema in ((OPTIMISER, OptimiserAgent.answer_schema), (HOUSE, BuiltinAgent.answer_schema)):
        people[ADMIN].post(f"/agents/{name}/registrations", {"answer_schema": schema})


def _reviews(
    people: Mapping[str, LedgerClient],
    everybody: Sequence[Client],
    periods: Sequence[Quarter],
    seed: str,
    on_progress: OnProgress,
) -> list[list[Outcome]]:
    """What became of each client, in each quarter. A quarter begins when all are done with the one before."""
    in_all, done = len(everybody) * len(periods), 0
    found: list[list[Outcome]] = []
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="demo")
    try:
        for number, period in enumerate(periods):
            last = period is periods[-1]
            jobs = [pool.submit(Review(people, one, period, number, seed, last=last).run) for one in everybody]
            for job in as_completed(jobs):
                job.result()
                done += 1
                on_progress("reviews", done, in_all)
            found.append([job.result() for job in jobs])
    finally:
        # Also on Ctrl-C: what is in hand is finished, the rest is not begun.
        pool.shutdown(cancel_futures=True)
    return found


def _coming(
    site: Site, people: Mapping[str, LedgerClient], everybody: Sequence[Client], number: int, on_progress: OnProgress
) -> list[Outcome]:
    """What a server's worker, with the optimiser, makes of everybody's requests for the coming quarter."""
    found = []
    with site.worker("optimiser"), ThreadPoolExecutor(THREADS, thread_name_prefix="demo") as pool:
        for outcome in pool.map(lambda one: coming(people, one, number), everybody):
            found.append(outcome)
            on_progress("coming quarter", len(found), len(everybody))
    return found


def _done(
    everybody: Sequence[Client],
    periods: Sequence[Quarter],
    outcomes: list[list[Outcome]],
    last: list[Outcome],
    seconds: float,
) -> Done:
    counted = sum((one.done for period in [*outcomes, last] for one in period), Counter[str]())
    return Done(
        clients=len(everybody),
        quarters=len(periods),
        first=periods[0].name,
        last=periods[-1].name,
        falls={period.name: round(period.fall, 3) for period in periods if period.fell},
        seconds=round(seconds, 1),
        events=max(one.position for period in outcomes for one in period),
        requests=counted["requests"],
        failed=counted["failed"],
        calls_completed=counted["calls_completed"],
        calls_failed=counted["calls_failed"],
        refused={name.partition(":")[2]: times for name, times in counted.items() if name.startswith("refused:")},
        recommendations=counted["recommendations"],
        opened=counted["opened"],
        decisions={outcome: counted[outcome] for outcome in ("approve", "edit", "reject", "respond")},
        needs_second=counted["needs_second"],
        confirmed=counted["confirmed"],
        declined=counted["declined"],
        communicated=counted["communicated"],
    )


def _story(everybody: Sequence[Client], periods: Sequence[Quarter], outcomes: list[list[Outcome]]) -> Story:
    """The client and quarter with the most to tell: most decisions, then the deepest fall, then the first."""
    at = [(quarter, one) for quarter in range(len(periods)) for one in range(len(everybody))]
    quarter, one = max(
        at, key=lambda place: (len(outcomes[place[0]][place[1]].story), periods[place[0]].fall, -place[0], -place[1])
    )
    outcome = outcomes[quarter][one]
    decided_at = outcome.story[0] if outcome.story else outcome.position
    return Story(everybody[one], periods[quarter], outcome.request_id, decided_at)

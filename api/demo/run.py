"""Run the demo: a ledger, quarters of reviews through its HTTP API, then questions to it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic

from advice_ledger_client import LedgerClient

from api.agents.builtin.agent import BuiltinAgent
from api.agents.optimiser.agent import OptimiserAgent
from api.demo import questions
from api.demo.clients import Client, clients
from api.demo.history import carry_over
from api.demo.market import Quarter, quarters
from api.demo.questions import Answers, Example
from api.demo.review import Review, ReviewResult, review_next_quarter
from api.demo.server import ADMIN, COMPLIANCE, HOUSE, OPTIMISER, Site, running
from api.demo.watch import Watch, Watched

SEED = "advice-ledger"
# The number of clients that are processed at a time. The quarters of one client follow one another.
THREADS = 8
TIMEOUT_S = 60.0

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Plan:
    """The size and place of the demo. `data_dir` None means a temporary folder, `environment` None this process's."""

    clients: int = 36
    quarters: int = 36
    data_dir: Path | None = None
    environment: Mapping[str, str] | None = None
    seed: str = SEED


@dataclass(frozen=True)
class Done:
    """The demo's own counts. `seconds` and `events` cover the reviews only; `refused` counts refusals by reason."""

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
    """The demo's counts and the ledger's answers. `site` is available while the demo runs."""

    done: Done
    watched: Watched
    answers: Answers
    site: Site


@contextlib.contextmanager
def demo(plan: Plan, on_progress: OnProgress) -> Iterator[Result]:
    """Run the demo; the ledger serves during the block.

    Raises MissingExtra, ValueError for too many quarters, DemoFailed, ClientError, and the errors of the database.
    """
    periods = quarters(plan.quarters)
    all_clients = clients(plan.clients, plan.seed)
    with running(plan.data_dir, plan.environment) as site, _people(site) as people:
        _register(people)
        results, seconds = _history(plan, site, all_clients, periods, on_progress)
        done = _count(
            all_clients, periods, results, _next_quarter(site, people, all_clients, len(periods), on_progress), seconds
        )
        watched = Watch(site, people, plan.seed, on_progress).run(all_clients, periods)
        example = _example(people, *_place(all_clients, periods, results))
        yield Result(done, watched, questions.ask(site, people, example, watched.run, on_progress), site)


def _history(
    plan: Plan, site: Site, all_clients: Sequence[Client], periods: Sequence[Quarter], on_progress: OnProgress
) -> tuple[list[list[ReviewResult]], float]:
    """Run the reviews in a first ledger and import them with the dates of their quarters.

    Return their results, and how many seconds they took.
    """
    with running(None, plan.environment) as first, _people(first) as people:
        _register(people)
        began = monotonic()
        results = _reviews(people, all_clients, periods, plan.seed, on_progress)
        seconds = monotonic() - began
        on_progress("history", 0, 1)
        carry_over(first, site, periods, _last_position(results))
    return results, seconds


@contextlib.contextmanager
def _people(site: Site) -> Iterator[dict[str, LedgerClient]]:
    """Open a client of the API for each name, with that name's token."""
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(LedgerClient(site.url, token, timeout_s=TIMEOUT_S))
            for name, token in site.tokens.items()
        }


def _register(people: Mapping[str, LedgerClient]) -> None:
    """Register the answer schemas of both agents, which the ledger then enforces."""
    for name, schema in ((OPTIMISER, OptimiserAgent.answer_schema), (HOUSE, BuiltinAgent.answer_schema)):
        people[ADMIN].post(f"/agents/{name}/registrations", {"answer_schema": schema})


def _reviews(
    people: Mapping[str, LedgerClient],
    all_clients: Sequence[Client],
    periods: Sequence[Quarter],
    seed: str,
    on_progress: OnProgress,
) -> list[list[ReviewResult]]:
    """Run all reviews and return their results by quarter. A quarter begins when the one before is complete."""
    total, done = len(all_clients) * len(periods), 0
    results: list[list[ReviewResult]] = []
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="demo")
    try:
        for number, period in enumerate(periods):
            last = period is periods[-1]
            jobs = [pool.submit(Review(people, client, period, number, seed, last=last).run) for client in all_clients]
            for job in as_completed(jobs):
                job.result()
                done += 1
                on_progress("reviews", done, total)
            results.append([job.result() for job in jobs])
    finally:
        # On Ctrl-C too, reviews in progress are finished and the others are not started.
        pool.shutdown(cancel_futures=True)
    return results


def _next_quarter(
    site: Site, people: Mapping[str, LedgerClient], all_clients: Sequence[Client], number: int, on_progress: OnProgress
) -> list[ReviewResult]:
    """Have a server's worker answer all requests for the coming quarter with the optimiser."""
    results = []
    with site.worker("optimiser"), ThreadPoolExecutor(THREADS, thread_name_prefix="demo") as pool:
        for result in pool.map(lambda client: review_next_quarter(people, client, number), all_clients):
            results.append(result)
            on_progress("coming quarter", len(results), len(all_clients))
    return results


def _count(
    all_clients: Sequence[Client],
    periods: Sequence[Quarter],
    results: list[list[ReviewResult]],
    last: list[ReviewResult],
    seconds: float,
) -> Done:
    counted = sum((result.done for period in [*results, last] for result in period), Counter[str]())
    return Done(
        clients=len(all_clients),
        quarters=len(periods),
        first=periods[0].name,
        last=periods[-1].name,
        falls={period.name: round(period.fall, 3) for period in periods if period.had_correction},
        seconds=round(seconds, 1),
        events=_last_position(results),
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


def _last_position(results: list[list[ReviewResult]]) -> int:
    return max(result.position for period in results for result in period)


def _place(
    all_clients: Sequence[Client], periods: Sequence[Quarter], results: list[list[ReviewResult]]
) -> tuple[Client, Quarter]:
    """Pick the review with the most decisions; of equals the one with the deepest fall, then the first."""
    places = [(quarter, client) for quarter in range(len(periods)) for client in range(len(all_clients))]

    def interest(place: tuple[int, int]) -> tuple[int, float, int, int]:
        quarter, client = place
        return len(results[quarter][client].decisions), periods[quarter].fall, -quarter, -client

    quarter, client = max(places, key=interest)
    return all_clients[client], periods[quarter]


def _example(people: Mapping[str, LedgerClient], client: Client, quarter: Quarter) -> Example:
    """Find the request of a review in the demo's ledger, by its dates, and its first decision."""
    compliance = people[COMPLIANCE]
    days = {"from": quarter.known + timedelta(days=1), "to": quarter.last}
    [request] = compliance.get("/portfolio/requests", client_id=client.name, **days)["items"]
    [decision] = compliance.get("/decisions", request_id=request["id"], order="oldest", limit=1)["items"]
    return Example(client, quarter, request["id"], decision["id"])

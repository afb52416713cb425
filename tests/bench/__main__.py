"""`python -m tests.bench`: measure each row beside its peer or limit. See docs/explain/benchmarks.md."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Never

from rich.console import Console

from tests.bench import (
    acts,
    as_of,
    attested,
    bulk,
    chain_peers,
    erasure,
    figures,
    growth,
    guarded,
    http,
    live,
    log,
    machine,
    monitoring,
    pipeline,
    rebuild,
    signing,
    single,
    verify,
    workload,
)
from tests.bench.bench import Bench, Options, server
from tests.bench.figures import Figure

# Rows that bring their own databases, and those that share one ledger of --events events, in the order of measuring:
# the live projections and the erasure come last because they append.
SEPARATE: dict[int, Callable[[Bench], list[Figure]]] = {
    1: bulk.measure,
    2: single.measure,
    3: http.measure,
    8: pipeline.measure,
    10: signing.measure,
    11: chain_peers.measure,
    12: monitoring.measure,
    13: growth.measure,
    14: guarded.measure,
    15: attested.measure,
}
SHARED: dict[int, Callable[[Bench, str], list[Figure]]] = {
    4: rebuild.measure,
    6: verify.measure,
    7: as_of.measure,
    9: log.measure,
    5: live.measure,
    16: erasure.measure,
}
ROWS = sorted((*SEPARATE, *SHARED))


def run(bench: Bench, rows: Iterable[int]) -> tuple[list[Figure], list[int]]:
    """Measure these rows. Return the figures in the order of rows, and the rows that failed."""
    wanted = set(rows)
    found: list[Figure] = []
    failed: list[int] = []

    def attempt(row: int, measure: Callable[[], list[Figure]]) -> None:
        try:
            found.extend(measure())
        except Exception:  # noqa: BLE001 - the other rows keep their figures
            bench.console.print_exception()
            failed.append(row)

    for row, measure in SEPARATE.items():
        if row in wanted:
            attempt(row, partial(measure, bench))
    if wanted & SHARED.keys():
        with bench.ledger() as url:
            workload.fill(bench, url, bench.options.events)
            acts.act(bench, url)
            for row, measure_on in SHARED.items():
                if row in wanted:
                    attempt(row, partial(measure_on, bench, url))
    return sorted(found, key=lambda figure: figure.row), failed


def main(arguments: list[str] | None = None) -> None:
    """Run the command. Progress goes to stderr, the table to stdout, and all measurements to a file."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    options = Options(events=given.events, seconds=given.seconds, rounds=given.rounds)
    progress = Console(stderr=True)
    started = perf_counter()
    with server() as url:
        bench = Bench(url, options, progress)
        about = {"options": {**vars(options), "rows": given.rows}, **machine.describe(url)}
        found, failed = run(bench, given.rows)
    about["took_s"] = round(perf_counter() - started)
    figures.write(given.json, found, about)
    if given.markdown:
        given.markdown.write_text(figures.markdown(found, about), "utf-8")
    figures.show(found, Console(width=None if sys.stdout.isatty() else 160))
    progress.print(f"written to {given.json}")
    if failed:
        sys.exit(f"these rows failed: {', '.join(map(str, sorted(failed)))}; the errors are above")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    add = parser.add_argument
    add(
        "--events",
        type=_at_least_one,
        default=100_000,
        help="events in the ledger of rows 4 to 7, 9 and 16 (default 100000)",
    )
    add("--rows", type=_rows, default=ROWS, help="rows to measure, as in 1,3 (default all)")
    add(
        "--rounds",
        type=_at_least_one,
        default=5,
        help="rounds of rows 1 to 3, 9, 11 and 13 to 15, by turns (default 5)",
    )
    add("--seconds", type=float, default=5.0, help="length of an HTTP round; twice that of the lag (default 5)")
    add("--json", type=Path, default=Path("bench.json"), help="file to write (default bench.json)")
    add("--markdown", type=Path, help="file to write the table to, as docs/explain/benchmarks.md has it")
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _rows(text: str) -> list[int]:
    rows = sorted({int(row) for row in text.split(",")})
    if unknown := [row for row in rows if row not in ROWS]:
        raise argparse.ArgumentTypeError(f"there is no row {unknown[0]}: rows are {ROWS[0]} to {ROWS[-1]}")
    return rows


def _end(_signal: int, _frame: FrameType | None) -> Never:
    """Turn SIGTERM into an exception, so that a terminated run drops its databases and stops its server."""
    sys.exit(2)


if __name__ == "__main__":
    main()

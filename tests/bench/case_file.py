"""`python -m tests.bench.case_file EVENTS`: what a bundle of a client with EVENTS events costs, and its PDF.

Prints the time by the clock and the processor time (this process and the database's server) of the best of three:
`advice-ledger export` and `advice-ledger case-file` in one process that is started already.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from rich.console import Console

from ledger.database import Connection
from ledger.export.bundle import Disclosure, write_bundle
from ledger.export.pdf.maker import make_pdf
from ledger.proof.bundle.selection import Selection
from tests.bench import acts, workload
from tests.bench.bench import Bench, Options, connect, server
from tests.bench.cpu import Meter
from tests.bench.growth import sign
from tests.support import append

TIMES = 3
OTHERS = 10_000
# Events of a case on average: a request and a recommendation, and what acts.act() adds.
OF_A_CASE = 2 + 1 / acts.DECIDED + 1 / acts.DECIDED / acts.CONFIRMED + 1 / acts.FAILED
# No client of workload.fill().
CLIENT = "client-of-the-letter"
T = TypeVar("T")
ONE = Selection("client", client=CLIENT)


def main() -> None:
    """Fill a ledger, and measure the bundle of its first client, and the PDF of that."""
    events = int(sys.argv[1])
    with server() as url, tempfile.TemporaryDirectory(prefix="advice-ledger-bench-") as folder:
        bench = Bench(url, Options(events=events), Console(stderr=True))
        with bench.ledger() as ledger:
            cases = round(events / OF_A_CASE)
            with connect(ledger) as conn:
                append(conn, *[workload.requested(CLIENT) for _ in range(cases)])
                append(conn, *[workload.recommended(number) for number in range(1, cases + 1)])
            acts.act(bench, ledger)
            workload.fill(bench, ledger, OTHERS, first_request=cases + 1)
            sign(ledger, Path(folder) / "last")
            with connect(ledger, "verifier") as conn:
                data, count = _measured(bench, "bundle", lambda: _bundle(conn))
        pdf = _measured(bench, "PDF", lambda: make_pdf(data))
        print(f"{count} events: {len(data):,} bytes of bundle, {len(pdf):,} of PDF with it")


def _bundle(conn: Connection) -> tuple[bytes, int]:
    out = io.BytesIO()
    manifest = write_bundle(conn, ONE, Disclosure(everything=True), out, keys=[])
    return out.getvalue(), manifest.count


def _measured(bench: Bench, name: str, make: Callable[[], T]) -> T:
    """Make it some times; print the best time by the clock, and the least processor time. Return the last one."""
    made, took_s, used = [], [], []
    for _ in range(TIMES):
        meter, began_s = Meter(bench.server), perf_counter()
        with meter:
            made.append(make())
        took_s.append(perf_counter() - began_s)
        used.append(meter.seconds)
    print(f"{name}: {min(took_s):.2f} s, {min(used):.2f} s of processor time", flush=True)
    return made[-1]


if __name__ == "__main__":
    main()

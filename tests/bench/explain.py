"""`python -m tests.bench.explain EVENTS`: the plan of each fold over a filled ledger (docs/explain/folds.md)."""

from __future__ import annotations

import sys

from psycopg import sql
from rich.console import Console

from ledger.database import Connection
from projections.read_model import UP_TO, ReadModel
from projections.rebuild import BULK
from projections.registry import READ_MODELS
from tests.bench import acts, workload
from tests.bench.bench import Bench, Options, connect, server
from tests.bench.cpu import used_s

EXPLAIN = sql.SQL("EXPLAIN (ANALYZE, COSTS OFF, BUFFERS OFF, TIMING OFF) {}")


def main() -> None:
    """Fill a ledger, and print the plan of each fold of all events, as a rebuild runs it."""
    events = int(sys.argv[1])
    with server() as url:
        bench = Bench(url, Options(events=events), Console(stderr=True))
        with bench.ledger() as ledger:
            workload.fill(bench, ledger, events)
            acts.act(bench, ledger)
            with connect(ledger, "owner", **BULK) as conn:
                for read_model in READ_MODELS:
                    bench.say(f"explaining {read_model.name}")
                    print("\n".join(explained(conn, read_model)), flush=True)


def explained(conn: Connection, read_model: ReadModel) -> list[str]:
    """Return a section of the page: processor time of the database for each event, and the plan."""
    [(head,)] = conn.execute("SELECT position FROM head").fetchall()
    backend = conn.info.backend_pid
    before_s = used_s(backend)
    lines = [str(line) for (line,) in conn.execute(EXPLAIN.format(read_model.folded(UP_TO)), {"upto": head})]
    us = (used_s(backend) - before_s) / head * 1e6
    about = f"{us:.2f} µs of processor time for each of {head:,} events."
    return [f"## {read_model.name}", "", about, "", "```", *lines, "```", ""]


if __name__ == "__main__":
    main()

"""`python -m tests.soak`: kill rounds, then mixed load. Exit code 1: lost, doubled, stuck, wrong, or grown."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

from tests.soak import kills, memory


def report(line: str) -> None:
    """Print progress."""
    print(line, file=sys.stderr, flush=True)


def show_kills(found: kills.Kills) -> bool:
    """Print the table of recoveries and the totals; return whether all is well."""
    print(f"{'fault':<36} {'rounds':>6} {'recovery, s: min':>17} {'median':>7} {'max':>6}")
    for fault, seconds in sorted(found.seconds.items()):
        show_seconds(fault, seconds)
    if found.starts_s:
        show_seconds("the start alone of a killed serve", found.starts_s)
    print(f"acknowledged {found.acknowledged}, lost {found.lost}, doubled {found.doubled}")
    for line in found.unrecovered:
        print(f"a person was needed: {line}")
    for line in found.errors:
        print(f"failed: {line}")
    return not (found.lost or found.doubled or found.unrecovered or found.errors)


def show_seconds(what: str, seconds: list[float]) -> None:
    """Print a row of the table."""
    print(f"{what:<36} {len(seconds):>6} {min(seconds):>17.1f} {median(seconds):>7.1f} {max(seconds):>6.1f}")


def show_memory(found: memory.Memory) -> bool:
    """Print the memory at the begin and the end; return whether it is flat."""
    print(f"{found.answers} answers, memory {found.begin_mb:.1f} MB after settling, {found.end_mb:.1f} MB at the end")
    for line in found.errors[:10]:
        print(f"failed: {line}")
    return found.is_flat and not found.errors


def main() -> int:
    """Run what the options say."""
    parser = argparse.ArgumentParser(prog="make soak SOAK=…", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000, help="kill rounds (default: 1000)")
    parser.add_argument("--minutes", type=float, default=60.0, help="minutes of mixed load (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="orders the faults (default: 1)")
    options = parser.parse_args()
    well = True
    # A path outside folders that shut out the account of PostgreSQL, and short enough for its socket.
    folder = Path(tempfile.mkdtemp(prefix="advice-ledger-"))
    try:
        if options.rounds:
            well = show_kills(kills.run(folder / "kills", options.rounds, options.seed, report))
        if options.minutes:
            well = show_memory(memory.run(folder / "memory", options.minutes, report)) and well
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if well else 1


if __name__ == "__main__":
    raise SystemExit(main())

"""Rows of the benchmark: a figure beside its peer or limit, and the design's target."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on the ratio to the peer, or on the figure itself. Both have the figure's unit."""

    sense: Literal["at least", "at most"]
    bound: float
    of: Literal["ratio", "figure"] = "ratio"

    def met_by(self, value: float) -> bool:
        """Return True if `value` keeps the bound."""
        return value >= self.bound if self.sense == "at least" else value <= self.bound

    def __str__(self) -> str:
        return f"{self.sense} {number(self.bound)}{' x' if self.of == 'ratio' else ''}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `ratio` is value / peer_value, the median over rounds where there were rounds."""

    row: int
    what: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    target: Target | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    # Microseconds of processor time for each event or request: client, and server if it is here; and the peer's.
    cpu_us: float | None = None
    peer_cpu_us: float | None = None

    @property
    def met(self) -> bool | None:
        """True if the target is met; None without a target."""
        if self.target is None:
            return None
        judged = self.ratio if self.target.of == "ratio" else self.value
        return judged is not None and self.target.met_by(judged)


def beside(
    row: int,
    what: str,
    unit: str,
    ours: Sequence[float],
    peer: str,
    theirs: Sequence[float],
    target: Target | None = None,
    *,
    cpu_us: tuple[float, float] | None = None,
    **detail: Any,
) -> Figure:
    """A figure from rounds in which both sides were measured in turn: medians, and the median of the rounds' ratios."""
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    rounds = {"ours": list(ours), "peer": list(theirs), "ratios": ratios}
    value, peer_value = statistics.median(ours), statistics.median(theirs)
    found = Figure(
        row, what, value, unit, peer, peer_value, statistics.median(ratios), target, {**detail, "rounds": rounds}
    )
    return found if cpu_us is None else replace(found, cpu_us=cpu_us[0], peer_cpu_us=cpu_us[1])


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all values does not exceed. `values` is not empty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def number(value: float) -> str:
    """Three digits that matter, without exponents: 1234567 -> 1,234,567; 3.14159 -> 3.14."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


COLUMNS = ("row", "what", "figure", "peer figure", "ratio", "target", "met", "cpu µs", "peer cpu µs", "peer or limit")
RIGHT = frozenset({"figure", "peer figure", "ratio", "target", "cpu µs", "peer cpu µs"})


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print the table."""
    table = Table(title="Section 7, measured side by side", title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="right" if name in RIGHT else "left", overflow="fold")
    for found in figures:
        table.add_row(*({"yes": "[green]yes[/]", "no": "[red]no[/]"}.get(cell, cell) for cell in cells(found)))
    console.print(table)


def cells(found: Figure) -> tuple[str, ...]:
    """Format a figure as columns of the table."""
    return (
        str(found.row),
        found.what,
        f"{number(found.value)} {found.unit}",
        "" if found.peer_value is None else f"{number(found.peer_value)} {found.unit}",
        "" if found.ratio is None else number(found.ratio),
        "" if found.target is None else str(found.target),
        {True: "yes", False: "no", None: ""}[found.met],
        "" if found.cpu_us is None else number(found.cpu_us),
        "" if found.peer_cpu_us is None else number(found.peer_cpu_us),
        found.peer,
    )


def markdown(figures: Sequence[Figure], about: Mapping[str, Any]) -> str:
    """Format machine and table for docs/explain/benchmarks.md."""
    machine, server, options = about["machine"], about["server"], about["options"]
    where = (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}; 8 kB made"
        f" durable in {machine['fdatasync_8kb_ms']} ms; load average {machine['load_average_at_start']:.1f} at the"
        f" start. Python {about['python']}, PostgreSQL {server['version']}, {options['events']:,} events."
    )
    lines = [
        where,
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * len(COLUMNS),
        *("| " + " | ".join(cells(found)) + " |" for found in figures),
    ]
    return "\n".join(lines) + "\n"


def write(path: Path, figures: Sequence[Figure], about: dict[str, Any]) -> None:
    """Write the measurements, the machine and the options as JSON."""
    rows = [{**asdict(found), "met": found.met} for found in figures]
    path.write_text(json.dumps({**about, "figures": rows}, indent=1) + "\n", "utf-8")

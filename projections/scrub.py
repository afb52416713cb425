"""Scrub: rewrite all files that can have held erased values, while others read and append.

The order: the partitions of the sealed values that had some, and the index of clients (ledger/erasure/rewrite.py); all
read models, by a rebuild; the planner's statistics last, because they had samples of the tables before.

A scrub that is killed leaves each table either as it was or rewritten, and is not recorded: the next one does all of
it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg

from ledger.database import Connection, Url, conninfo
from ledger.database import connect as connect_as
from ledger.erasure.rewrite import CLIENTS, SIZE, Part, ScrubFailed, drop_left_over, rewrite, sealed_parts
from ledger.erasure.statistics import NOT_PERMITTED, may_rewrite, rewrite_statistics
from ledger.short_lock import TableBusy
from projections.rebuild import RebuildReport, lead, rebuild_read_models
from projections.registry import all_models

PLAN = (Path(__file__).parent / "scrub_plan.sql").read_bytes()
SIZES = (Path(__file__).parent / "scrub_sizes.sql").read_bytes()
STATISTICS = "pg_statistic"
# The commit of a swap still waits for the disk, because it drops a table.
BULK = {"maintenance_work_mem": "256MB", "synchronous_commit": "off"}

# Called with the name of a table, the number of steps done, and the number of all.
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Plan:
    """The plan of a scrub. `after` and `upto` are positions: it covers the erasures in (after, upto].

    `tables` are the names of the tables, with their present bytes. All erased values are out of the files if `upto` is
    None.
    """

    after: int
    upto: int | None
    erasures: int
    parts: tuple[Part, ...]
    tables: dict[str, int]

    @property
    def size(self) -> int:
        """Return the bytes of all tables."""
        return sum(self.tables.values())


@dataclass(frozen=True)
class Scrubbed:
    """The tables that a scrub rewrote, by their new names, and the reports of the rebuilt read models."""

    tables: tuple[str, ...]
    rebuilt: tuple[RebuildReport, ...]


def make_plan(url: Url, *, schema: str = "ledger") -> Plan:
    """Return what a scrub would do now, as the owner. Raises ScrubFailed if the login may not do all of it."""
    with connect_as(conninfo(url, None, schema=schema)) as conn:
        if not may_rewrite(conn):
            raise ScrubFailed(NOT_PERMITTED)
    with connect_as(conninfo(url, "owner", schema=schema)) as conn:
        return _plan(conn)


def _plan(conn: Connection) -> Plan:
    found = sealed_parts(conn)
    limits = {"starts": [part.start for part in found], "ends": [part.end for part in found]}
    [(after, upto, erasures, starts)] = conn.execute(PLAN, limits).fetchall()
    parts = tuple(part for part in found if part.start in set(starts))
    names = [*(part.table for part in parts), CLIENTS, *(one.name for one in all_models()), STATISTICS]
    tables = {} if upto is None else dict(conn.execute(SIZES, [names]).fetchall())
    return Plan(after, upto, erasures, (*parts, Part(CLIENTS, 0, None)), tables)


def scrub(url: Url, plan: Plan, on_progress: OnProgress, *, schema: str = "ledger", size: int = SIZE) -> Scrubbed:
    """Carry out the plan. Each step holds locks that others wait for only for milliseconds.

    Raises ScrubFailed, RebuildFailed or psycopg.Error; completed steps stay done.
    """
    try:
        tables = _rewrite(url, plan, on_progress, schema, size)
        rebuilt = rebuild_read_models(url, list(all_models()), schema=schema, on_progress=on_progress)
        with connect_as(conninfo(url, None, schema=schema)) as conn:
            on_progress(STATISTICS, 0, 1)
            rewrite_statistics(conn)
            on_progress(STATISTICS, 1, 1)
    except TableBusy:
        raise ScrubFailed("long reads kept a table busy: run it again when they are over") from None
    except psycopg.errors.DependentObjectsStillExist as error:
        raise ScrubFailed("a view or a key depends on a table that is written anew: drop that first") from error
    return Scrubbed((*tables, *(one.name for one in all_models()), STATISTICS), tuple(rebuilt))


def _rewrite(url: Url, plan: Plan, on_progress: OnProgress, schema: str, size: int) -> list[str]:
    """Rewrite the recorded tables, as the only process that does; return the names of the new tables."""
    made: list[str] = []
    with connect_as(conninfo(url, "owner", schema=schema, **BULK)) as conn:
        lead(conn, schema)
        drop_left_over(conn, f"{schema}_rebuild")
        if not {part for part in plan.parts if part.table != CLIENTS} <= {*sealed_parts(conn)}:
            raise ScrubFailed("another scrub cut the partitions meanwhile: run it again")
        for part in plan.parts:

            def copied(done: int, total: int, name: str = part.table) -> None:
                on_progress(name, min(done, total), total)

            made += rewrite(conn, schema, part, copied, size=size)
    return made

"""Read from a server's settings what "acknowledged" means: docs/operate/durability.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ledger.database import Connection

DURABILITY = (Path(__file__).parent / "sql/durability.sql").read_bytes()

# Forms of synchronous_standby_names: FIRST 2 (a, b), ANY 2 (a, b), 2 (a, b), or names alone, which mean FIRST 1.
STANDBYS = re.compile(r"\s*(?:(?:FIRST|ANY)\s+)?(\d+)\s*\(", re.IGNORECASE)
# The stage on standbys that a commit waits for, by the value of synchronous_commit.
ON_STANDBYS = {"remote_write": "written", "on": "flushed", "remote_apply": "flushed, and visible to readers,"}


class Settings(NamedTuple):
    """Settings of a PostgreSQL session, by their names there."""

    synchronous_commit: str
    synchronous_standby_names: str
    fsync: bool
    full_page_writes: bool

    @property
    def standbys(self) -> int:
        """Return the number of standbys that a commit waits for, if `synchronous_commit` makes it wait."""
        if not self.synchronous_standby_names.strip():
            return 0
        match = STANDBYS.match(self.synchronous_standby_names)
        return int(match[1]) if match else 1


@dataclass(frozen=True)
class Acknowledged:
    """The failures that an acknowledged event survives, and the settings that weaken this."""

    meaning: str
    warnings: tuple[str, ...]


def read_acknowledged(conn: Connection) -> Acknowledged | None:
    """Judge the settings of this session; None on a standby, which acknowledges nothing."""
    row = conn.execute(DURABILITY).fetchone()
    return None if row is None else judge(Settings(*row))


def judge(settings: Settings) -> Acknowledged:
    """Return the failures that an acknowledged commit survives under these settings."""
    return Acknowledged(_meaning(settings), tuple(_warnings(settings)))


def _meaning(settings: Settings) -> str:
    # For its own transaction, append() turns off into on.
    commit = "on" if settings.synchronous_commit == "off" else settings.synchronous_commit
    here = "flushed on this server" if settings.fsync else "written by this server, not flushed"
    there = ON_STANDBYS.get(commit)
    if there is None or not settings.standbys:
        return here
    count = "1 standby" if settings.standbys == 1 else f"{settings.standbys} standbys"
    return f"{here}, and {there} on {count} of: {settings.synchronous_standby_names.strip()}"


def _warnings(settings: Settings) -> Iterator[str]:
    if not settings.fsync:
        yield "fsync is off: if the machine crashes, acknowledged events and the whole database may be lost"
    if not settings.full_page_writes:
        yield "full_page_writes is off: if the machine crashes, pages may be half old and half new"
    if settings.synchronous_commit == "off":
        yield "synchronous_commit is off: events are flushed all the same; changes of tokens may be lost in a crash"
    if settings.synchronous_commit == "local" and settings.standbys:
        yield "synchronous_commit is local: no commit waits for the standbys in synchronous_standby_names"
    if settings.synchronous_commit == "remote_write" and settings.standbys:
        yield "synchronous_commit is remote_write: a standby may lose acknowledged events if its machine crashes"

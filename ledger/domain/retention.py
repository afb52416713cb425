"""Decide how long records must be kept: a versioned policy with a class for each type of event. Pure.

A class says for how many years, and what starts the period: the event itself, the newest event of its case (its
stream), or the newest event of its client. An event whose class has no years starts no period. With "year-end", the
years count from the end of the calendar year in which the period starts. Days are those of the policy's time zone.

A record of the 15th that is kept for a year may be erased on the 16th, one year later. If that day does not exist,
because the period started on 29 February, the record is kept until 1 March: never a day too short.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ledger.domain.monitoring.calendar import zone_named
from ledger.domain.policy import Policy, Text, load
from schema.events import CATALOGUE, ErasureDeclined, ErasureRefused, ErasureRequested
from schema.fields import Code, Name

NAME = "retention"
# Requests to erase start no period, whatever the policy says: a refused request would delay the next one.
NEVER_KEPT = frozenset({ErasureRequested.type, ErasureRefused.type, ErasureDeclined.type})


class RetentionClass(BaseModel):
    """For how many years, counted from what. No years: the record need not be kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    years: Annotated[int, Field(ge=0, le=100)]
    starts: Annotated[Literal["event", "case", "client"], Field(alias="from")]
    counts: Literal["days", "year-end"]


class RetentionText(Text):
    """The policy file: the classes, the class of each type of event, and that of all other types."""

    zone: Name
    classes: Annotated[dict[Code, RetentionClass], Field(min_length=1, max_length=100)]
    types: Annotated[dict[str, Code], Field(max_length=1000)]
    other: Code

    @model_validator(mode="after")
    def _known(self) -> RetentionText:
        if unknown := sorted(self.types.keys() - CATALOGUE.keys()):
            raise ValueError(f"there is no type of event {unknown[0]!a}")
        if unknown := sorted({*self.types.values(), self.other} - self.classes.keys()):
            raise ValueError(f"there is no class {unknown[0]!a}")
        try:
            zone_named(self.zone)
        except ValueError as error:
            raise ValueError(f"zone: {error}") from error
        return self


@dataclass(frozen=True)
class Record:
    """The events of one type in one stream of a client, and the time at which the newest of them was recorded."""

    stream: str
    type: str
    newest: datetime


@dataclass(frozen=True)
class Kept:
    """The last day on which records must be kept, and its class. They may be erased from `free` on."""

    until: date
    free: datetime
    by: str


@dataclass(frozen=True)
class Retention:
    """The policy in force."""

    policy: Policy
    zone: ZoneInfo
    classes: Mapping[str, RetentionClass]
    types: Mapping[str, str]
    other: str

    @classmethod
    def load(cls, path: Path | None = None) -> Retention:
        """Load the policy from a file, or the packaged one. Raises BadPolicy."""
        policy, text = load(NAME, RetentionText, path)
        return cls(policy, zone_named(text.zone), text.classes, text.types, text.other)

    def class_of(self, event_type: str) -> str:
        """Return the class of a type of event."""
        return self.types.get(event_type, self.other)

    def is_over(self, records: Iterable[Record], now: datetime) -> bool:
        """Return True if records of one client had to be kept, and no longer have to."""
        kept = self.kept(records)
        return kept is not None and now >= kept.free

    def kept(self, records: Iterable[Record]) -> Kept | None:
        """Return until when all records of one client must be kept; None if none of them has to."""
        counted = [
            record
            for record in records
            if record.type not in NEVER_KEPT and self.classes[self.class_of(record.type)].years
        ]
        of_case: dict[str, datetime] = {}
        for record in counted:
            of_case[record.stream] = max(record.newest, of_case.get(record.stream, record.newest))
        of_client = max(of_case.values(), default=None)
        longest: Kept | None = None
        for record in counted:
            name = self.class_of(record.type)
            starts = {"event": record.newest, "case": of_case[record.stream], "client": of_client}
            start = starts[self.classes[name].starts]
            assert start is not None, "this record is one of the client's"
            until = last_day(start, self.classes[name], self.zone)
            if longest is None or until > longest.until:
                longest = Kept(until, start_of(until + timedelta(days=1), self.zone), name)
        return longest


def last_day(start: datetime, kind: RetentionClass, zone: ZoneInfo) -> date:
    """Return the last day on which a record must be kept whose clock starts at this moment."""
    day = start.astimezone(zone).date()
    if kind.counts == "year-end":
        day = date(day.year, 12, 31)
    try:
        return day.replace(year=day.year + kind.years)
    except ValueError:  # 29 February, which this year does not have
        return date(day.year + kind.years, 3, 1)


def start_of(day: date, zone: ZoneInfo) -> datetime:
    """Return when a day begins in a zone, in UTC. If clocks change at midnight: the later of two such moments."""
    midnight = datetime.combine(day, time(), zone)
    return max(midnight.replace(fold=fold).astimezone(UTC) for fold in (0, 1))

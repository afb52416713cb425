"""Give the reviews the dates of their quarters: their events as a history to import.

The reviews were recorded in a first ledger within a minute, as a ledger takes its times from its database alone. The
demo's ledger imports them, so that each event says both: when it took place, and when it was recorded.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path
from typing import Any

import orjson

from api.demo import evidence
from api.demo.market import Quarter
from api.demo.server import POLL_S, DemoFailed, Site

SOURCE = "demo/first-ledger"
# The streams that are imported.
IMPORTED = ("request-", "client-")
REGISTERED_AT, ASKED_AT, CORRECTED_AT = time_of_day(8), time_of_day(9), time_of_day(20)
# Requests of a quarter are spread over its first days, and over the hours of a day.
DAYS, EVERY = 5, timedelta(minutes=11)
# The time between two events: after a program's act, after a person's act, and after a decision without a look.
PROGRAM, PERSON, CARELESS = timedelta(seconds=2), timedelta(minutes=14), timedelta(seconds=5)
SATURDAY = 5
SIGNED_WITHIN_S = 30.0


def carry_over(first: Site, site: Site, periods: Sequence[Quarter], last_position: int) -> None:
    """Import the first ledger's events up to a position into the demo's ledger. Raises DemoFailed."""
    bundle, history = _exported(first, last_position), site.folder / "history.ndjson"
    calendar = _Calendar(periods)
    with zipfile.ZipFile(bundle) as archive, archive.open("events.ndjson") as events, history.open("wb") as file:
        for line in events:
            file.writelines(orjson.dumps(each) + b"\n" for each in _dated(orjson.loads(line), calendar))
    done = site.command("import", "--source", SOURCE, str(history), "--json")
    if done.returncode:
        raise DemoFailed(f"the history was not imported: {done.stderr.strip()[-500:]}")


def _exported(first: Site, last_position: int) -> Path:
    """Export everything, after the server has signed it. Raises DemoFailed."""
    path, until_s = first.folder / "reviews.zip", time.monotonic() + SIGNED_WITHIN_S
    command = [
        "export",
        "--from",
        "1",
        "--to",
        str(last_position),
        "--disclose",
        "all",
        "--output",
        str(path),
        "--json",
    ]
    while evidence.read(first.command(*command), "export")["excluded"]:
        if time.monotonic() > until_s:
            raise DemoFailed("the first ledger does not sign its events")
        path.unlink()
        time.sleep(POLL_S)
    return path


def _dated(line: Mapping[str, Any], calendar: _Calendar) -> Iterator[dict[str, Any]]:
    """Yield the event of a bundle as a line to import; nothing for a stream that stays in its ledger."""
    body = orjson.loads(line["body"])
    if not body["stream"].startswith(IMPORTED):
        return
    data = {**body["data"], **orjson.loads(line.get("fields", "{}"))}
    yield {
        "id": body["id"],
        "position": line["position"],
        "stream": body["stream"],
        "type": body["type"],
        "occurred_at": calendar.moment(body, data).isoformat().replace("+00:00", "Z"),
        "actor": {name: body["actor"][name] for name in ("id", "kind", "role")},
        "data": data,
        "salts": orjson.loads(line.get("salts", "{}")),
        **({"causation": body["causation"]} if "causation" in body else {}),
    }


class _Calendar:
    """The time of each event, in the order of positions: it never goes back within a stream."""

    def __init__(self, periods: Sequence[Quarter]) -> None:
        self._first_day = _working_day(periods[0].known + timedelta(days=1))
        self._quarters = {period.name: period for period in periods}
        self._asked: dict[str, int] = {}
        # By stream: its quarter, the type of its last event, and when that took place.
        self._last: dict[str, tuple[Quarter, str, datetime]] = {}

    def moment(self, body: Mapping[str, Any], data: Mapping[str, Any]) -> datetime:
        """Return when an event took place."""
        stream, kind = body["stream"], body["type"]
        if stream.startswith("client-"):
            return _at(self._first_day, REGISTERED_AT)
        if stream in self._last:
            quarter, before, at = self._last[stream]
            at += _pause(body["actor"]["kind"], before, kind)
            if data.get("reason_code") == "market-event":
                at = max(at, _at(quarter.last, CORRECTED_AT))
        else:
            quarter = self._quarters[data["objectives"][0].removeprefix("Review of ")]
            at = self._begin(quarter)
        self._last[stream] = quarter, kind, at
        return at

    def _begin(self, quarter: Quarter) -> datetime:
        number = self._asked[quarter.name] = self._asked.get(quarter.name, -1) + 1
        days, turn = number % DAYS, number // DAYS
        return _at(_working_day(quarter.known + timedelta(days=1 + days)), ASKED_AT) + turn * EVERY


def _pause(kind: str, before: str, now: str) -> timedelta:
    if kind != "human":
        return PROGRAM
    return CARELESS if (before, now) == ("recommendation.recorded", "recommendation.decided") else PERSON


def _working_day(day: date) -> date:
    while day.weekday() >= SATURDAY:
        day += timedelta(days=1)
    return day


def _at(day: date, hour: time_of_day) -> datetime:
    return datetime.combine(day, hour, UTC)

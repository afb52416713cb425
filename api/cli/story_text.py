"""Write a case, or the story of a client, as lines of text. Nothing is cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

import orjson

from ledger.proof.auditor.report import printable
from ledger.wording import counted
from projections.story.steps import EPOCH, TICK, acted_at
from projections.story.timeline import Timeline

# Members that a line already shows, or that mean nothing to a person.
LEFT_OUT = frozenset({"digest", "client"})
# Longer cells are shown whole, and the columns after them are not aligned.
WIDEST = 60


def case_lines(case: Mapping[str, Any], zone: tzinfo) -> Iterator[str]:
    """Yield the lines of a case from `read_case()`."""
    request = case["request"]
    yield f"case            {case['request_id']}, as of position {case['as_of']}"
    yield printable(f"client          {_text(request['client_id'])}")
    yield f"amount          {request['amount_usd']} USD, {request['risk_profile']}"
    yield printable(f"requested       {_time(request['created_at'], zone)} by {request['requested_by']}")
    yield f"status          {request['status']}"
    for recommendation in case["recommendations"]:
        yield ""
        yield from _recommendation_lines(recommendation, zone)
    yield ""
    yield "steps"
    yield from _step_lines(case["events"], zone)


def timeline_lines(timeline: Timeline, client_id: str, window: str, zone: tzinfo) -> Iterator[str]:
    """Yield the lines of a client's story."""
    steps = sum(map(len, timeline.cases.values())) + len(timeline.registry)
    yield printable(f"client          {client_id}")
    yield f"window          {window or 'everything'}"
    yield f"positions       {timeline.first} to {timeline.last}"
    yield f"found           {counted(len(timeline.cases), 'case')}, {counted(steps, 'event')}"
    for number, events in timeline.cases.items():
        yield ""
        yield f"case {number}"
        yield from _step_lines(events, zone)
    if timeline.registry:
        yield ""
        yield "of no case"
        yield from _step_lines(timeline.registry, zone)
    yield ""
    yield "who looked"
    if not timeline.accesses:
        yield "  nobody, by the record"
    for access in timeline.accesses or ():
        kinds = ("requests", "clients")
        shown = "  ".join(f"{kind} {', '.join(map(str, access[kind]))}" for kind in kinds if access[kind])
        who = f"{access['subject']} ({access['role']})"
        what = f"{access['action']} {access['resource']}"
        yield printable(f"  {_time(access['created_at'], zone)}  {who}  {what}  {shown}")


def _recommendation_lines(row: Mapping[str, Any], zone: tzinfo) -> Iterator[str]:
    yield printable(f"recommendation  {row['id']}, {row['state']}, by {row['agent']} with {row['model_name']}")
    if row["outcome"] is not None:
        reason = f", {row['reason_code']}" if row["reason_code"] else ""
        yield printable(
            f"decided         {_time(row['decided_at'], zone)} {row['outcome']} by {row['decided_by']}{reason}"
        )
    if row["confirmed_by"] is not None:
        yield printable(f"confirmed       {_time(row['confirmed_at'], zone)} by {row['confirmed_by']}")
    if row["communicated_at"] is not None:
        yield printable(
            f"told            {_time(row['communicated_at'], zone)} by {row['communicated_by']}, {row['channel']}"
        )
    if row["lines"] is None:
        yield "  the content was erased"
        return
    decided = row["outcome"] in {"approve", "edit"}
    otherwise = f"({row['outcome'] or 'not decided'})"
    cells = [("", "", "recommended", "decided")]
    for line in row["lines"]:
        after = _text(line["decided"]) if decided else otherwise
        cells.append(("*" if line["changed"] else "", line["path"], _text(line["recommended"]), after))
    yield from _table(cells)


def _step_lines(steps: Iterable[Mapping[str, Any]], zone: tzinfo) -> Iterator[str]:
    for step in steps:
        who = _who(step["actor"])
        if (backfill := step["backfill"]) is not None:
            recorded = f"recorded {_time(step['recorded_at'], zone)}"
            who = f"{_who(backfill.get('actor') or {})}, imported by {who}, {recorded}"
        signed = ", signed" if step["signed"] else ""
        at = _time(EPOCH + acted_at(step) * TICK, zone)
        yield printable(f"  {step['position']:>6}  {at}  {step['type']}  {who}{signed}")
        for name, value in {**step["data"], **step["values"]}.items():
            if name not in LEFT_OUT:
                yield from (printable(line) for line in _member_lines(name, _text(value)))
        for name, why in step["missing"].items():
            yield f"          {name}: {why}"


def _who(actor: Mapping[str, Any]) -> str:
    return f"{actor.get('id')} ({actor.get('role')}, {actor.get('kind')})"


def _member_lines(name: str, text: str) -> Iterator[str]:
    first, *others = text.splitlines() or [""]
    yield f"          {name}: {first}"
    yield from (f"            {line}" for line in others)


def _table(cells: Sequence[Sequence[str]]) -> Iterator[str]:
    shown = [[printable(cell) for cell in row] for row in cells]
    widths = [min(WIDEST, max(map(len, column))) for column in zip(*shown, strict=True)]
    for row in shown:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def _time(moment: datetime, zone: tzinfo) -> str:
    utc = f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return utc if zone is UTC else f"{utc} ({moment.astimezone(zone):%Y-%m-%d %H:%M:%S %Z})"

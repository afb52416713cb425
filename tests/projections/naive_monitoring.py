"""The read models of monitoring folded a second time, in plain Python."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schema.events import (
    AlertAcknowledged,
    AlertClosed,
    AlertEscalated,
    AlertRaised,
    AlertSilenced,
    CorporateActionRecorded,
    Event,
    FlowRecorded,
    MonitoringRunCompleted,
    MonitoringRunStarted,
    NotificationDecided,
    PortfolioDefined,
    RebalancingDecided,
    ValuationRecorded,
)
from tests.projections.naive import Entry, Row


def named(entry: Entry) -> str | None:
    """Return NAME if the stream is `portfolio-NAME`."""
    name = entry.at.stream.removeprefix("portfolio-")
    return name if name and name != entry.at.stream else None


def portfolios(history: Iterable[Entry], clients: dict[str, str]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: dict[str, Row] = {}
    for entry in history:
        name, event = named(entry), entry.event
        if name is None or not isinstance(event, PortfolioDefined):
            continue
        before = rows.get(name, {"id": entry.at.position, "definitions": 0, "created_at": entry.at.recorded_at})
        rows[name] = {
            "stream": entry.at.stream,
            "id": before["id"],
            "name": name,
            "client": event.client,
            "client_id": clients.get(entry.at.stream),
            "base": event.base,
            "targets": event.targets,
            "rest": event.rest,
            "policy": event.policy,
            "risk_profile": event.risk_profile,
            "recommendation_id": event.recommendation_id,
            "source": event.source,
            "assessed_on": event.assessed_on,
            "definitions": before["definitions"] + 1,
            "defined_by": entry.by,
            "created_at": before["created_at"],
            "updated_at": entry.at.recorded_at,
        }
    return sorted(rows.values(), key=lambda row: int(row["id"]))


def portfolio_alerts(history: Iterable[Entry], clients: dict[str, str]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: list[Row] = []
    for entry in history:
        name = named(entry)
        if name is None:
            continue
        for row in rows:
            if (row["portfolio"], row["alert"]) == (name, getattr(entry.event, "alert", None)):
                _change(row, entry)
        if isinstance(entry.event, AlertRaised):
            rows.append(_raised(entry, entry.event, name, clients))
    return rows


def _raised(entry: Entry, event: AlertRaised, name: str, clients: dict[str, str]) -> Row:
    empty = ("acknowledged_at", "acknowledged_by", "acknowledge_rationale", "silenced_until", "silenced_by")
    more = ("silence_reason", "closed_at", "closed_by", "close_reason", "close_rationale")
    decision = ("receivers", "decided_reason", "decided_again_at", "advice", "level", "escalated_at")
    return dict.fromkeys((*empty, *more, *decision)) | {
        "stream": entry.at.stream,
        "id": entry.at.position,
        "portfolio": name,
        "alert": event.alert,
        "client_id": clients.get(entry.at.stream),
        "rule": event.rule,
        "subject": event.subject,
        "cause": event.cause,
        "state": "open",
        "run": event.run,
        "as_of": event.as_of,
        "created_at": entry.at.recorded_at,
        "updated_at": entry.at.recorded_at,
    }


def _change(row: Row, entry: Entry) -> None:
    at, event = entry.at.recorded_at, entry.event
    match event:
        case AlertAcknowledged():
            if row["acknowledged_by"] is None:
                row |= {"acknowledged_at": at, "acknowledged_by": entry.by, "acknowledge_rationale": event.rationale}
        case AlertSilenced():
            row |= {"silenced_until": event.until, "silenced_by": entry.by, "silence_reason": event.reason}
        case AlertClosed():
            if row["state"] != "closed":
                row |= {"state": "closed", "closed_at": at, "closed_by": entry.by}
                row |= {"close_reason": event.reason, "close_rationale": event.rationale}
        case NotificationDecided():
            row |= {"receivers": event.receivers, "decided_reason": event.reason, "decided_again_at": event.until}
        case AlertEscalated():
            row |= {"level": event.level, "escalated_at": at}
        case RebalancingDecided():
            row["advice"] = event.cause or event.outcome
        case _:
            return
    row["updated_at"] = at
    if row["state"] != "closed" and row["acknowledged_by"] is not None:
        row["state"] = "action-proposed" if row["advice"] in {"opened", "joined"} else "acknowledged"


def notifications(history: Iterable[Entry], clients: dict[str, str]) -> list[Row]:
    """Return the rows, in the order of id."""
    raised: dict[tuple[str, int], int] = {}
    rows: list[Row] = []
    for entry in history:
        name, event = named(entry), entry.event
        if name is not None and isinstance(event, AlertRaised):
            raised[name, event.alert] = entry.at.position
        if name is None or not isinstance(event, NotificationDecided):
            continue
        rows.append(
            {
                "stream": entry.at.stream,
                "id": entry.at.position,
                "portfolio": name,
                "client_id": clients.get(entry.at.stream),
                "alert_id": raised.get((name, event.alert)),
                **_members(event, "about", "receivers", "reason", "until", "run", "as_of", "historical"),
                "decided_by": entry.by,
                "created_at": entry.at.recorded_at,
            }
        )
    return rows


def _members(event: Event, *names: str) -> dict[str, Any]:
    return {name: getattr(event, name) for name in names}


def monitoring_runs(history: Iterable[Entry]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: dict[str, Row] = {}
    for entry in history:
        stream, event = entry.at.stream, entry.event
        number = stream.removeprefix("monitoring-")
        if number == stream or not number.isdigit() or number[0] == "0":
            continue
        if isinstance(event, MonitoringRunStarted) and entry.at.version == 1:
            rows[stream] = _started(entry, event, int(number))
        if isinstance(event, MonitoringRunCompleted) and rows.get(stream, {}).get("state") == "started":
            rows[stream] |= _members(event, "portfolios", "raised", "closed", "decisions", "policies", "root")
            rows[stream] |= {str(name): count for name, count in event.conditions.items()}
            rows[stream] |= {"state": "completed", "completed_at": entry.at.recorded_at}
    return sorted(rows.values(), key=lambda row: int(row["id"]))


def _started(entry: Entry, event: MonitoringRunStarted, number: int) -> Row:
    counts = ("portfolios", "ok", "watch", "breached", "unknown", "raised", "closed", "decisions")
    return dict.fromkeys((*counts, "policies", "root", "completed_at")) | {
        "stream": entry.at.stream,
        "id": number,
        "state": "started",
        "as_of": event.as_of,
        "judged_upto": event.position,
        "historical": event.historical,
        "zone_data": event.zone_data,
        "started_by": entry.by,
        "created_at": entry.at.recorded_at,
    }


def flows(history: Iterable[Entry], clients: dict[str, str]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: list[Row] = []
    for entry in history:
        event, portfolio = entry.event, _after(entry, "flows-")
        if portfolio is None or not isinstance(event, FlowRecorded):
            continue
        _replace(rows, entry, {"reference": event.reference})
        members = ("client", "reference", "date", "kind", "amount", "currency", "source")
        row = {name: getattr(event, name) for name in members}
        row |= {"portfolio": portfolio, "client_id": clients.get(entry.at.stream), "withdrawn": bool(event.withdrawn)}
        rows.append(_record(entry) | row | {"replaced_by": None})
    return rows


def valuations(history: Iterable[Entry], clients: dict[str, str]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: list[Row] = []
    for entry in history:
        event, portfolio = entry.event, _after(entry, "valuation-")
        if portfolio is not None and isinstance(event, ValuationRecorded):
            row = {"portfolio": portfolio, "client": event.client, "client_id": clients.get(entry.at.stream)}
            row |= {"valued_on": event.as_of, "source": event.source, "currency": event.currency}
            rows.append(_record(entry) | row | {"amounts": dict(event.values)})
    return rows


def corporate_actions(history: Iterable[Entry]) -> list[Row]:
    """Return the rows, in the order of id."""
    rows: list[Row] = []
    for entry in history:
        event = entry.event
        if entry.at.stream != "corporate-actions" or not isinstance(event, CorporateActionRecorded):
            continue
        about = {"asset": event.asset, "date": event.date, "action": event.action}
        _replace(rows, entry, about)
        row = {name: getattr(event, name) for name in ("ratio", "price", "currency", "source")}
        row |= {**about, "becomes": event.to, "withdrawn": bool(event.withdrawn), "replaced_by": None}
        rows.append(_record(entry) | row)
    return rows


def _after(entry: Entry, category: str) -> str | None:
    """Return NAME if the stream is the category and NAME."""
    name = entry.at.stream.removeprefix(category)
    return name if name and name != entry.at.stream else None


def _record(entry: Entry) -> Row:
    at = entry.at
    return {"stream": at.stream, "id": at.position, "recorded_by": entry.by, "created_at": entry.recorded_at}


def _replace(rows: Iterable[Row], entry: Entry, about: Row) -> None:
    """Note in the last row that is about the same that this record replaced it."""
    for row in rows:
        same = row["stream"] == entry.at.stream and about.items() <= row.items()
        if same and row["replaced_by"] is None:
            row["replaced_by"] = entry.at.position

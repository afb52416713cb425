"""Write found events in forms that other systems read: CloudEvents 1.0, and OCSF 1.7 (docs/use/follow.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import orjson

EventForm = Literal["ledger", "cloudevents", "ocsf"]
FORM_HELP = "The form of each event: as here (the default), a CloudEvent 1.0, or an event of OCSF 1.7."
CLOUDEVENTS_BATCH = "application/cloudevents-batch+json"

OCSF_VERSION = "1.7.0"
# Entity Management: somebody did something to a thing. The thing is the event's stream.
CATEGORY, CLASS = 3, 3004
CREATE, READ, UPDATE, DELETE = 1, 2, 3, 4
ACTIVITIES = {CREATE: "Create", READ: "Read", UPDATE: "Update", DELETE: "Delete"}
# Other events begin a stream, or continue it.
BY_TYPE = {"access.recorded": READ, "client.erased": DELETE, "values.erased": DELETE}
INFORMATIONAL, SUCCESS = 1, 1
USER_TYPES = {"human": 1, "service": 4, "agent": 4}
# Members that OCSF lacks.
UNMAPPED = ("version", "role", "actor_kind", "model", "outcome", "amount_usd", "client_id", "request_id", "imported_by")


def shaped(item: Mapping[str, Any], form: EventForm, origin: str) -> Mapping[str, Any]:
    """Return a found event in this form. `origin` is the name of the ledger."""
    if form == "cloudevents":
        return cloud_event(item, origin)
    return ocsf_event(item, origin) if form == "ocsf" else item


def cloud_event(item: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Return a CloudEvent (CloudEvents 1.0.2, JSON format). `id` is the position: with `source` it is unique."""
    return {
        "specversion": "1.0",
        "id": str(item["position"]),
        "source": origin,
        "type": item["type"],
        "subject": item["stream"],
        "time": item["occurred_at"] or item["recorded_at"],
        "datacontenttype": "application/json",
        "data": item,
    }


def ocsf_event(item: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Return an event of OCSF's class Entity Management. It has only what the search shows, so no sealed value."""
    recorded_at: datetime = item["recorded_at"]
    activity = BY_TYPE.get(item["type"], CREATE if item["version"] == 1 else UPDATE)
    kind = str(item["actor_kind"])
    return {
        "activity_id": activity,
        "activity_name": ACTIVITIES[activity],
        "actor": {"user": {"uid": item["actor"] or "unknown", "type_id": USER_TYPES.get(kind, 0)}},
        "category_name": "Identity & Access Management",
        "category_uid": CATEGORY,
        "class_name": "Entity Management",
        "class_uid": CLASS,
        "entity": {"type": item["stream"].split("-", 1)[0], "uid": item["stream"]},
        "message": f"{item['type']} in {item['stream']}",
        "metadata": {
            "event_code": item["type"],
            "log_name": origin,
            "original_time": item["occurred_at"] or item["recorded_at"],
            "product": {"name": "advice-ledger", "vendor_name": "advice-ledger"},
            "sequence": item["position"],
            "uid": f"{origin}#{item['position']}",
            "version": OCSF_VERSION,
        },
        "severity": "Informational",
        "severity_id": INFORMATIONAL,
        "status": "Success",
        "status_id": SUCCESS,
        "time": int(recorded_at.timestamp() * 1000),
        "type_name": f"Entity Management: {ACTIVITIES[activity]}",
        "type_uid": CLASS * 100 + activity,
        "unmapped": {name: item[name] for name in UNMAPPED if item[name] is not None},
    }


def encoded(content: object) -> bytes:
    """Write JSON as all answers do: money as strings, times as RFC 3339 UTC."""
    return orjson.dumps(content, default=str, option=orjson.OPT_UTC_Z)


class EventWriter:
    """Writes pages of events as a JSON array, or as a line of JSON each."""

    def __init__(self, form: EventForm, origin: str, *, array: bool) -> None:
        self._form: EventForm = form
        self._origin = origin
        self._array = array
        self._before = b"["

    def page(self, items: Sequence[Mapping[str, Any]]) -> bytes:
        """Write a page."""
        written = [encoded(shaped(item, self._form, self._origin)) for item in items]
        if not self._array:
            return b"".join(line + b"\n" for line in written)
        if not written:
            return b""
        page, self._before = self._before + b",".join(written), b","
        return page

    def end(self) -> bytes:
        """Write what comes after the last page."""
        if not self._array:
            return b""
        return b"[]" if self._before == b"[" else b"]"

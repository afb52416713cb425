"""Choose the form of an answer by the header Accept (RFC 9110, section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request

from api.http.problems import ApiError

JSON, CSV, NDJSON = "application/json", "text/csv", "application/x-ndjson"
# The forms of a list, and the names in the OpenAPI document of those other than JSON.
FORMS = (JSON, CSV, NDJSON)
TEXT = {"schema": {"type": "string"}}
IN_FORMS: dict[int | str, dict[str, Any]] = {200: {"content": {CSV: TEXT, NDJSON: TEXT}}}
MOST_RANGES = 50


def negotiate(request: Request, offered: Sequence[str]) -> str:
    """Return the offered type that the caller prefers; if several are equal, the first. Raises ApiError (406)."""
    header = ", ".join(request.headers.getlist("accept")).strip()
    if not header:
        return offered[0]
    ranges = dict(map(_parsed, header.split(",")[:MOST_RANGES]))
    best = max(offered, key=lambda each: _quality(each, ranges))
    if _quality(best, ranges) <= 0:
        raise ApiError("not-acceptable", f"this list comes as {', '.join(offered)}: change the header Accept")
    return best


def _parsed(text: str) -> tuple[str, float]:
    """Return a media range and its quality. A malformed range counts as not acceptable."""
    name, *parameters = (part.strip() for part in text.lower().split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, float(value)
            except ValueError:
                return name, 0.0
    return name, 1.0


def _quality(media_type: str, ranges: dict[str, float]) -> float:
    """Return the quality of a type for the caller, by the most specific matching range."""
    general = media_type.split("/", maxsplit=1)[0] + "/*"
    return next((ranges[name] for name in (media_type, general, "*/*") if name in ranges), 0.0)

"""Find the request that a span belongs to, from the attribute `advice_ledger.request_id`.

The attribute is looked up on the span, on the spans around it, on its resource, and on any span of its trace in the
same export, in this order. Without it the span belongs to no request.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from api.otlp.attributes import plain

KEY = "advice_ledger.request_id"
DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
MAX_ID = 2**63 - 1
# Limit on the spans that are followed outwards: a malicious trace may be as deep as the export is long.
MAX_AROUND = 100


class NoLink(ValueError):
    """The attribute is malformed or ambiguous."""

    reason = "link"


class Links:
    """The links of all spans in one export request."""

    def __init__(self, spans: Iterable[tuple[Span, Mapping[str, Any], ResourceSpans]]) -> None:
        self._own: dict[tuple[bytes, bytes], Any] = {}
        self._parents: dict[tuple[bytes, bytes], bytes] = {}
        self._resources: dict[tuple[bytes, bytes], Any] = {}
        self._traces: dict[bytes, set[str]] = {}
        of_resource: dict[int, Any] = {}
        for span, attributes, resource in spans:
            key = (span.trace_id, span.span_id)
            if id(resource) not in of_resource:
                of_resource[id(resource)] = plain(resource.resource.attributes).get(KEY)
            self._parents[key] = span.parent_span_id
            self._resources[key] = of_resource[id(resource)]
            own = attributes.get(KEY)
            if own is not None:
                self._own[key] = own
                self._traces.setdefault(span.trace_id, set()).add(str(own))

    def request_id(self, span: Span) -> int | None:
        """Return the id of the request that this span belongs to. Raises NoLink."""
        link = self._own_or_around(span)
        if link is None:
            link = self._resources[span.trace_id, span.span_id]
        if link is None:
            named = self._traces.get(span.trace_id, set())
            if len(named) > 1:
                raise NoLink(f"{KEY}: spans of this trace name several requests, and none is around this one")
            link = next(iter(named), None)
        return None if link is None else _number(link)

    def _own_or_around(self, span: Span) -> Any:
        """Return the link of the span or of the nearest span around it. MAX_AROUND also ends a circle of spans."""
        trace_id, span_id = span.trace_id, span.span_id
        for _ in range(MAX_AROUND):
            if (trace_id, span_id) in self._own:
                return self._own[trace_id, span_id]
            span_id = self._parents.get((trace_id, span_id), b"")
            if not span_id:
                break
        return None


def _number(value: Any) -> int:
    """Return a request's id from a number or a text of digits. Raises NoLink."""
    digits = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not DIGITS.fullmatch(digits) or not 0 < int(digits) <= MAX_ID:
        raise NoLink(f"{KEY}: not the id of a request")
    return int(digits)

"""Which of our requests a span belongs to, as its sender says with the attribute `advice_ledger.request_id`.

Looked for on the span itself, then on the spans around it, then on its resource, then on any span of its trace in the
same export. None of them: the span belongs to no request.
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
# So many spans around a span are looked at: a made-up trace may be as deep as the export is long.
MAX_AROUND = 100


class NoLink(ValueError):
    """What the sender says of the request cannot be followed."""


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
        """The request that this span belongs to. Raises NoLink."""
        found = self._around(span)
        if found is None:
            found = self._resources[span.trace_id, span.span_id]
        if found is None:
            named = self._traces.get(span.trace_id, set())
            if len(named) > 1:
                raise NoLink(f"{KEY}: spans of this trace name several requests, and none is around this one")
            found = next(iter(named), None)
        return None if found is None else _number(found)

    def _around(self, span: Span) -> Any:
        """Of the span or the nearest one around it; spans that are around each other end like deep ones."""
        trace_id, span_id = span.trace_id, span.span_id
        for _ in range(MAX_AROUND):
            if (trace_id, span_id) in self._own:
                return self._own[trace_id, span_id]
            span_id = self._parents.get((trace_id, span_id), b"")
            if not span_id:
                break
        return None


def _number(value: Any) -> int:
    """A request's number, sent as a number or as digits."""
    digits = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not DIGITS.fullmatch(digits) or not 0 < int(digits) <= MAX_ID:
        raise NoLink(f"{KEY}: not the number of a request")
    return int(digits)

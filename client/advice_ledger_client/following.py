"""Track a follower's progress in the stream of events, without input or output: messages, and where to continue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from advice_ledger_client.errors import LedgerProblem
from advice_ledger_client.wire import RETRIED_STATUSES, HttpRequest, read

PATH = "/events/stream"


class Following:
    """A stream over any number of connections. `last` is the position after which to continue."""

    def __init__(self, after: int | None, filters: Mapping[str, object]) -> None:
        self.last = after
        # All events up to here were sent, once the server has said so.
        self.is_caught_up = False
        # True once no other event can match.
        self.has_ended = False
        self._filters = filters
        self._fields: dict[str, str] = {}

    def request(self) -> HttpRequest:
        """Build the request that continues where the stream ended."""
        self._fields = {}
        headers = {"Accept": "text/event-stream"}
        if self.last is not None:
            headers["Last-Event-ID"] = str(self.last)
        request = read(PATH, **self._filters)
        return HttpRequest(request.method, request.path, request.params, headers=headers)

    def take(self, line: str) -> dict[str, Any] | None:
        """Process a line; return the event that it completes. Raises LedgerProblem if the server ends the stream for
        good.

        Another problem of the server, such as a database that does not answer, ends this connection only.
        """
        if line:
            name, _, value = line.partition(": ")
            if name:  # otherwise it is a comment
                self._fields[name] = value
            return None
        fields, self._fields = self._fields, {}
        if fields.get("id", "").isdecimal():
            self.last = int(fields["id"])
        if "data" not in fields:
            return None
        content: dict[str, Any] = json.loads(fields["data"])
        return self._taken(fields.get("event"), content)

    def _taken(self, name: str | None, content: dict[str, Any]) -> dict[str, Any] | None:
        if name is None:
            return content
        self.is_caught_up = self.is_caught_up or name == "caught-up"
        self.has_ended = self.has_ended or name == "end"
        if name == "problem" and content.get("status") not in RETRIED_STATUSES:
            status = int(content.get("status", 0))
            raise LedgerProblem(str(content.get("type", "")).removeprefix("/problems/"), status, content)
        return None

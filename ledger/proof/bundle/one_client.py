"""Check that several identifiers belong to one client, by the events of its streams that say so.

A stream `client-N` belongs to one identifier. Its event `client.aliased` or `client.merged` names another number.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger.proof.format.canonical import parse_object

CATEGORY = "client-"
# The member of `data` that has the number of the other client, by type of event.
LINKS = {"client.aliased": "of", "client.merged": "into"}


class OneClient:
    """`add` each event, and `name` the streams; then `unlinked` returns the identifiers that no link connects."""

    def __init__(self) -> None:
        self._streams: dict[str, set[str]] = {}
        # By stream: the streams that it was merged into, and those that were merged into it.
        self._linked: dict[str, set[str]] = {}

    def add(self, stream: str, event_type: str, body: bytes) -> None:
        """Note the other stream that an event links with its own, if it does. The body is canonical JSON."""
        member = LINKS.get(event_type)
        if member is None or not stream.startswith(CATEGORY):
            return
        data = parse_object(body).get("data")
        number = data.get(member) if isinstance(data, dict) else None
        if type(number) is int:
            other = f"{CATEGORY}{number}"
            self._linked.setdefault(stream, set()).add(other)
            self._linked.setdefault(other, set()).add(stream)

    def name(self, stream: str, client_id: str) -> None:
        """Note the identifier that a stream shows."""
        if stream.startswith(CATEGORY):
            self._streams.setdefault(client_id, set()).add(stream)

    def unlinked(self, client_id: str, also: Iterable[str]) -> list[str]:
        """Return the other identifiers that no chain of links connects with the streams of this one."""
        reached: set[str] = set()
        waiting = list(self._streams.get(client_id, ()))
        while waiting:
            stream = waiting.pop()
            if stream not in reached:
                reached.add(stream)
                waiting.extend(self._linked.get(stream, ()))
        return [each for each in also if not self._streams.get(each, set()) & reached]

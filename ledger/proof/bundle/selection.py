"""Parse the selection of a bundle, as its manifest states it: docs/formats/bundle.md, section 2."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from ledger.proof.bundle.zip import BundleError, BundleFlaw
from ledger.proof.casefile.moments import time_text
from ledger.proof.tlog.merkle import MAX_SIZE

Kind = Literal["positions", "client", "request", "search"]
SEARCH_FILTER = re.compile(r"type|stream|actor|role|model|outcome|text|client|(amount|position|occurred)_(from|to)")


@dataclass(frozen=True)
class Selection:
    """Positions, or streams of a request, of a search, or of a client within [from_us, until_us) unless that is 0.

    The times are those at which acts took place. A window from 0 on has no beginning.

    `also` are the other identifiers of the client, in order.
    """

    kind: Kind
    client: str | None = None
    request: int = 0
    first_position: int = 0
    last_position: int = 0
    from_us: int = 0
    until_us: int = 0
    also: tuple[str, ...] = ()
    filters: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return all identifiers of the client; empty if the selection names no client."""
        return () if self.client is None else (self.client, *self.also)

    @property
    def has_leaf(self) -> bool:
        """Return True if the ledger's record of where streams end can show the end of this selection."""
        return self.kind in {"client", "request"} and not self.until_us

    def members(self) -> dict[str, Any]:
        """Return the member `selection` of the manifest."""
        kind: dict[str, Any] = {"kind": self.kind}
        if self.kind == "client":
            kind["client"] = self.client
            kind |= {"also": list(self.also)} if self.also else {}
            return kind | ({"from_us": self.from_us, "until_us": self.until_us} if self.until_us else {})
        if self.kind == "request":
            return kind | {"request": self.request}
        if self.kind == "search":
            return kind | {"filters": dict(self.filters), "last_position": self.last_position}
        return kind | {"first_position": self.first_position, "last_position": self.last_position}

    def words(self) -> str:
        """Return the selection in words, made of checked members."""
        if self.kind == "client":
            client = "a client, whose id is not shown" if self.client is None else f"client {self.client}"
            also = f", also known as {', '.join(self.also)}" if self.also else ""
            times = f" from {time_text(self.from_us)} UTC until before {time_text(self.until_us)} UTC"
            return client + also + (times if self.until_us else "")
        if self.kind == "request":
            return f"request {self.request}"
        if self.kind == "search":
            return f"streams with {', '.join(map(' '.join, self.filters))}, up to position {self.last_position}"
        return f"positions {self.first_position} to {self.last_position}"

    def uncovered(self, size: int) -> tuple[int, int]:
        """Return the number of a range's positions beyond this size, and the first one; 0 and 0 if all are covered."""
        first = max(self.first_position, size + 1)
        return (self.last_position - first + 1, first) if self.last_position >= first else (0, 0)


def parse_selection(value: Any) -> Selection:
    """Parse the member `selection`. Raises BundleError, or a Python error for members of a wrong type."""
    kind = value["kind"]
    if kind == "client":
        client = None if value["client"] is None else text_of(value["client"])
        also = tuple(map(text_of, value.get("also", ())))
        if also and (client is None or client in also or list(also) != sorted(set(also))):
            raise BundleError(BundleFlaw.MANIFEST, "identifiers of a client that stand twice, or out of order")
        start, end = (number_of(value[name]) if "until_us" in value else 0 for name in ("from_us", "until_us"))
        if "until_us" in value and start >= end:
            raise BundleError(BundleFlaw.MANIFEST, f"times from {start} until {end} are no window")
        return Selection("client", client, from_us=start, until_us=end, also=also)
    if kind == "request":
        return Selection("request", request=number_of(value["request"]))
    if kind == "positions":
        first, last = number_of(value["first_position"]), number_of(value["last_position"])
        if not 1 <= first <= last:
            raise BundleError(BundleFlaw.MANIFEST, f"positions {first} to {last} are no range")
        return Selection("positions", first_position=first, last_position=last)
    if kind == "search":
        filters = tuple((name, text_of(each)) for name, each in value["filters"].items())
        if not filters or not all(SEARCH_FILTER.fullmatch(name) and 0 < len(each) <= 200 for name, each in filters):
            raise BundleError(BundleFlaw.MANIFEST, "filters that no search has")
        return Selection("search", last_position=number_of(value["last_position"]), filters=filters)
    raise BundleError(BundleFlaw.MANIFEST, f"selection of the kind {ascii(kind)[:60]}")


def text_of(value: Any) -> str:
    """Return a member that must be a text. Raises TypeError."""
    if type(value) is str:
        return value
    raise TypeError


def number_of(value: Any) -> int:
    """Return a member that must be a number of the format. Raises TypeError or ValueError."""
    if type(value) is not int:
        raise TypeError
    if not 0 <= value <= MAX_SIZE:
        raise ValueError(f"the number {value} is not from 0 to {MAX_SIZE}")
    return value

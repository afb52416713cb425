"""Read which values the events report as erased: these may be missing, and must not exist any more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ledger.database import Connection

HERE = Path(__file__).parent
ERASURES, NOT_ERASED = ((HERE / f"{name}.sql").read_bytes() for name in ("erasures", "not_erased"))
INDEX = "SELECT stream, position FROM erased_streams"
CLIENTS = "SELECT stream FROM stream_clients WHERE stream = ANY (%s) ORDER BY stream LIMIT 100"


@dataclass(frozen=True)
class Erasures:
    """Map each erased stream to the position of the event that erases it and the id of the erasure."""

    of_stream: dict[str, tuple[int, int]] = field(default_factory=dict)

    def covering(self, stream: str, position: int) -> int | None:
        """Return the id of the erasure that covers values at this position; None if no event reports one."""
        erased_at, erasure_id = self.of_stream.get(stream, (0, 0))
        return erasure_id if position < erased_at else None


def read_erasures(conn: Connection) -> Erasures:
    """Read the events that erase their streams. A stream has at most one such event, because no event may follow it."""
    return Erasures({str(stream): (int(at), int(id_ or 0)) for at, stream, id_ in conn.execute(ERASURES)})


def other_than_said(conn: Connection, erasures: Erasures) -> Iterator[tuple[int, str]]:
    """Yield the position and description of each contradiction to the events: values that still exist, or a wrong
    index."""
    index = {str(stream): int(position) for stream, position in conn.execute(INDEX)}
    said = {stream: at for stream, (at, _) in erasures.of_stream.items()}
    for stream in sorted(index.items() ^ said.items()):
        yield said.get(stream[0], 0), f"the index of erased streams disagrees with the events about {stream[0]!r}"
    given = {"streams": list(said), "positions": list(said.values())}
    for position, stream in conn.execute(NOT_ERASED, given):
        yield int(position), f"sealed values of {stream!r} stand here, and a later event says that they are erased"
    for (stream,) in conn.execute(CLIENTS, [list(said)]):
        yield said[stream], f"the index of clients has {stream!r}, which is erased"

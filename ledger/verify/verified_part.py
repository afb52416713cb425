"""Hold what a helper process says of a part of the chain that has no fault of its own."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from ledger.proof.acts.checker import MOST_PLACES, ActsOf, KeyEvent
from ledger.proof.format.events import EventRow


@dataclass
class Unsigned:
    """Count the unsigned acts of one actor and type in a part. `places` are the first positions.

    A part has many, and a whole body for each would cost more than its check.
    """

    actor: str
    type: str
    count: int
    places: list[int]

    def note(self, position: int) -> None:
        """Count one more."""
        self.count += 1
        if len(self.places) < MOST_PLACES:
            self.places.append(position)

    def add_to(self, acts: ActsOf) -> None:
        """Add the acts to those of the actor, or of the actors that are counted together."""
        acts.unsigned[self.type] = acts.unsigned.get(self.type, 0) + self.count
        # Acts of several actors that are counted together do not come in order of position.
        acts.places[self.type] = sorted([*acts.places.get(self.type, []), *self.places])[:MOST_PLACES]


@dataclass(frozen=True)
class Part:
    """Hold the result of verifying some events apart from those before them. They have no fault of their own.

    `hashes` are the hashes of the events, joined. `acts` are the signed acts and the events about keys, as position,
    time and body, and the counts of unsigned acts, each at the place of its first.
    """

    first: EventRow
    before_last: EventRow | None
    last: EventRow
    hashes: bytes
    opened: int
    erased: dict[int, int]
    versions: int
    without_client: array[int]
    acts: list[KeyEvent | Unsigned]

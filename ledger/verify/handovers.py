"""Find the keys that recorded rotations connect with the keys that a verifier trusts."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.database import Connection
from ledger.proof.tlog.key_rotation import Rotation, followed, key_name
from ledger.proof.tlog.note import VerifierKey
from ledger.tlog.sign.recorded_rotations import recorded_rotations


class Handovers:
    """Hold the keys that recorded rotations connect with the given keys: later keys and earlier ones.

    A key confirms its successor without limit. It confirms its predecessor only for checkpoints of fewer events than
    the position of the rotation. Otherwise somebody who got hold of a replaced key could sign new checkpoints.
    """

    def __init__(self, given: Sequence[VerifierKey], recorded: Sequence[tuple[int, Rotation]] = ()) -> None:
        rotations = [one for _, one in recorded]
        after = [*given, *(one.new for one in followed(given, rotations))]
        self._until: dict[str, int] = {}
        known = set(after)
        while earlier := [(at, one) for at, one in recorded if one.new in known and one.old not in known]:
            at, one = earlier[0]
            known.add(one.old)
            after.append(one.old)
            self._until[key_name(one.old)] = min(at, self._until.get(key_name(one.new), at))
        self.keys = tuple(dict.fromkeys(after))

    def until(self, signer: str | None) -> int | None:
        """Return the size from which on checkpoints of this signer (name and id) do not count; None if all of them
        count."""
        return None if signer is None else self._until.get(signer)


def handovers(conn: Connection, origin: str, given: Sequence[VerifierKey]) -> Handovers:
    """Return the keys that recorded rotations connect with the given keys. Raises psycopg.Error."""
    rotations = recorded_rotations(conn, origin) if given else []
    return Handovers(given, [(recorded.position, recorded.rotation) for recorded in rotations])

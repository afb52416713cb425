"""Which witnesses a log asks, how many of them must have cosigned a checkpoint, and how far that is so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from ledger.log.wire import address
from ledger.proof.cosignature import WitnessKey
from ledger.proof.note import NoteError

Connection = psycopg.Connection[Any]

# Of so many checkpoints, the newest, the cosignatures are looked at.
MOST_LOOKED_AT = 10_000

# The newest checkpoint, and the newest that as many of these witnesses as are needed have cosigned.
STANDING = """
    SELECT n.size, n.created_at, q.size, q.created_at
    FROM (SELECT size, created_at FROM checkpoints ORDER BY size DESC LIMIT 1) n
    LEFT JOIN LATERAL (
        SELECT c.size, c.created_at
        FROM (SELECT size, created_at FROM checkpoints ORDER BY size DESC LIMIT %(most)s) c
        WHERE (SELECT count(*) FROM cosignatures s WHERE s.size = c.size AND s.witness = ANY (%(witnesses)s))
            >= %(quorum)s
        ORDER BY c.size DESC LIMIT 1
    ) q ON true
"""


class BadWitness(ValueError):
    """The configuration names a witness in a way that cannot be used; the message says how to write it."""


@dataclass(frozen=True, slots=True)
class Configured:
    """A witness to ask: where, and the key that its cosignatures must be by."""

    url: str
    key: WitnessKey

    @classmethod
    def parse(cls, text: str) -> Configured:
        """Reads URL=VERIFIER_KEY. The URL is the prefix before /add-checkpoint. Raises BadWitness."""
        url, separator, key = text.strip().partition("=")
        if not separator:
            raise BadWitness("a witness is written URL=VERIFIER_KEY")
        try:
            address(url)
        except ValueError as error:
            raise BadWitness(f"a witness is written URL=VERIFIER_KEY, and before the = is {error}") from None
        try:
            return cls(url.rstrip("/"), WitnessKey.parse(key))
        except NoteError as error:
            raise BadWitness(f"the verifier key of a witness cannot be used: {error}") from None

    @property
    def witness(self) -> str:
        """The column `witness` of its cosignatures."""
        return f"{self.key.name}+{self.key.key_id:08x}"


@dataclass(frozen=True, slots=True)
class Policy:
    """Which witnesses are asked, and how many must have cosigned a checkpoint for it to count as witnessed."""

    witnesses: tuple[Configured, ...] = ()
    quorum: int = 0

    def __post_init__(self) -> None:
        names = [one.witness for one in self.witnesses]
        if len(set(names)) != len(names):
            raise BadWitness("a witness is named twice: a second address of the same key is no second witness")
        if not 0 <= self.quorum <= len(names):
            raise BadWitness(f"{self.quorum} cosignatures are needed, and {len(names)} witnesses are configured")

    @classmethod
    def of(cls, texts: Sequence[str], quorum: int | None = None) -> Policy:
        """From the configuration. Without a quorum, a majority. Raises BadWitness."""
        witnesses = tuple(Configured.parse(text) for text in texts)
        return cls(witnesses, len(witnesses) // 2 + 1 if quorum is None and witnesses else quorum or 0)

    @property
    def parameters(self) -> dict[str, Any]:
        """What the query STANDING takes."""
        names = [one.witness for one in self.witnesses]
        return {"witnesses": names, "quorum": self.quorum, "most": MOST_LOOKED_AT}


class Standing(NamedTuple):
    """A row of STANDING. `witnessed` is the size of the newest checkpoint that satisfies the policy."""

    size: int
    created_at: datetime
    witnessed: int | None
    witnessed_at: datetime | None


def standing(conn: Connection, policy: Policy) -> Standing | None:
    """How far the log is witnessed; None before the first checkpoint. Any role that reads the log may ask."""
    row = conn.execute(STANDING, policy.parameters).fetchone()
    return None if row is None else Standing(*row)

"""Asks witnesses to cosign checkpoints (docs/operate/witnesses.md; C2SP tlog-witness).

Each witness has a thread of its own, which asks for the newest checkpoint and leaves out those in between. A checkpoint
is published whether or not anybody cosigned it: a policy says how many should have, and readers decide.

    Trouble            (wire.py)
    ├── Unreachable    no answer
    ├── Refused        an answer, and no cosignature that holds
    ├── Ahead          the witness has seen a larger tree than the database has: an older copy was restored here
    └── Forked         the witness has seen another tree of the same size, or one that this one does not extend
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import psycopg

from ledger.database import Connection
from ledger.proof.tlog.checkpoint import strict_decimal
from ledger.proof.tlog.cosignature import TIMESTAMP_BYTES, AddCheckpoint
from ledger.proof.tlog.merkle import consistency_proof
from ledger.proof.tlog.note import NoteError, Signature, parse, parse_signatures
from ledger.proof.tlog.tiles import Tile, reader
from ledger.tlog.endorse.http import EndorserError, HttpAnswer, HttpClient
from ledger.tlog.endorse.poller import Poller, RetryPolicy
from ledger.tlog.quorum import WitnessConfig
from ledger.tlog.serve.newest_checkpoint import newest_checkpoint
from ledger.tlog.serve.tiles import CONTENTS

MOST_ANSWER_BYTES = 65_536
# A witness that tells another size each time is not asked for ever.
MOST_TRIES = 3
# The time is what a cosignature adds; one that is further off says nothing.
MOST_SKEW_S = 3600

OF_SIZE = "SELECT size, note FROM checkpoints WHERE size = %s"
LAST_COSIGNED = "SELECT coalesce(max(size), 0) FROM cosignatures WHERE witness = %s"
STORE = "INSERT INTO cosignatures (size, witness, line) VALUES (%s, %s, %s) ON CONFLICT (size, witness) DO NOTHING"


class CosignatureRefused(EndorserError):
    """The witness answered, and not with a cosignature that holds."""


class WitnessAhead(EndorserError):
    """The witness has seen a larger tree than there is here."""


class WitnessForked(EndorserError):
    """The witness has seen another history."""


class SharedSizes:
    """Which size each asker took up last, so that they meet at the same sizes and these come to have a quorum."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}

    def take(self, witness: str, newest: int, last: int) -> int:
        """The size to ask `witness` for, which cosigned `last`: one that another is asked for, or else the newest."""
        with self._lock:
            others = [size for name, size in self._sizes.items() if name != witness and last < size <= newest]
            self._sizes[witness] = max(others, default=newest)
            return self._sizes[witness]


class WitnessPoller(Poller):
    """Asks one witness."""

    def __init__(self, conninfo: str, configured: WitnessConfig, chosen: SharedSizes, pace: RetryPolicy) -> None:
        url = f"{configured.url}/add-checkpoint"
        http = HttpClient(url, timeout_s=pace.timeout_s, max_bytes=MOST_ANSWER_BYTES)
        super().__init__(configured.witness, http, pace)
        self._conninfo = conninfo
        self._key = configured.key
        self._chosen = chosen
        # What the witness has seen, as far as known; None before it was asked or looked up.
        self._seen: int | None = None

    def poll(self) -> float | None:
        """Gets one cosignature, if there is a checkpoint newer than the last. Raises Trouble."""
        with psycopg.connect(self._conninfo, autocommit=True) as conn:
            if self._seen is None:
                self._seen = self.size = _last(conn, self.endorser)
            newest = _newest(conn)
            if newest is None or newest[0] <= self.size:
                return None
            wanted = self._chosen.take(self.endorser, newest[0], self.size)
            size, line = self._ask(conn, conn.execute(OF_SIZE, [wanted]).fetchone() or newest)
            conn.execute(STORE, [size, self.endorser, line])
            self.size = self._seen = size
        return 0

    def _ask(self, conn: Connection, target: tuple[int, str]) -> tuple[int, str]:
        """The size and the cosignature line that the witness gave for it."""
        for _ in range(MOST_TRIES):
            size, note = target
            old = self._seen or 0
            if old > size:  # it saw a newer one than the one chosen
                target = size, note = _newest(conn) or target
            if old > size:
                self._seen = None  # asked anew next time: a witness may have told something else
                raise WitnessAhead(f"has seen a tree of {old}, and there are {size} here: was an older copy restored?")
            request = AddCheckpoint(old, tuple(proof_between(conn, old, size)), note.encode())
            answer = self._http.post(request.encode(), "text/plain; charset=utf-8")
            if answer.status == 200:
                return size, self._checked(answer, note)
            self._seen = _told(answer, old, size)
        raise CosignatureRefused(f"tells another size each time it is asked, {MOST_TRIES} times")

    def _checked(self, answer: HttpAnswer, note: str) -> str:
        """The line by the configured key, verified. Raises Refused."""
        try:
            signatures = parse_signatures(answer.body.decode("utf-8"))
        except (UnicodeDecodeError, NoteError) as error:
            raise CosignatureRefused(f"answered what is no signature line ({type(error).__name__})") from None
        mine = [one for one in signatures if (one.name, one.key_id) == (self._key.name, self._key.key_id)]
        if not mine:
            raise CosignatureRefused("answered with cosignatures by other keys than the configured one")
        found = mine[0]
        try:
            self._key.check(parse(note.encode()).text.encode(), found.blob)
        except NoteError:
            raise CosignatureRefused("answered with a cosignature that does not verify") from None
        _check_time(found)
        return found.line


def proof_between(conn: Connection, old: int, new: int) -> list[bytes]:
    """The proof that the tree of a stored checkpoint, `new`, begins with that of `old`; empty where there is none."""
    if old in {0, new}:
        return []

    def fetch(tiles: Sequence[Tile]) -> list[bytes]:
        columns = [[tile.level for tile in tiles], [tile.index for tile in tiles], [tile.width for tile in tiles]]
        with conn.cursor(binary=True) as cursor:
            return [bytes(row[0]) for row in cursor.execute(CONTENTS, columns)]

    return consistency_proof(old, new, reader(new, fetch))


def _told(answer: HttpAnswer, old: int, size: int) -> int:
    """The size that a 409 tells. Raises Refused or Forked for any other answer."""
    if answer.status == 422:
        raise WitnessForked(f"does not accept that the tree of {size} extends the one of {old} that it has seen")
    if answer.status != 409:
        raise CosignatureRefused(f"answered {answer.status}")
    try:
        told = strict_decimal(answer.body.decode("ascii").removesuffix("\n"))
    except ValueError:
        raise CosignatureRefused("answered 409 without a size") from None
    if told == old == size:
        raise WitnessForked(f"has seen another tree of {size}")
    if told == old:
        raise CosignatureRefused(f"answered 409 with the size {old} that it was asked with")
    return told


def _check_time(found: Signature) -> None:
    off_s = int.from_bytes(found.blob[:TIMESTAMP_BYTES], "big") - time.time()
    if abs(off_s) > MOST_SKEW_S:
        raise CosignatureRefused(
            f"cosigned with a time that is {abs(off_s):.0f} s {'ahead of' if off_s > 0 else 'behind'} ours"
        )


def _newest(conn: Connection) -> tuple[int, str] | None:
    checkpoint = newest_checkpoint(conn)
    return None if checkpoint is None else (checkpoint.size, checkpoint.note)


def _last(conn: Connection, witness: str) -> int:
    (size,) = conn.execute(LAST_COSIGNED, [witness]).fetchone() or (0,)
    return int(size)

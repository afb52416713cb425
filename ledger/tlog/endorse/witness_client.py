"""Ask a witness to cosign checkpoints (docs/operate/witnesses.md; C2SP tlog-witness).

Each witness has a poller of its own, which asks for the newest checkpoint and leaves out those in between. A checkpoint
is published with or without cosignatures: a policy says how many it should have, and readers decide.

    EndorserError (http.py)
    ├── Unreachable           no answer
    ├── CosignatureRefused    the answer holds no valid cosignature
    ├── WitnessAhead          the witness has seen a larger tree than the database has: an older copy was restored here
    └── WitnessForked         the witness has seen another tree of the same size, or one that is not extended here
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from ledger.database import Connection, connect
from ledger.proof.tlog.checkpoint import TIMESTAMP_BYTES, strict_decimal
from ledger.proof.tlog.merkle import consistency_proof
from ledger.proof.tlog.note import NoteError, Signature, parse, parse_signatures
from ledger.proof.tlog.tiles import Tile, reader
from ledger.tlog.add_checkpoint import AddCheckpoint
from ledger.tlog.endorse.http import EndorserError, HttpAnswer, HttpClient
from ledger.tlog.endorse.poller import Poller, RetryPolicy
from ledger.tlog.quorum import WitnessConfig
from ledger.tlog.serve.newest_checkpoint import newest_checkpoint
from ledger.tlog.serve.tiles import CONTENTS

MAX_ANSWER_BYTES = 65_536
# The most requests in one poll, because a witness may answer with another size each time.
MAX_TRIES = 3
# The largest difference between the time of a cosignature and our clock.
MAX_SKEW_S = 3600

OF_SIZE = "SELECT size, note FROM checkpoints WHERE size = %s"
LAST_COSIGNED = "SELECT coalesce(max(size), 0) FROM cosignatures WHERE witness = %s"
STORE = "INSERT INTO cosignatures (size, witness, line) VALUES (%s, %s, %s) ON CONFLICT (size, witness) DO NOTHING"


class CosignatureRefused(EndorserError):
    """The witness answered without a valid cosignature."""


class WitnessAhead(EndorserError):
    """The witness has seen a larger tree than the database has."""


class WitnessForked(EndorserError):
    """The witness has seen another history."""


class SharedSizes:
    """The sizes that pollers ask for. Pollers choose the same sizes, so that these reach a quorum."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}

    def take(self, witness: str, newest: int, last: int) -> int:
        """Choose the size to ask `witness` for, which cosigned `last`: a size that another witness is asked for, or
        the newest."""
        with self._lock:
            others = [size for name, size in self._sizes.items() if name != witness and last < size <= newest]
            self._sizes[witness] = max(others, default=newest)
            return self._sizes[witness]


class WitnessPoller(Poller):
    """Poll one witness."""

    def __init__(
        self,
        conninfo: str,
        config: WitnessConfig,
        sizes: SharedSizes,
        pace: RetryPolicy,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        url = f"{config.url}/add-checkpoint"
        http = HttpClient(url, timeout_s=pace.timeout_s, max_bytes=MAX_ANSWER_BYTES)
        super().__init__(config.witness, http, pace)
        self._conninfo = conninfo
        self._key = config.key
        self._sizes = sizes
        self._clock = clock
        # The size that the witness has seen, as far as known; None before it was read from the database.
        self._seen: int | None = None

    def poll(self) -> float | None:
        """Get one cosignature, if there is a checkpoint newer than the last one cosigned. Raises EndorserError."""
        with connect(self._conninfo) as conn:
            if self._seen is None:
                self._seen = self.size = _last(conn, self.endorser)
            newest = _newest(conn)
            if newest is None or newest[0] <= self.size:
                return None
            wanted = self._sizes.take(self.endorser, newest[0], self.size)
            size, line = self._ask(conn, conn.execute(OF_SIZE, [wanted]).fetchone() or newest)
            conn.execute(STORE, [size, self.endorser, line])
            self.size = self._seen = size
        return 0

    def _ask(self, conn: Connection, target: tuple[int, str]) -> tuple[int, str]:
        """Ask until the witness answers with a cosignature; return its size and line. Raises EndorserError."""
        for _ in range(MAX_TRIES):
            size, note = target
            old = self._seen or 0
            if old > size:  # it saw a newer checkpoint than the chosen one
                target = size, note = _newest(conn) or target
            if old > size:
                self._seen = None  # read from the database again next time
                raise WitnessAhead(
                    f"has seen a tree of {old}, but the newest checkpoint has {size}: was an older copy restored?"
                )
            request = AddCheckpoint(old, tuple(proof_between(conn, old, size)), note.encode())
            answer = self._http.post(request.encode(), "text/plain; charset=utf-8")
            if answer.status == 200:
                return size, self._checked(answer, note)
            self._seen = _size_in_conflict(answer, old, size)
        raise CosignatureRefused(f"answered with another size each time, {MAX_TRIES} times")

    def _checked(self, answer: HttpAnswer, note: str) -> str:
        """Return the line by the configured key, after verifying it. Raises CosignatureRefused."""
        try:
            signatures = parse_signatures(answer.body.decode("utf-8"))
        except (UnicodeDecodeError, NoteError) as error:
            raise CosignatureRefused(f"the answer is no signature line ({type(error).__name__})") from None
        by_key = [line for line in signatures if (line.name, line.key_id) == (self._key.name, self._key.key_id)]
        if not by_key:
            raise CosignatureRefused("the answer has cosignatures by other keys only")
        signature = by_key[0]
        try:
            self._key.check(parse(note.encode()).text.encode(), signature.blob)
        except NoteError:
            raise CosignatureRefused("the cosignature does not verify") from None
        _check_time(signature, self._clock())
        return signature.line


def proof_between(conn: Connection, old: int, new: int) -> list[bytes]:
    """Return the proof that the tree of size `new` extends that of size `old`; empty for equal sizes and size 0."""
    if old in {0, new}:
        return []

    def fetch(tiles: Sequence[Tile]) -> list[bytes]:
        columns = [[tile.level for tile in tiles], [tile.index for tile in tiles], [tile.width for tile in tiles]]
        with conn.cursor(binary=True) as cursor:
            return [bytes(row[0]) for row in cursor.execute(CONTENTS, columns)]

    return consistency_proof(old, new, reader(new, fetch))


def _size_in_conflict(answer: HttpAnswer, old: int, size: int) -> int:
    """Return the size in a 409 response. Raises CosignatureRefused or WitnessForked for any other answer.

    We asked from `old`, which the witness has seen. If it has seen another tree of that size, witnesses in use answer
    in three ways: 422 by the specification of today, 409 without a size, and 409 with the size that we asked from.
    """
    if answer.status not in {409, 422}:
        raise CosignatureRefused(f"answered {answer.status_line}")
    seen = _stated_size(answer) if answer.status == 409 else None
    if old == size and seen in {None, old}:
        raise WitnessForked(f"has seen another tree of {size}")
    if answer.status == 422:
        raise WitnessForked(f"does not accept that the tree of {size} extends the one of {old} that it has seen")
    if seen is None:
        raise CosignatureRefused("answered 409 without a size")
    if seen == old:
        raise CosignatureRefused(f"answered 409 with the size {old}, which was in the request")
    return seen


def _stated_size(answer: HttpAnswer) -> int | None:
    try:
        return strict_decimal(answer.body.decode("ascii").removesuffix("\n"))
    except ValueError:
        return None


def _check_time(signature: Signature, now_s: float) -> None:
    difference_s = int.from_bytes(signature.blob[:TIMESTAMP_BYTES], "big") - now_s
    if abs(difference_s) > MAX_SKEW_S:
        raise CosignatureRefused(
            f"the cosignature's time is {abs(difference_s):.0f} s {'ahead of' if difference_s > 0 else 'behind'} ours"
        )


def _newest(conn: Connection) -> tuple[int, str] | None:
    checkpoint = newest_checkpoint(conn)
    return None if checkpoint is None else (checkpoint.size, checkpoint.note)


def _last(conn: Connection, witness: str) -> int:
    (size,) = conn.execute(LAST_COSIGNED, [witness]).fetchone() or (0,)
    return int(size)

"""Events, a key for the ledger, a signer, and the tiles of a tree computed anew, for the tests of the log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ledger.database import Connection
from ledger.proof.tlog.merkle import leaf_hashes, root_of
from ledger.tlog.sign import rotate
from ledger.tlog.sign.signer import Signer
from ledger.tlog.signing_keys import SigningKey
from tests.support import append, connect, new


def key_for(url: str) -> SigningKey:
    """A new key for the ledger."""
    with connect(url) as conn:
        [(origin,)] = conn.execute("SELECT origin FROM head").fetchall()
    return SigningKey.generate(origin)


def fill(url: str, count: int) -> None:
    """Append events."""
    with connect(url) as conn:
        append(conn, *(new("s") for _ in range(count)))


@contextlib.contextmanager
def signing(url: str, key: SigningKey, path: Path) -> Iterator[Signer]:
    """A signer that leads, while the block runs."""
    with connect(url, "signer") as conn, rotate.leading(conn, key, path) as signer:
        assert signer is not None
        yield signer


def sign(url: str, key: SigningKey, path: Path) -> int:
    """Signs all there is; the size."""
    with signing(url, key, path) as signer:
        while signer.step() is not None:
            pass
    with connect(url) as conn:
        [(size,)] = conn.execute("SELECT max(size) FROM checkpoints").fetchall()
    return int(size)


def hashes(conn: Connection) -> list[bytes]:
    """The hash of each event, in order."""
    return [bytes(row[0]) for row in conn.execute("SELECT hash FROM events ORDER BY position").fetchall()]


def all_tiles(entries: list[bytes]) -> dict[tuple[int, int], bytes]:
    """Level and number of each tile of the tree over these entries, with its content; computed in the plainest way."""
    level, row, found = 0, leaf_hashes(entries), {}
    while row:
        found.update({(level, at // 256): b"".join(row[at : at + 256]) for at in range(0, len(row), 256)})
        row = [root_of(row[at : at + 256]) for at in range(0, len(row) - 255, 256)]
        level += 1
    return found

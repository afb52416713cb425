"""A real ledger with a few clients, signed, and bundles exported from it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ledger.export.bundle import Disclosure, write_bundle
from ledger.proof.bundle.manifest import Manifest
from ledger.proof.bundle.selection import Selection
from ledger.tlog.heads.record import newest_heads, record_heads
from ledger.tlog.signing_keys import SigningKey
from tests.ledger.tlog.logs import fill, key_for, sign
from tests.support import append, connect, failed, new, requested, scratch_database

ALL = Disclosure(everything=True)
CLIENT = Selection("client", client="client-1")
REQUEST = Selection("request", request=2)


def positions(first: int, last: int) -> Selection:
    """All of a range."""
    return Selection("positions", first_position=first, last_position=last)


@dataclass(frozen=True)
class Ledger:
    """A signed ledger: where it is, its key, and the file of its signer."""

    url: str
    key: SigningKey
    state: Path

    def sign(self) -> int:
        """Signs all there is; the size."""
        return sign(self.url, self.key, self.state)

    def fill(self, count: int) -> None:
        """Events of a stream of their own."""
        fill(self.url, count)

    def record_heads(self, *, signed: bool = True) -> int:
        """Record where all streams end, and sign that; the position of the event."""
        with connect(self.url, "verifier") as conn, connect(self.url, "writer") as writer:
            position = record_heads(conn, writer, newest_heads(conn), None)
        if signed:
            self.sign()
        return position

    def note(self) -> bytes:
        """The newest checkpoint."""
        with connect(self.url) as conn:
            [(note,)] = conn.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchall()
        return str(note).encode()

    def bundle(
        self, selection: Selection = CLIENT, disclosure: Disclosure = ALL, since: bytes | None = None
    ) -> tuple[bytes, Manifest]:
        """A bundle and its manifest."""
        out = io.BytesIO()
        with connect(self.url, "verifier") as conn:
            manifest = write_bundle(conn, selection, disclosure, out, keys=[self.key.verifier.text], since=since)
        return out.getvalue(), manifest


def ask(url: str, clients: int) -> None:
    """A request of each client, with notes, and then three more events of each of these requests."""
    with connect(url) as conn:
        for client in range(1, clients + 1):
            append(conn, new("request-", requested(f"client-{client}", notes=f"note {client}")))
        [(last,)] = conn.execute("SELECT last FROM stream_numbers WHERE category = 'request-'").fetchall()
        for nth in range(3):
            for number in range(last - clients + 1, last + 1):
                append(conn, new(f"request-{number}", failed(detail=f"detail {nth} of {number}")))


@contextlib.contextmanager
def signed_ledger(server_url: str, folder: Path) -> Iterator[Ledger]:
    """A ledger of 648 events: six requests of three clients, and many of nobody; signed in two steps."""
    from projections.rebuild import rebuild_outdated
    from schema.migrate import migrate

    with scratch_database(server_url) as url:
        with connect(url) as conn:
            migrate(conn)
        rebuild_outdated(url)
        ledger = Ledger(url, key_for(url), folder / "last")
        ask(url, 3)
        ledger.fill(300)
        ledger.sign()
        ask(url, 3)
        ledger.fill(324)
        ledger.sign()
        yield ledger

"""Read checkpoint and tiles of a served log over HTTP: C2SP tlog-tiles. No answer is believed.

Answers are limited in size and in time. Redirects are not followed, and no credentials are sent.
"""

from __future__ import annotations

import http.client
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit

from ledger.proof.tlog.merkle import HASH_BYTES, consistency_proof
from ledger.proof.tlog.note import MAX_NOTE_BYTES
from ledger.proof.tlog.tiles import WIDTH, Tile, reader

TIMEOUT_S = 20.0
# The limit for a whole answer, from looking up the host to the last byte, however slowly it arrives.
ANSWER_S = 60.0
_PIECE = 64 * 1024


class LogUnreachable(Exception):
    """The answer is not one of a transparency log; the message describes it."""


class LiveLog:
    """A log, by the URL under which it serves /checkpoint and /tile/… Methods raise LogUnreachable."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            proper = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc
            proper = proper and not (parts.query or parts.fragment)
        except ValueError:
            proper = False
        if not proper:
            raise LogUnreachable("the URL of a log is http:// or https://, without credentials, query or fragment")
        self.url = url.rstrip("/")
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler,
            urllib.request.HTTPHandler,
            urllib.request.HTTPSHandler,
            urllib.request.HTTPDefaultErrorHandler,
            urllib.request.HTTPErrorProcessor,
        ):
            self._opener.add_handler(handler())

    def checkpoint(self) -> bytes:
        """Return the note that the log serves now."""
        note = self._get("checkpoint", MAX_NOTE_BYTES)
        if note is None:
            raise LogUnreachable(f"{self.url}/checkpoint: 404, it has no checkpoint yet")
        return note

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the consistency proof between two sizes, 0 < old <= new, from tiles of the tree of size `new`."""
        return consistency_proof(old, new, reader(new, self._tiles))

    def _tiles(self, tiles: Sequence[Tile]) -> list[bytes]:
        return [self._tile(tile) for tile in tiles]

    def _tile(self, tile: Tile) -> bytes:
        length = tile.width * HASH_BYTES
        hashes = self._get(tile.path, length)
        if hashes is None and tile.width < WIDTH:  # the full tile may have replaced it
            full = self._get(Tile(tile.level, tile.index).path, WIDTH * HASH_BYTES)
            hashes = None if full is None else full[:length]
        if hashes is None or len(hashes) != length:
            raise LogUnreachable(f"{self.url}/{tile.path}: missing, or not of its width")
        return hashes

    def _get(self, path: str, most: int) -> bytes | None:
        """Return the body of a 200 of at most `most` bytes, None for a 404. Takes ANSWER_S at most."""
        answer: list[bytes | LogUnreachable | None] = []
        # The timeout of a socket is for one read. A thread can be abandoned wherever it waits.
        fetcher = threading.Thread(target=lambda: answer.append(self._answer(path, most)), daemon=True)
        fetcher.start()
        fetcher.join(ANSWER_S)
        if not answer:
            raise LogUnreachable(f"{self.url}/{path}: not answered in full within {ANSWER_S:g} s")
        if isinstance(answer[0], LogUnreachable):
            raise answer[0]
        return answer[0]

    def _answer(self, path: str, most: int) -> bytes | LogUnreachable | None:
        """Fetch the answer. An error is returned, as this runs in a thread."""
        until = time.monotonic() + ANSWER_S
        where = f"{self.url}/{path}"
        request = urllib.request.Request(where, headers={"User-Agent": "advice-ledger-verify"})  # noqa: S310 - http(s) only
        try:
            with cast("http.client.HTTPResponse", self._opener.open(request, timeout=TIMEOUT_S)) as response:
                data = b""
                while len(data) <= most and time.monotonic() < until and (piece := response.read1(_PIECE)):
                    data += piece
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                return LogUnreachable(f"{where}: status {error.code}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            return LogUnreachable(f"{where}: {getattr(error, 'reason', None) or type(error).__name__}")
        if len(data) > most:
            return LogUnreachable(f"{where}: more than {most} bytes")
        return data

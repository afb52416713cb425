"""Find out who is calling: look up a bearer token by its SHA-256."""

from __future__ import annotations

from hashlib import sha256
from time import monotonic
from typing import Literal

from ledger.store.envelope import Actor
from ledger.store.readers import Readers

# A revoked token works for at most this long after its revocation.
CACHE_S = 1.0
CACHE_TOKENS = 10_000

AUTHENTICATE = "SELECT name, role FROM authenticate(%s)"

KINDS: dict[str, Literal["human", "agent", "service"]] = {"agent": "agent"}


class Callers:
    """Callers by token. The database is asked at most once a second for each token."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._cache: dict[bytes, tuple[float, Actor]] = {}

    async def check(self) -> None:
        """Look up a token that nobody can have. Raises Unavailable if that fails, as find() would."""
        await self._readers.fetch_one(AUTHENTICATE, [b""])

    async def find(self, token: str) -> Actor | None:
        """Return the holder of this token, or None if the token is unknown or revoked."""
        digest = sha256(token.encode("utf-8", "surrogateescape")).digest()
        now = monotonic()
        cached = self._cache.get(digest)
        if cached is not None and cached[0] > now:
            return cached[1]
        row = await self._readers.fetch_one(AUTHENTICATE, [digest])
        if row is None:
            self._cache.pop(digest, None)
            return None
        name, role = row
        actor = Actor(id=name, kind=KINDS.get(role, "human"), role=role)
        if len(self._cache) >= CACHE_TOKENS:
            self._cache.clear()
        self._cache[digest] = (now + CACHE_S, actor)
        return actor

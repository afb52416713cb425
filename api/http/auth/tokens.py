"""Bearer tokens: `alt_` and 256 random bits in 43 url-safe characters. Only their SHA-256 is recorded."""

from __future__ import annotations

import secrets
from hashlib import sha256

PREFIX = "alt_"
RANDOM_BYTES = 32


def new_token() -> tuple[str, str]:
    """Make a token; return it, and its digest in hex. Nobody can read it again."""
    token = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    return token, sha256(token.encode()).hexdigest()

"""Encrypt values in cookies with a key from the client secret, so that only the servers of a ledger can read and make
them.

So a session is valid on each process that has the same secret, and no process stores sessions.
"""

from __future__ import annotations

import base64
import os
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

INFO = b"advice-ledger/cookies/v1"
NONCE_BYTES = 12
MAX_CHARS = 4096


class Cookies:
    """Encrypt small objects for a purpose, until a time in seconds since 1970; decrypt them again."""

    def __init__(self, secret: str) -> None:
        self._aead = AESGCM(HKDF(SHA256(), 32, None, INFO).derive(secret.encode()))

    def encrypt(self, purpose: str, members: dict[str, str], until_s: int) -> str:
        """Return a text for a cookie."""
        nonce = os.urandom(NONCE_BYTES)
        plain = orjson.dumps({"until": until_s, "members": members})
        return base64.urlsafe_b64encode(nonce + self._aead.encrypt(nonce, plain, purpose.encode())).decode()

    def decrypt(self, purpose: str, text: str | None, now_s: float) -> dict[str, Any] | None:
        """Return the members; None for a text that was not encrypted for this purpose, or whose time is over."""
        if not text or len(text) > MAX_CHARS:
            return None
        try:
            data = base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
            content = orjson.loads(self._aead.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], purpose.encode()))
        except (InvalidTag, ValueError):
            return None
        members: dict[str, Any] = content["members"]
        return members if now_s < content["until"] else None

"""Read the keys of an identity provider from its JWKS document (RFC 7517). Only asymmetric keys count."""

from __future__ import annotations

from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

Key = RSAKey | ECKey | OKPKey

MOST_KEYS = 100
LEAST_RSA_BITS = 2048
KINDS = frozenset({"RSA", "EC", "OKP"})


def read_keys(document: dict[str, Any]) -> list[Key]:
    """Return the keys that sign. Keys that cannot be read, are too short or are for another use are left out."""
    entries = document.get("keys")
    found = []
    for entry in entries[:MOST_KEYS] if type(entries) is list else ():
        key = _read(entry)
        if key is not None:
            found.append(key)
    return found


def _read(entry: Any) -> Key | None:
    if type(entry) is not dict or entry.get("kty") not in KINDS or entry.get("use", "sig") != "sig":
        return None
    try:
        key = JWKRegistry.import_key(entry)
        if isinstance(key, RSAKey) and key.raw_value.key_size < LEAST_RSA_BITS:
            return None
    except (JoseError, ValueError, TypeError, LookupError, AttributeError):
        return None
    return key if isinstance(key, Key) else None

"""Keep the keys that sign messages to endpoints in files of the operator: `NAME.keys` in one folder, for one account
alone.

Each line has a key as Standard Webhooks 1.0 writes it: `whsec_` and base64 of 24 to 64 random bytes (v1, HMAC-SHA256),
or `whsk_` and base64 of the 64 bytes of an Ed25519 key (v1a). During a rotation the file also has the former key, with
`until` and a time, and both keys sign.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.private_file import private_file

Algorithm = Literal["v1", "v1a"]
SECRET, PRIVATE, PUBLIC = "whsec_", "whsk_", "whpk_"
SECRET_BYTES = 32
MOST_BYTES = 4096
MOST_KEYS = 4


class BadKeys(Exception):
    """The file of keys of an endpoint cannot be used. The message names the file and the line, never a key."""


class NoKey(BadKeys):
    """The endpoint has no file of keys on this machine, or the file has no key in force."""


@dataclass(frozen=True)
class WebhookKey:
    """A key. `text` is its line in the file; it signs until `until`."""

    text: str
    until: datetime | None = None

    @property
    def fingerprint(self) -> str:
        """Return the first 16 hex digits of the SHA-256 of the key."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    @property
    def algorithm(self) -> Algorithm:
        """Return the version of the signature."""
        return "v1" if self.text.startswith(SECRET) else "v1a"

    @property
    def for_receiver(self) -> str:
        """Return the text with which the receiver verifies: the shared secret, or the public key."""
        if self.algorithm == "v1":
            return self.text
        return PUBLIC + base64.b64encode(self._ed25519().public_key().public_bytes_raw()).decode()

    def sign(self, content: bytes) -> str:
        """Return the signature of `{id}.{timestamp}.{body}` in the form of the header."""
        if self.algorithm == "v1":
            value = hmac.digest(base64.b64decode(self.text.removeprefix(SECRET)), content, "sha256")
        else:
            value = self._ed25519().sign(content)
        return f"{self.algorithm},{base64.b64encode(value).decode()}"

    def _ed25519(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(self.text.removeprefix(PRIVATE))[:32])


def make_key(algorithm: Algorithm) -> WebhookKey:
    """Make a new key."""
    if algorithm == "v1":
        return WebhookKey(SECRET + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode())
    key = Ed25519PrivateKey.generate()
    both = key.private_bytes_raw() + key.public_key().public_bytes_raw()
    return WebhookKey(PRIVATE + base64.b64encode(both).decode())


def file_of(folder: Path, endpoint: str) -> Path:
    """Return the file with the keys of an endpoint."""
    return folder / f"{endpoint}.keys"


def read_keys(folder: Path, endpoint: str) -> list[WebhookKey]:
    """Return all keys of an endpoint. Raises NoKey or BadKeys."""
    path = file_of(folder, endpoint)
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1).decode("ascii")
    except FileNotFoundError:
        raise NoKey(f"{path} is not there: make it with advice-ledger monitor keygen {endpoint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadKeys(f"{path} cannot be read: {type(error).__name__}") from None
    lines = [line for line in text.splitlines() if line.strip()]
    if len(text) > MOST_BYTES or len(lines) > MOST_KEYS:
        raise BadKeys(f"{path} is too long: it may have {MOST_KEYS} keys")
    return [_parsed(path, number, line) for number, line in enumerate(lines, 1)]


def in_force(keys: Sequence[WebhookKey], now: datetime) -> list[WebhookKey]:
    """Return the keys that sign at a time."""
    return [key for key in keys if key.until is None or key.until > now]


def write_keys(folder: Path, endpoint: str, keys: Sequence[WebhookKey]) -> None:
    """Write the file of an endpoint in one step, readable for this account alone. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [key.text if key.until is None else f"{key.text} until {key.until:%Y-%m-%dT%H:%M:%SZ}" for key in keys]
    beside = folder / f".{endpoint}.{secrets.token_hex(8)}"
    with private_file(beside) as file:
        file.write("".join(f"{line}\n" for line in lines).encode("ascii"))
        file.flush()
        os.fsync(file.fileno())
        beside.replace(file_of(folder, endpoint))


def replace_key(
    folder: Path, endpoint: str, algorithm: Algorithm, rotate_hours: int | None, now: datetime
) -> WebhookKey:
    """Make the key of an endpoint, or with `rotate_hours` a new one; the former key signs for that many hours, too.

    Raises BadKeys if there is one already, or none to replace, or if two keys sign now; OSError.
    """
    known = [] if not file_of(folder, endpoint).exists() else in_force(read_keys(folder, endpoint), now)
    if known and rotate_hours is None:
        raise BadKeys("the endpoint has a key already: replace it with --rotate HOURS")
    if not known and rotate_hours is not None:
        raise BadKeys("the endpoint has no key to replace: leave out --rotate")
    if len(known) > 1 and rotate_hours:
        raise BadKeys("two keys sign now: wait until the former one ends, or end it now with --rotate 0")
    key = make_key(algorithm)
    until = now + timedelta(hours=rotate_hours or 0)
    former = [replace(one, until=until) for one in known if rotate_hours]
    write_keys(folder, endpoint, [key, *former])
    return key


def _parsed(path: Path, number: int, line: str) -> WebhookKey:
    text, _, until = line.strip().partition(" until ")
    try:
        at = datetime.fromisoformat(until) if until else None
        prefix = SECRET if text.startswith(SECRET) else PRIVATE
        size = len(base64.b64decode(text.removeprefix(prefix), validate=True))
    except (ValueError, binascii.Error):
        raise BadKeys(f"{path}, line {number}: no key, or no time after it") from None
    wanted = range(24, 65) if prefix == SECRET else range(64, 65)
    if not text.startswith(prefix) or size not in wanted or (at is not None and at.tzinfo is None):
        raise BadKeys(f"{path}, line {number}: no key such as whsec_… or whsk_…, or a time without its zone")
    return WebhookKey(text, at)

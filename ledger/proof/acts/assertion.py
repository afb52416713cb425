"""Assertions of passkeys (WebAuthn level 3): steps 4 to 11 of docs/formats/signed-acts.md, section 6."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NoReturn

from ledger.proof.acts.encoding import decode, encode
from ledger.proof.acts.errors import ActError, ActFlaw
from ledger.proof.acts.public_key import PublicKey

MAX_AUTHENTICATOR_DATA, MAX_CLIENT_DATA, MAX_SIGNATURE = 1024, 4096, 1024
# The layout of `authenticator_data`: hash of rp_id, flags, counter. Bytes after these are not read.
RP_ID_HASH, FLAGS, COUNTER, LEAST = slice(0, 32), 32, slice(33, 37), 37

PRESENT, VERIFIED, BACKUP_ELIGIBLE, BACKED_UP, ATTESTED, EXTENSIONS = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80


@dataclass(frozen=True)
class Passkey:
    """The members of a passkey's registration in the chain, without the public key."""

    rp_id: str
    origins: tuple[str, ...]
    backup_eligible: bool


@dataclass(frozen=True)
class Asserted:
    """A valid assertion: the address where it was made, and the counter."""

    origin: str
    counter: int
    backed_up: bool


def check_assertion(members: dict[str, Any], challenge: bytes, key: PublicKey, passkey: Passkey) -> Asserted:
    """Verify the assertion in the members of a signature over a challenge of 32 bytes. Raises ActError."""
    authenticator_data = decode(members, "authenticator_data", MAX_AUTHENTICATOR_DATA)
    client_data = decode(members, "client_data", MAX_CLIENT_DATA)
    signature = decode(members, "signature", MAX_SIGNATURE)
    origin = _check_client_data(client_data, challenge, passkey)
    flags = _check_authenticator_data(authenticator_data, passkey)
    key.verify(signature, authenticator_data + sha256(client_data).digest())
    return Asserted(origin, int.from_bytes(authenticator_data[COUNTER]), bool(flags & BACKED_UP))


def _check_client_data(client_data: bytes, challenge: bytes, passkey: Passkey) -> str:
    """Steps 5 to 7. Return the origin."""
    members = parse_client_data(client_data)
    if members.get("type") != "webauthn.get":
        raise ActError(ActFlaw.CHALLENGE, "client_data is of no assertion: its type is not webauthn.get")
    # Text for text: there is one encoding of these 32 bytes, so equal texts are equal bytes.
    if members.get("challenge") != encode(challenge):
        raise ActError(ActFlaw.CHALLENGE, "the device signed another statement")
    origin = members.get("origin")
    if type(origin) is not str or origin not in passkey.origins:
        raise ActError(ActFlaw.ORIGIN, "signed at an address that is not registered for this key")
    if members.get("crossOrigin", False) is not False or "topOrigin" in members:
        raise ActError(ActFlaw.ORIGIN, "signed inside a page of another address")
    return origin


def parse_client_data(client_data: bytes) -> dict[str, Any]:
    """Parse JSON in UTF-8 whose objects have no member twice. Raises ActError."""
    try:
        members = json.loads(client_data.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        members = None
    if type(members) is not dict:
        raise ActError(ActFlaw.ENCODING, "client_data is not a JSON object in UTF-8 that has each member once")
    return members


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member twice")
    return members


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_authenticator_data(data: bytes, passkey: Passkey) -> int:
    """Steps 8 and 9. Return the flags."""
    if len(data) < LEAST:
        raise ActError(ActFlaw.ENCODING, f"authenticator_data has less than {LEAST} bytes")
    if data[RP_ID_HASH] != sha256(passkey.rp_id.encode()).digest():
        raise ActError(ActFlaw.ORIGIN, "signed for another rp_id")
    flags = data[FLAGS]
    if flags & (PRESENT | VERIFIED) != PRESENT | VERIFIED:
        raise ActError(ActFlaw.DEVICE, "the device did not check who is present")
    eligible = bool(flags & BACKUP_ELIGIBLE)
    if eligible != passkey.backup_eligible or (flags & BACKED_UP and not eligible):
        raise ActError(ActFlaw.DEVICE, "the key can be backed up, where it was registered as one that cannot, or not")
    if flags & ATTESTED or bool(flags & EXTENSIONS) != (len(data) > LEAST):
        raise ActError(ActFlaw.DEVICE, "authenticator_data is not that of an assertion")
    return flags

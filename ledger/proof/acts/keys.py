"""The signing keys that a chain registers, judged by position: docs/formats/signed-acts.md, sections 3 and 5."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any

from ledger.proof.acts.assertion import Asserted, Passkey, check_assertion
from ledger.proof.acts.encoding import decode, decode_time
from ledger.proof.acts.errors import ActError, ActFlaw
from ledger.proof.acts.public_key import ED25519_BYTES, MAX_SPKI_BYTES, PublicKey, load_ed25519, load_spki
from ledger.proof.acts.statement import ACT_PREFIX, REGISTRATION, registration_statement

SUBJECT = "subject-"
REVOCATION = "credential.revoked"
ED25519_SIGNATURE_BYTES = 64
MAX_ORIGINS = 10


class Scheme(StrEnum):
    """The signature scheme of a key."""

    ED25519 = "ed25519"
    WEBAUTHN = "webauthn"


# The members of a signature that a scheme has, besides the members that every signature has.
MEMBERS = {
    Scheme.ED25519: frozenset({"signature"}),
    Scheme.WEBAUTHN: frozenset({"authenticator_data", "client_data", "signature"}),
}
_PROOF = frozenset({"prepared_at"})
_DATA = frozenset({"credential", "scheme", "purpose", "public_key", "proof"})
_PASSKEY = frozenset({"alg", "rp_id", "origins", "credential_id", "backup_eligible"})
_OPTIONAL = frozenset({"expires_at", "transports", "aaguid"})


@dataclass(frozen=True)
class SigningKey:
    """A key that belongs to a subject. `passkey` is set exactly for the scheme webauthn."""

    subject: str
    credential: int
    scheme: Scheme
    public: PublicKey
    passkey: Passkey | None
    expires_us: int | None
    # The position and the actor of the registration; 0 if it is not recorded yet.
    registered_at: int = 0
    registered_by: str = ""

    def check(self, members: dict[str, Any], statement: bytes) -> Asserted | None:
        """Verify the signature in these members over a statement. Raises ActError."""
        if self.passkey is not None:
            return check_assertion(members, sha256(statement).digest(), self.public, self.passkey)
        self.public.verify(decode(members, "signature", ED25519_SIGNATURE_BYTES), ACT_PREFIX + statement)
        return None


def read_registration(ledger: str, subject: str, data: dict[str, Any]) -> SigningKey:
    """Return the key of a registration, after verifying its proof. `data` is the event's. Raises ActError."""
    key = _read_key(subject, data)
    proof = data["proof"]
    if type(proof) is not dict or proof.keys() != _PROOF | MEMBERS[key.scheme]:
        raise ActError(ActFlaw.ENCODING, "the proof has not the members of its scheme")
    decode_time(proof, "prepared_at")
    try:
        statement = registration_statement(ledger, subject, proof["prepared_at"], data)
    except ValueError as error:
        raise ActError(ActFlaw.ENCODING, f"the registration is not canonical JSON: {error}") from None
    key.check(proof, statement)
    return key


def _read_key(subject: str, data: dict[str, Any]) -> SigningKey:
    credential, scheme = data.get("credential"), data.get("scheme")
    if type(credential) is not int or credential < 1 or data.get("purpose") != "sign" or scheme not in list(Scheme):
        raise ActError(ActFlaw.KEY, "not the registration of a key that signs acts")
    scheme = Scheme(scheme)
    required = _DATA | (_PASSKEY if scheme is Scheme.WEBAUTHN else frozenset())
    if not required <= data.keys() <= required | _OPTIONAL:
        raise ActError(ActFlaw.ENCODING, "the registration has not the members of its scheme")
    expires_us = decode_time(data, "expires_at") if "expires_at" in data else None
    if scheme is Scheme.ED25519:
        public = load_ed25519(decode(data, "public_key", ED25519_BYTES))
        return SigningKey(subject, credential, scheme, public, None, expires_us)
    public = load_spki(data["alg"], decode(data, "public_key", MAX_SPKI_BYTES))
    return SigningKey(subject, credential, scheme, public, _read_passkey(data), expires_us)


def _read_passkey(data: dict[str, Any]) -> Passkey:
    rp_id, origins, eligible = data["rp_id"], data["origins"], data["backup_eligible"]
    texts = type(origins) is list and 0 < len(origins) <= MAX_ORIGINS and all(type(each) is str for each in origins)
    if type(rp_id) is not str or not texts or type(eligible) is not bool:
        raise ActError(ActFlaw.ENCODING, "rp_id, origins or backup_eligible are malformed")
    return Passkey(rp_id, tuple(origins), eligible)


class Keys:
    """The keys of a ledger. Call `take` for each event of a subject's stream, in order of position."""

    def __init__(self, ledger: str) -> None:
        self.ledger = ledger
        self._keys: dict[tuple[str, int], SigningKey] = {}
        self._revoked_at: dict[tuple[str, int], int] = {}
        # The position at which each public key was registered.
        self._first_at: dict[bytes, int] = {}

    def take(self, position: int, body: dict[str, Any]) -> None:
        """Record a registration or a revocation. Raises ActError for a registration that does not hold."""
        stream, event_type, data = body.get("stream"), body.get("type"), body.get("data")
        if type(stream) is not str or not stream.startswith(SUBJECT) or type(data) is not dict:
            return
        subject = stream.removeprefix(SUBJECT)
        if event_type == REVOCATION and type(data.get("credential")) is int:
            self._revoked_at.setdefault((subject, data["credential"]), position)
        if event_type == REGISTRATION:
            key = read_registration(self.ledger, subject, data)
            actor = body.get("actor")
            by = str(actor.get("id"))[:200] if type(actor) is dict else ""
            self._register(replace(key, registered_at=position, registered_by=by))

    def _register(self, key: SigningKey) -> None:
        place = key.subject, key.credential
        first = self._first_at.setdefault(key.public.spki, key.registered_at)
        if first != key.registered_at:
            raise ActError(ActFlaw.KEY, f"this public key was registered at position {first} already")
        if place in self._keys:
            raise ActError(ActFlaw.KEY, f"{key.subject} has a key with the number {key.credential} already")
        self._keys[place] = key

    def knows(self, body: dict[str, Any]) -> bool:
        """Return True if the key that this signed event names was registered, even if it was revoked since."""
        signature, actor = body.get("signature"), body.get("actor")
        if type(signature) is not dict or type(actor) is not dict:
            return False
        subject, credential = actor.get("id"), signature.get("key")
        return type(subject) is str and type(credential) is int and (subject, credential) in self._keys

    def find(self, subject: str, credential: object, time_us: int) -> SigningKey:
        """Return the key with which `subject` may sign now, after the events that were taken. Raises ActError."""
        if type(credential) is not int:
            raise ActError(ActFlaw.ENCODING, "the number of the key is not an integer")
        key = self._keys.get((subject, credential))
        if key is None:
            raise ActError(ActFlaw.KEY, f"{subject} has no signing key {credential} here")
        revoked_at = self._revoked_at.get((subject, credential))
        if revoked_at is not None:
            raise ActError(ActFlaw.KEY, f"key {credential} of {subject} was revoked at position {revoked_at}")
        if key.expires_us is not None and time_us >= key.expires_us:
            raise ActError(ActFlaw.KEY, f"key {credential} of {subject} had expired")
        return key

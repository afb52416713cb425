"""Verify signatures of acts and of keys before they are recorded, with the subject's keys on the chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from time import time_ns
from typing import Any
from uuid import UUID

import orjson

from ledger.domain import subject as subjects
from ledger.domain.history import RecordedEvent
from ledger.errors import Refused
from ledger.proof.acts.act import MAX_AGE_US, check_act
from ledger.proof.acts.encoding import decode_time
from ledger.proof.acts.errors import ActError, ActFlaw
from ledger.proof.acts.keys import Keys, SigningKey, read_registration
from ledger.proof.acts.statement import COVERS
from ledger.store.envelope import Line, NewEvent
from ledger.store.readers import Readers
from schema.signing_keys import ActSignature

ORIGIN = "SELECT origin FROM head"
# A key may not sign in its last minutes, because the database, whose clock may be ahead, decides when the act was
# recorded.
EXPIRY_MARGIN_US = 300 * 1_000_000
TOO_OLD = "the statement was made more than ten minutes ago, or in the future: prepare and sign it again"
# Registrations of the same public key have the same id, in either scheme.
KEY_ID_PREFIX = b"advice-ledger/signing-key/v1\n"


@dataclass(frozen=True)
class KeysOf:
    """The signing keys of the subject `name`, and the version of its stream that they come from."""

    name: str
    keys: Keys
    version: int

    def signed(self, new: NewEvent, sent: ActSignature) -> NewEvent:
        """Return the event with the signature and the salts of its signer, to be recorded while these keys hold.

        Raises Refused `signature-covers`, `signature-encoding`.
        """
        event = new.event
        covers = COVERS.get((event.type, event.schema_version))
        if covers is None:
            raise Refused(ActFlaw.COVERS, "acts of this type have no signature")
        _check_salts(sent.salts, {name for name in event.sealed if getattr(event, name) is not None})
        return replace(
            new,
            signature={"covers": list(covers), **sent.model_dump(exclude={"salts"}, exclude_none=True)},
            salts={name: bytes.fromhex(salt) for name, salt in sent.salts.items()},
            preconditions={**new.preconditions, subjects.stream_of(self.name): self.version},
        )


@dataclass
class Signatures:
    """Verify signatures on the server."""

    readers: Readers
    _origin: str | None = field(default=None, init=False)

    async def origin(self) -> str:
        """Return the origin of the ledger, which never changes. Raises Unavailable."""
        if self._origin is None:
            row = await self.readers.fetch_one(ORIGIN, ())
            if row is None:
                raise Refused("signature-key", "this ledger has no head: nothing can be signed")
            self._origin = str(row[0])
        return self._origin

    async def keys_of(self, name: str, credential: int) -> KeysOf:
        """Return the signing key of a subject with this number, if it exists. Raises Unavailable."""
        keys = Keys(await self.origin())
        [history] = await self.readers.streams(subjects.stream_of(name))
        for event in history:
            # Read only this key: a subject may have many, and each costs a verification.
            if event.data.get("credential") == credential:
                _take(keys, event)
        return KeysOf(name, keys, len(history))

    def check(self, keys: KeysOf, line: Line) -> None:
        """Verify the signature of an act before it is recorded. Raises Refused `signature-…`."""
        now_us = time_ns() // 1000
        try:
            act = check_act(orjson.loads(line.body()), now_us + EXPIRY_MARGIN_US, keys.keys)
        except ActError as error:
            raise refusal(error) from error
        _check_age(act.prepared_us, now_us)

    async def check_registration(self, name: str, data: dict[str, Any]) -> SigningKey:
        """Verify the registration of a key before it is recorded. Raises Refused `signature-…`."""
        try:
            key = read_registration(await self.origin(), name, data)
            prepared_us = decode_time(data["proof"], "prepared_at")
        except ActError as error:
            raise refusal(error) from error
        now_us = time_ns() // 1000
        _check_age(prepared_us, now_us)
        if key.expires_us is not None and key.expires_us <= now_us + EXPIRY_MARGIN_US:
            raise Refused(ActFlaw.KEY, "expires_at is not more than five minutes ahead")
        return key


def _check_salts(salts: Mapping[str, str], sealed: set[str]) -> None:
    if salts.keys() != sealed or len(set(salts.values())) < len(salts):
        names = ", ".join(sorted(sealed)) or "none"
        raise Refused(ActFlaw.ENCODING, f"salts must be there, each another one, for exactly these members: {names}")


def key_id(key: SigningKey) -> UUID:
    """Return the id of the event that registers this public key."""
    digest = int.from_bytes(sha256(KEY_ID_PREFIX + key.public.spki).digest()[:16])
    return UUID(int=(digest & ~(0xF << 76) & ~(0b11 << 62)) | (0x8 << 76) | (0b10 << 62))


def refusal(error: ActError) -> Refused:
    """Return the refusal with the name of the flaw."""
    return Refused(error.flaw.value, error.detail)


def _take(keys: Keys, event: RecordedEvent) -> None:
    """Process an event of the subject.

    A registration that does not hold gives no key; the verifier decides the same.
    """
    try:
        keys.take(event.position, event.content)
    except ActError:
        return


def _check_age(prepared_us: int, now_us: int) -> None:
    if abs(now_us - prepared_us) > MAX_AGE_US:
        raise Refused("signature-late", TOO_OLD)

"""Verify one signed act: docs/formats/signed-acts.md, section 6."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ledger.proof.acts.assertion import Asserted
from ledger.proof.acts.encoding import decode_time
from ledger.proof.acts.errors import ActError, ActFlaw
from ledger.proof.acts.keys import MEMBERS, Keys, Scheme, SigningKey
from ledger.proof.acts.statement import COVERS, act_statement

# The members of a signature in every scheme.
COMMON = frozenset({"covers", "key", "prepared_at", "scheme"})
# An act is recorded within this time of its preparation.
MAX_AGE_US = 600 * 1_000_000


@dataclass(frozen=True)
class SignedAct:
    """An act whose signature verifies, with the digest of its statement."""

    key: SigningKey
    prepared_us: int
    digest: bytes
    asserted: Asserted | None


def check_act(body: dict[str, Any], time_us: int, keys: Keys) -> SignedAct:
    """Verify the signature of an act that is recorded at `time_us` after the events that `keys` has. Raises ActError.

    `body` is the parsed body of the event, and has a signature.
    """
    signature, actor = body.get("signature"), body.get("actor")
    if type(signature) is not dict or type(actor) is not dict or type(actor.get("id")) is not str:
        raise ActError(ActFlaw.ENCODING, "the signature is not an object, or the event has no actor")
    key = keys.find(actor["id"], signature.get("key"), time_us)
    if signature.get("scheme") != key.scheme:
        raise ActError(ActFlaw.KEY, f"key {key.credential} of {key.subject} signs by {key.scheme}")
    covers = _covers(body, signature)
    if signature.keys() != COMMON | MEMBERS[Scheme(key.scheme)]:
        raise ActError(ActFlaw.ENCODING, "the signature has not the members of its scheme")
    prepared_us = decode_time(signature, "prepared_at")
    try:
        statement = act_statement(keys.ledger, signature["prepared_at"], body, covers)
    except (ValueError, LookupError, TypeError):
        raise ActError(ActFlaw.ENCODING, "the event has not the members that its statement needs") from None
    asserted = key.check(signature, statement)
    return SignedAct(key, prepared_us, sha256(statement).digest(), asserted)


def _covers(body: dict[str, Any], signature: dict[str, Any]) -> tuple[str, ...]:
    """Return what a signature of this type covers, as the format has it: the event must claim the same."""
    event_type, version = body.get("type"), body.get("schema")
    covers = COVERS.get((event_type, version)) if type(event_type) is str and type(version) is int else None
    if covers is None:
        raise ActError(ActFlaw.COVERS, "the format has no signature for events of this type and version")
    if signature.get("covers") != list(covers):
        raise ActError(ActFlaw.COVERS, "the signature does not cover what the format says")
    return covers

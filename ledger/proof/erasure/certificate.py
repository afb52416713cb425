"""Verify the certificate of an erasure offline, with only a key of the log: docs/formats/erasure-certificate.md.

A certificate has two events, as they were recorded, each with the proof that it is in the signed log: the request of
one subject, and the erasure by another one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from ledger.proof.casefile.moments import time_text
from ledger.proof.errors import EvidenceError, malformation
from ledger.proof.format.canonical import parse_object
from ledger.proof.format.hashes import HASH_BYTES, event_hash
from ledger.proof.tlog.merkle import leaf_hash
from ledger.proof.tlog.note import VerifierKey
from ledger.proof.tlog.tlog_proof import parse_proof, verify_proof

FORMAT = "advice-ledger/erasure-certificate/v1"
MAX_BYTES = 8 * 1024 * 1024
REQUESTED, ERASED = "erasure.requested", "client.erased"
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, LookupError, struct.error)


class CertificateFlaw(StrEnum):
    """The reasons for which a certificate proves nothing."""

    MALFORMED = "malformed certificate"
    EVENTS = "not the two events of one erasure"
    SAME_PERSON = "one subject did both"
    WITNESSES = "too few witnesses"


class CertificateError(EvidenceError):
    """The file is not a valid certificate of an erasure."""


@dataclass(frozen=True)
class CertifiedEvent:
    """An event that is proven to be in the log. Times are in microseconds since 1970."""

    position: int
    recorded_at_us: int
    by: str
    body: dict[str, Any]
    # The number of events that the signed checkpoint covers, and its signers.
    size: int
    signers: tuple[str, ...]
    witnesses: int


@dataclass(frozen=True)
class CertifiedErasure:
    """Hold what a certificate proves: the request, and the erasure that followed it."""

    origin: str
    stream: str
    requested: CertifiedEvent
    erased: CertifiedEvent

    def as_json(self) -> dict[str, Any]:
        """Return the result for programs."""
        data = self.erased.body["data"]
        names = ("reason", "reference", "clients", "streams", "events", "values", "reapplies")
        return {
            "origin": self.origin,
            "stream": self.stream,
            "erasure": self.requested.position,
            "requested_by": self.requested.by,
            "requested_at_us": self.requested.recorded_at_us,
            "erased_by": self.erased.by,
            "erased_at_us": self.erased.recorded_at_us,
            "position": self.erased.position,
            **{name: data.get(name) for name in names},
            "checkpoint_size": self.erased.size,
            "signers": list(self.erased.signers),
        }

    def lines(self) -> Iterator[str]:
        """Yield the result for people."""
        data = self.erased.body["data"]
        asked, done = (time_text(one.recorded_at_us) for one in (self.requested, self.erased))
        again = ", again after a restore" if data.get("reapplies") else ""
        yield f"verified: the transparency log of {self.origin!a} has this erasure"
        yield f"client      {', '.join(map(str, data['clients']))} (numbers), stream {self.stream!a}"
        yield f"requested   by {self.requested.by!a} at {asked} UTC, event {self.requested.position}"
        yield f"reason      {data['reason']!a}"
        yield f"erased      by {self.erased.by!a} at {done} UTC, event {self.erased.position}{again}"
        yield f"values      {data['values']} of {data['events']} events in {data['streams']} streams"
        yield f"signed by   {', '.join(self.erased.signers)}, over {self.erased.size} events"


def verify_certificate(
    data: bytes, log_keys: Sequence[VerifierKey], witness_keys: Sequence[VerifierKey] = (), needed: int = 0
) -> CertifiedErasure:
    """Verify that a log signed by one of the keys has both events, and that they are one erasure by two subjects.

    Raises EvidenceError, also for a certificate without a signature by one of the keys, or with fewer than `needed`
    cosignatures of the witnesses.
    """
    if len(data) > MAX_BYTES:
        raise CertificateError(CertificateFlaw.MALFORMED, f"{len(data)} bytes")
    try:
        content = orjson.loads(data)
        if content["format"] != FORMAT:
            raise ValueError("another format")
        origin = str(content["origin"])
        requested, erased = (verify_event(one, origin, log_keys, witness_keys) for one in content["events"])
        stream = str(erased.body["stream"])
        _check(requested, erased)
        if min(requested.witnesses, erased.witnesses) < needed:
            raise CertificateError(CertificateFlaw.WITNESSES, f"{needed} witnesses must have cosigned")
    except MALFORMED as error:
        raise CertificateError(CertificateFlaw.MALFORMED, malformation(error)) from None
    return CertifiedErasure(origin, stream, requested, erased)


def verify_event(
    found: dict[str, Any], origin: str, log_keys: Sequence[VerifierKey], witness_keys: Sequence[VerifierKey]
) -> CertifiedEvent:
    """Verify that the log has an event. Raises EvidenceError, and one of MALFORMED."""
    position, version, time_us = (found[name] for name in ("position", "version", "recorded_at_us"))
    prev_hash, body = bytes.fromhex(found["prev_hash"]), found["body"].encode()
    if {type(position), type(version), type(time_us)} != {int} or len(prev_hash) != HASH_BYTES:
        raise TypeError
    proof = parse_proof(found["proof"].encode())
    if proof.index != position - 1:
        raise CertificateError(CertificateFlaw.MALFORMED, "the proof is one of another position")
    digest = event_hash(prev_hash, position, version, time_us, body)
    signed = verify_proof(proof, leaf_hash(digest), origin, log_keys, witness_keys)
    members = parse_object(body)
    signers = tuple(f"{one.name}+{one.key_id:08x}" for one in (*signed.log, *signed.witnesses))
    by = members["actor"]["id"]
    if not isinstance(by, str):
        raise TypeError
    return CertifiedEvent(position, time_us, by, members, signed.checkpoint.size, signers, len(signed.witnesses))


def _check(requested: CertifiedEvent, erased: CertifiedEvent) -> None:
    """Raise CertificateError unless the second event erases what the first one requested, by another subject."""
    data = erased.body["data"]
    if (
        (requested.body["type"], erased.body["type"]) != (REQUESTED, ERASED)
        or requested.body["stream"] != erased.body["stream"]
        or not requested.position < erased.position
        or (data["erasure_id"], data["requested_by"]) != (requested.position, requested.by)
        or data["reason"] != requested.body["data"]["reason"]
        or "forbidden" in requested.body["data"]
    ):
        raise CertificateError(CertificateFlaw.EVENTS, f"positions {requested.position} and {erased.position}")
    # One subject may repeat an erasure that a restore undid: two subjects had agreed to it before.
    two = data.get("reapplies") or {"requested_by": requested.by, "erased_by": erased.by}
    if two["requested_by"] == two["erased_by"]:
        raise CertificateError(CertificateFlaw.SAME_PERSON, "the request and the erasure are by the same subject")

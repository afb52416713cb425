"""Check events about keys that a bundle has beside the selected ones, each with its proof of inclusion.

`signing-keys`, docs/formats/bundle.md, section 12: events that register and revoke keys of signed acts.
`recording-keys`, section 13: events that register the keys of attested recording. They are in streams of their own,
which a bundle of a client or a request has not.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from ledger.proof.acts.checker import OF_KEYS, KeyEvent
from ledger.proof.bundle.events import parse_line
from ledger.proof.bundle.zip import BundleError, BundleFlaw
from ledger.proof.chain.displacement import hash_at
from ledger.proof.errors import malformation
from ledger.proof.findings import Findings, Kind
from ledger.proof.format.canonical import parse_object
from ledger.proof.format.events import EventLine
from ledger.proof.format.hashes import HASH_BYTES
from ledger.proof.recording.attestation import Registration, read_registration
from ledger.proof.tlog.merkle import ProofError, check_inclusion, leaf_hash

MOST_KEY_EVENTS = 10_000
MAX_BODY_BYTES = 64 * 1024


class KeyRegistration(NamedTuple):
    """An event that registers a recording key: its position, body and keys."""

    position: int
    body: bytes
    registration: Registration


@dataclass(frozen=True)
class ProvenEvent:
    """An event of the log with its proof of inclusion."""

    event: EventLine
    inclusion: tuple[bytes, ...]


def encode_proven(events: Sequence[ProvenEvent]) -> bytes:
    """Return the member that `parse_proven` reads."""
    members = [{"event": each.event.members(), "inclusion": [one.hex() for one in each.inclusion]} for each in events]
    return orjson.dumps({"events": members}, option=orjson.OPT_SORT_KEYS)


def parse_proven(data: bytes, flaw: BundleFlaw) -> list[ProvenEvent]:
    """Parse a member of proven events. Raises BundleError with this flaw if it is malformed."""
    try:
        found = [
            ProvenEvent(
                parse_line(orjson.dumps(each["event"], option=orjson.OPT_SORT_KEYS), 0),
                tuple(map(_hash, each["inclusion"])),
            )
            for each in parse_object(data)["events"]
        ]
        _expect_form(found, data)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BundleError(flaw, malformation(error)) from None
    return found


def _expect_form(found: list[ProvenEvent], data: bytes) -> None:
    """Raise ValueError unless these events are in their only valid form."""
    positions = [each.event.position for each in found]
    if encode_proven(found) != data or len(found) > MOST_KEY_EVENTS or sorted(set(positions)) != positions:
        raise ValueError("not in canonical form, out of order, or too many")
    if any(each.event.fields or len(each.event.body) > MAX_BODY_BYTES for each in found):
        raise ValueError("an event with sealed values, or one that is too large")


def check_signing_keys(events: Sequence[ProvenEvent], size: int, root: bytes, findings: Findings) -> list[KeyEvent]:
    """Return the events that the log has. The others are findings. `size` and `root` are those of the checkpoint."""
    proven = []
    for each in events:
        position, event = each.event.position, each.event
        body = _body(event)
        if body is None:
            findings.add(Kind.SIGNATURE_KEY, position, "signing-keys has an event that neither registers nor revokes")
        elif not _is_logged(each, size, root):
            findings.add(Kind.SIGNATURE_KEY, position, "the log is not shown to have this event about a signing key")
        else:
            proven.append((position, event.recorded_at_us, body))
    return proven


def check_recording_keys(
    events: Sequence[ProvenEvent], size: int, root: bytes, findings: Findings
) -> list[KeyRegistration]:
    """Return the registrations that the log has, from the first of the ledger on. The others are findings."""
    proven: list[KeyRegistration] = []
    for each in events:
        position, registration = each.event.position, read_registration(each.event.body)
        if registration is None or each.event.version != len(proven) + 1:
            message = "recording-keys has an event that is not the next registration of a recording key"
        elif not _is_logged(each, size, root):
            message = "the log is not shown to have this registration of a recording key"
        else:
            proven.append(KeyRegistration(position, each.event.body, registration))
            continue
        findings.add(Kind.ATTESTATION_INVALID, position, message)
    return proven


def _is_logged(each: ProvenEvent, size: int, root: bytes) -> bool:
    """Return True if the event has its own hash, and the log has it at its position."""
    if hash_at(each.event, each.event.position) != each.event.hash:
        return False
    try:
        check_inclusion(leaf_hash(each.event.hash), each.event.position - 1, size, each.inclusion, root)
    except ProofError:
        return False
    return True


def _body(event: EventLine) -> dict[str, Any] | None:
    try:
        body = parse_object(event.body)
    except ValueError:
        return None
    return body if type(body.get("type")) is str and body["type"] in OF_KEYS else None


def _hash(value: Any) -> bytes:
    digest = unhexlify(value)
    if digest.hex() != value or len(digest) != HASH_BYTES:
        raise ValueError("malformed hash")
    return digest

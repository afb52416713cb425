"""Whom the auditor trusts, and what their keys say of a checkpoint: steps 2 and 3 of docs/formats/bundle.md, section 7.

Keys come from the auditor, never from what is checked. What cannot be used raises Unusable; what is wrong
with a checkpoint is a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import orjson

from ledger.proof.errors import EvidenceError
from ledger.proof.findings import Findings, Kind
from ledger.proof.tlog.checkpoint import Checkpoint, CheckpointError, open_checkpoint, parse_checkpoint
from ledger.proof.tlog.cosignature import Cosignature, WitnessKey, cosignatures
from ledger.proof.tlog.key_rotation import Rotation
from ledger.proof.tlog.note import MAX_NOTE_BYTES, Note, NoteError, NoteFlaw, VerifierKey
from ledger.proof.tlog.note import parse as parse_note

MAX_KEYS_BYTES = 64 * 1024
MAX_POLICY_BYTES = 1024 * 1024
POLICY_MEMBERS = frozenset(("log", "witnesses", "witnesses_needed"))

K = TypeVar("K", bound=VerifierKey)


class Unusable(Exception):
    """What the auditor gave cannot be used; one line that says why."""


@dataclass(frozen=True)
class Trust:
    """Keys of logs and of witnesses, how many witnesses must have cosigned, and which of them must have in any case."""

    log: tuple[VerifierKey, ...] = ()
    witnesses: tuple[WitnessKey, ...] = ()
    needed: int = 0
    each: tuple[WitnessKey, ...] = ()

    def follow(self, led_to: Sequence[Rotation]) -> Trust:
        """With the keys that rotations led to, once it is known that they start at keys that are trusted."""
        return replace(self, log=tuple(dict.fromkeys((*self.log, *(one.new for one in led_to)))))


@dataclass(frozen=True)
class Signed:
    """A checkpoint, whoever signed it. `signer`: the key of the log that verified; `trusted`: the auditor gave it.

    `witnesses` are those whose cosignature verified; `unknown` names signatures that nobody here can judge.
    """

    checkpoint: Checkpoint
    text: str
    signer: str | None = None
    trusted: bool = False
    witnesses: tuple[Cosignature, ...] = ()
    unknown: tuple[str, ...] = ()


def trust(keys: Sequence[str], witnesses: Sequence[str], policy: str | None) -> Trust:
    """What the options name: keys, files of keys, and a policy. Raises Unusable.

    Witnesses given one by one are all needed; a policy says itself how many. One that is in both counts for both.
    """
    log, each = _log_keys(keys), tuple(dict.fromkeys(_witness_keys(witnesses)))
    others, given = list(each), _names(each)
    needed = len(given)
    if policy is not None:
        found = _policy(policy)
        log += _log_keys(found["log"])
        listed = _witness_keys(found["witnesses"])
        most = len(_names(listed))
        wanted = found.get("witnesses_needed", most)
        if type(wanted) is not int or not 0 <= wanted <= most:
            raise Unusable(f"{policy}: witnesses_needed must be 0 to {most}, the number of its witnesses")
        others += listed
        needed += max(0, wanted - len(given & _names(listed)))
    return Trust(tuple(dict.fromkeys(log)), tuple(dict.fromkeys(others)), needed, each)


def _names(keys: Sequence[WitnessKey]) -> set[tuple[str, int]]:
    return {(key.name, key.key_id) for key in keys}


def judge(note: bytes, trusted: Trust, claimed: Sequence[VerifierKey], findings: Findings) -> Signed | None:
    """Steps 2 and 3 for one checkpoint; None where it is none. `claimed` keys are tried where none is trusted."""
    try:
        parsed = parse_note(note)
        checkpoint = parse_checkpoint(parsed.text)
    except EvidenceError as error:
        findings.add(Kind.DAMAGED, 0, f"no signed checkpoint: {error}", step=2)
        return None
    signed = Signed(checkpoint, parsed.text, unknown=tuple(f"{one.name}+{one.key_id:08x}" for one in parsed.signatures))
    keys = trusted.log or tuple(claimed)
    mine = [key for key in keys if key.name == checkpoint.origin]
    if trusted.log and not mine:
        names = ", ".join(sorted({key.name for key in trusted.log}))
        message = f"a checkpoint of {checkpoint.origin!a}; the trusted keys are of {names!a}"
        findings.add(Kind.OTHER_LEDGER, 0, message, step=2)
    elif mine:
        signed = _signature(note, parsed, signed, mine, findings, trusted=bool(trusted.log))
    return _witnessed(note, signed, trusted, findings)


def read_keys(data: bytes, where: str) -> list[str]:
    """The lines of a file of keys; empty ones and those that begin with # say nothing. Raises Unusable."""
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError:
        raise Unusable(f"{where} is no text") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _signature(
    note: bytes, parsed: Note, signed: Signed, keys: Sequence[VerifierKey], findings: Findings, *, trusted: bool
) -> Signed:
    """Step 2."""
    try:
        opened = open_checkpoint(note, signed.checkpoint.origin, keys)
    except NoteError as error:
        if error.flaw is NoteFlaw.UNSIGNED:
            by = ", ".join(f"{one.name}+{one.key_id:08x}" for one in parsed.signatures)
            whose = "trusted key of the log" if trusted else "key of keys.txt"
            findings.add(Kind.UNTRUSTED_KEY, 0, f"no {whose} signed the checkpoint; it is signed by {by[:500]}")
        else:
            findings.add(Kind.BAD_SIGNATURE, 0, f"the log's signature on the checkpoint: {error}")
        return signed
    except CheckpointError as error:
        findings.add(Kind.DAMAGED, 0, str(error), step=2)
        return signed
    signer = f"{opened.log[0].name}+{opened.log[0].key_id:08x}"
    unknown = tuple(f"{one.name}+{one.key_id:08x}" for one in opened.unknown)
    return Signed(signed.checkpoint, signed.text, signer, trusted, unknown=unknown)


def _witnessed(note: bytes, signed: Signed, trusted: Trust, findings: Findings) -> Signed:
    """Step 3. A bad cosignature is a finding, also where there are enough good ones."""
    found: list[Cosignature] = []
    text = signed.text.encode()
    keys = {(key.name, key.key_id): key for key in trusted.witnesses}
    for one in dict.fromkeys(parse_note(note).signatures):
        key = keys.get((one.name, one.key_id))
        if key is None:
            continue
        try:
            key.check(text, one.blob)
        except NoteError as error:
            findings.add(Kind.BAD_SIGNATURE, 0, f"a witness's cosignature: {error}", step=3)
        else:
            found.extend(cosignatures([one]))
    latest = {(one.name, one.key_id): one for one in sorted(found, key=lambda one: one.timestamp_s)}
    if len(latest) < trusted.needed:
        message = f"{len(latest)} of the trusted witnesses cosigned it, and {trusted.needed} are needed"
        findings.add(Kind.TOO_FEW_WITNESSES, 0, message)
    elif lacking := ", ".join(f"{name}+{key_id:08x}" for name, key_id in sorted(_names(trusted.each) - latest.keys())):
        findings.add(Kind.TOO_FEW_WITNESSES, 0, f"{lacking[:500]} did not cosign it, and each one given must have")
    names = {f"{name}+{key_id:08x}" for name, key_id in latest}
    unknown = tuple(name for name in signed.unknown if name not in names)
    return Signed(signed.checkpoint, signed.text, signed.signer, signed.trusted, tuple(latest.values()), unknown)


def _log_keys(given: Any) -> list[VerifierKey]:
    return _keys(VerifierKey, given)


def _witness_keys(given: Any) -> list[WitnessKey]:
    return _keys(WitnessKey, given)


def _keys(kind: type[K], given: Any) -> list[K]:
    """Each key; what is none names a file of them."""
    found: list[K] = []
    for one in given:
        if type(one) is not str:
            raise Unusable("a key is a text")
        try:
            found.append(kind.parse(one))
        except NoteError as error:
            if "+" in one and not _is_file(one):
                raise Unusable(f"a key that was given: {error}") from None
            found.extend(_parsed(kind, line, one) for line in read_keys(read_file(one, MAX_KEYS_BYTES), one))
    return found


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # Too long for a name, or otherwise none.
        return False


def _parsed(kind: type[K], text: str, where: str) -> K:
    try:
        return kind.parse(text)
    except NoteError as error:
        raise Unusable(f"{where}: {error}") from None


def read_file(name: str, most: int) -> bytes:
    """A file that the auditor named. Raises Unusable."""
    try:
        with Path(name).open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no name that a file has"
        raise Unusable(f"{name}: {reason}") from None
    if len(data) > most:
        raise Unusable(f"{name} has more than {most} bytes")
    return data


def read_note(name: str) -> bytes:
    """A file with a checkpoint. Raises Unusable."""
    return read_file(name, MAX_NOTE_BYTES)


def _policy(name: str) -> dict[str, Any]:
    try:
        found = orjson.loads(read_file(name, MAX_POLICY_BYTES))
    except ValueError:
        raise Unusable(f"{name} is no JSON") from None
    if type(found) is not dict or not found.keys() <= POLICY_MEMBERS:
        raise Unusable(f"{name}: an object of {', '.join(sorted(POLICY_MEMBERS))}")
    lists = {"log": found.get("log", []), "witnesses": found.get("witnesses", [])}
    if not all(type(each) is list for each in lists.values()):
        raise Unusable(f"{name}: log and witnesses are lists of keys")
    return {**found, **lists}

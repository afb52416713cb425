"""Judge checkpoints by the keys that the auditor trusts: steps 2 and 3 of docs/formats/bundle.md, section 7.

Keys come from the auditor, never from the evidence. Options that cannot be used raise Unusable; each fault of a
checkpoint is a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import orjson

from ledger.proof.errors import EvidenceError
from ledger.proof.findings import Findings, Kind
from ledger.proof.format.text import decoded
from ledger.proof.tlog.checkpoint import Checkpoint, Cosignature, WitnessKey, cosignatures, parse_checkpoint
from ledger.proof.tlog.key_rotation import Rotation
from ledger.proof.tlog.note import MAX_NOTE_BYTES, Note, NoteError, Signature, VerifierKey
from ledger.proof.tlog.note import parse as parse_note

MAX_KEYS_BYTES = 64 * 1024
MAX_POLICY_BYTES = 1024 * 1024
POLICY_MEMBERS = frozenset(("log", "witnesses", "witnesses_needed"))

K = TypeVar("K", bound=VerifierKey)


class Unusable(Exception):
    """An option or a file of the auditor cannot be used. The message is one line."""


@dataclass(frozen=True)
class Trust:
    """Keys of logs and witnesses. At least `needed` of the witnesses must have cosigned, and each witness in `each`."""

    log: tuple[VerifierKey, ...] = ()
    witnesses: tuple[WitnessKey, ...] = ()
    needed: int = 0
    each: tuple[WitnessKey, ...] = ()

    def follow(self, led_to: Sequence[Rotation]) -> Trust:
        """Return the trust with the keys that rotations lead to from trusted keys."""
        return replace(self, log=tuple(dict.fromkeys((*self.log, *(rotation.new for rotation in led_to)))))


@dataclass(frozen=True)
class Signed:
    """A checkpoint and who signed it. `signer`: the key of the log that verified it; `trusted`: the auditor gave it.

    `witnesses` are those whose cosignature verified; `unknown` names the signatures by other keys.
    """

    checkpoint: Checkpoint
    signer: str | None
    trusted: bool
    witnesses: tuple[Cosignature, ...]
    unknown: tuple[str, ...]


def trust(keys: Sequence[str], witnesses: Sequence[str], policy: str | None) -> Trust:
    """Read the keys, files of keys and the policy that the options name. Raises Unusable.

    All witnesses named as options are needed; a policy says how many of its own are. A witness in both counts for both.
    """
    log, each = _keys(VerifierKey, keys), tuple(dict.fromkeys(_keys(WitnessKey, witnesses)))
    others, named = list(each), _names(each)
    needed = len(named)
    if policy is not None:
        content = _policy(policy)
        log += _keys(VerifierKey, content["log"])
        listed = _keys(WitnessKey, content["witnesses"])
        most = len(_names(listed))
        wanted = content.get("witnesses_needed", most)
        if type(wanted) is not int or not 0 <= wanted <= most:
            raise Unusable(f"{policy}: witnesses_needed must be 0 to {most}, the number of its witnesses")
        others += listed
        needed += max(0, wanted - len(named & _names(listed)))
    return Trust(tuple(dict.fromkeys(log)), tuple(dict.fromkeys(others)), needed, each)


def _names(keys: Sequence[WitnessKey]) -> set[tuple[str, int]]:
    return {(key.name, key.key_id) for key in keys}


def judge(note: bytes, trusted: Trust, claimed: Sequence[VerifierKey], findings: Findings) -> Signed | None:
    """Check steps 2 and 3 for one checkpoint; None if it is malformed. If no key is trusted, try `claimed` keys."""
    try:
        parsed = parse_note(note)
        checkpoint = parse_checkpoint(parsed.text)
    except EvidenceError as error:
        findings.add(Kind.DAMAGED, 0, f"no signed checkpoint: {error}", step=2)
        return None
    # 2. A key of the log must have signed it.
    own = [key for key in trusted.log or claimed if key.name == checkpoint.origin]
    log, bad = _verified(parsed, own, "the log's signature on the checkpoint", 2, findings)
    if trusted.log and not own:
        names = ", ".join(sorted({key.name for key in trusted.log}))
        message = f"a checkpoint of {checkpoint.origin!a}; the trusted keys are of {names!a}"
        findings.add(Kind.OTHER_LEDGER, 0, message, step=2)
    elif own and not log and not bad:
        signers = ", ".join(map(signer_name, parsed.signatures))
        whose = "trusted key of the log" if trusted.log else "key of keys.txt"
        findings.add(Kind.UNTRUSTED_KEY, 0, f"no {whose} signed the checkpoint; it is signed by {signers[:500]}")
    # 3. Witnesses. A bad cosignature is a finding even if there are enough good ones.
    witnessed, _ = _verified(parsed, trusted.witnesses, "a witness's cosignature", 3, findings)
    latest = cosignatures(witnessed)
    _expect_witnesses(trusted, {(witness.name, witness.key_id) for witness in latest}, findings)
    judged = {(signature.name, signature.key_id) for signature in (*log, *witnessed)}
    return Signed(
        checkpoint,
        signer_name(log[0]) if log and not bad else None,
        bool(trusted.log) and bool(log) and not bad,
        latest,
        tuple(signer_name(each) for each in parsed.signatures if (each.name, each.key_id) not in judged),
    )


def _verified(
    note: Note, keys: Sequence[VerifierKey], what: str, step: int, findings: Findings
) -> tuple[list[Signature], bool]:
    """Return the signatures that these keys verify, and whether one by such a key is bad, which is a finding."""
    known: dict[tuple[str, int], list[VerifierKey]] = {}
    for key in keys:
        known.setdefault((key.name, key.key_id), []).append(key)
    verified, bad, text = [], False, note.text.encode()
    for signature in dict.fromkeys(note.signatures):
        try:
            for key in known.get((signature.name, signature.key_id), ()):
                key.check(text, signature.blob)
                verified.append(signature)
        except NoteError as error:
            bad = True
            findings.add(Kind.BAD_SIGNATURE, 0, f"{what}: {error}", step=step)
    return verified, bad


def _expect_witnesses(trusted: Trust, cosigned: set[tuple[str, int]], findings: Findings) -> None:
    """Check that enough of the trusted witnesses cosigned, and each witness that is always needed."""
    if len(cosigned) < trusted.needed:
        message = f"{len(cosigned)} of the trusted witnesses cosigned it, and {trusted.needed} are needed"
        findings.add(Kind.TOO_FEW_WITNESSES, 0, message)
    elif lacking := ", ".join(f"{name}+{key_id:08x}" for name, key_id in sorted(_names(trusted.each) - cosigned)):
        findings.add(Kind.TOO_FEW_WITNESSES, 0, f"{lacking[:500]} did not cosign it, and each one given must have")


def signer_name(signature: Signature) -> str:
    """Return the name and id of the key that a signature claims to be by."""
    return f"{signature.name}+{signature.key_id:08x}"


def read_keys(data: bytes, where: str) -> list[str]:
    """Return the lines of a file of keys, without empty lines and comments (#). Raises Unusable."""
    lines = _decoded(data, where).splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _keys(kind: type[K], texts: Any) -> list[K]:
    """Parse each key, or read the file of keys that it names."""
    keys: list[K] = []
    for text in texts:
        if type(text) is not str:
            raise Unusable("a key must be a string")
        try:
            keys.append(kind.parse(text))
        except NoteError as error:
            if "+" in text and not _is_file(text):
                raise Unusable(f"a given key: {error}") from None
            lines = read_keys(read_file(text, MAX_KEYS_BYTES), text)
            if not lines:
                raise Unusable(f"{text} holds no key") from None
            keys.extend(_parsed(kind, line, text) for line in lines)
    return keys


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # not a valid file name
        return False


def _parsed(kind: type[K], text: str, where: str) -> K:
    try:
        return kind.parse(text)
    except NoteError as error:
        raise Unusable(f"{where}: {error}") from None


def read_file(name: str, most: int) -> bytes:
    """Read a file that the auditor named. Raises Unusable."""
    try:
        with Path(name).open("rb") as file:
            data = file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "invalid file name"
        raise Unusable(f"{name}: {reason}") from None
    if len(data) > most:
        raise Unusable(f"{name} has more than {most} bytes")
    return data


def _decoded(data: bytes, where: str) -> str:
    """Decode the text of a file. Raises Unusable."""
    try:
        return decoded(data)
    except UnicodeDecodeError:
        raise Unusable(f"{where} is not a text file in UTF-8 or UTF-16") from None


def read_note(name: str) -> bytes:
    """Read a file with a checkpoint, as it was signed: other line ends and a byte order mark do not count.

    Raises Unusable, also if it holds no checkpoint: such a file says nothing about a ledger.
    """
    lines = _decoded(read_file(name, 2 * MAX_NOTE_BYTES), name).replace("\r\n", "\n")
    note = f"{lines.rstrip()}\n".encode()
    try:
        parse_checkpoint(parse_note(note).text)
    except EvidenceError as error:
        raise Unusable(f"{name} is not a checkpoint: {error}") from None
    return note


def _policy(name: str) -> dict[str, Any]:
    try:
        content = orjson.loads(_decoded(read_file(name, MAX_POLICY_BYTES), name))
    except ValueError:
        raise Unusable(f"{name} is not JSON") from None
    if type(content) is not dict or not content.keys() <= POLICY_MEMBERS:
        raise Unusable(f"{name} must be an object with the members {', '.join(sorted(POLICY_MEMBERS))}")
    lists = {"log": content.get("log", []), "witnesses": content.get("witnesses", [])}
    if not all(type(each) is list for each in lists.values()):
        raise Unusable(f"{name}: log and witnesses must be lists of keys")
    return {**content, **lists}

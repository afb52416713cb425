"""Check that one checkpoint extends another: step 4 of docs/formats/bundle.md, section 7. It reveals split views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ledger.proof.auditor.rotations_and_timestamps import KeyChange
from ledger.proof.bundle.zip import BundleError, BundleFlaw
from ledger.proof.findings import BUNDLE, Findings, Kind
from ledger.proof.tlog.checkpoint import Checkpoint, decode_hash, strict_decimal
from ledger.proof.tlog.http_log import LiveLog
from ledger.proof.tlog.key_rotation import key_name
from ledger.proof.tlog.merkle import MAX_PATH, ProofError, check_consistency
from ledger.proof.tlog.trust import Signed, Trust, Unusable, judge

# The member `consistency`: the old size, and the hashes.
Proof = tuple[int, list[bytes]]


@dataclass(frozen=True)
class Older:
    """The note that the auditor kept, the keys that the auditor trusts, and the rotations of the bundle."""

    note: bytes
    trusted: Trust
    rotations: Sequence[KeyChange] = ()

    def hint(self, signatures: Sequence[str]) -> str:
        """Return advice for a note that no trusted key signed; `signatures` are the names and ids of its keys."""
        known = {key_name(key) for key in self.trusted.log}
        led_to = {change.old: change.new for change in self.rotations}
        for signer in signatures:
            key = signer
            # One step for each rotation at most: rotations may form a circle.
            for _ in led_to:
                key = led_to.get(key, key)
                if key in known:
                    return (
                        f"; give {signer} with --key as well: by the rotations in the bundle it led to {key}, which"
                        " you gave, and such a rotation speaks for the later key only"
                    )
        return "; give the key that signed it with --key as well"


@dataclass(frozen=True)
class Tiles:
    """A served log, and the checkpoint that it shows now."""

    live: LiveLog
    now: Checkpoint


def decode_consistency(data: bytes) -> Proof:
    """Parse the member `consistency`. Raises BundleError."""
    try:
        first, *lines = data.decode("ascii").split("\n")
        old, hashes = strict_decimal(first.removeprefix("old ")), [decode_hash(line) for line in lines[:-1]]
    except ValueError as error:
        raise BundleError(BundleFlaw.CONSISTENCY, str(error)[:100]) from None
    if not first.startswith("old ") or lines[-1:] != [""] or len(hashes) > MAX_PATH:
        raise BundleError(BundleFlaw.CONSISTENCY, "not a size and hashes, each with its newline")
    return old, hashes


def check_extension(
    signed: Signed, proof: Proof | None, older: Older | None, live: LiveLog | None, trusted: Trust, findings: Findings
) -> list[str] | None:
    """Check step 4 for a bundle: `signed` extends the older checkpoint, and the served log extends `signed`.

    Return the lines of the report, None if neither was asked for. Raises Unusable and LogUnreachable.
    """
    log: Tiles | None = None
    about: list[str] = []
    if live is not None:
        now = _judged(live.checkpoint(), trusted, findings)
        if now is not None and _same_origin(signed.checkpoint, now, findings):
            log = Tiles(live, now)
            about = _extended(signed.checkpoint, log, "the bundle's checkpoint", findings)
            # A log that does not extend the bundle's checkpoint shows nothing about an older one.
            log = log if about else None
    if older is not None:
        about += check_older(older, signed, proof, log, findings)
    return None if older is None and live is None else about


def check_older(older: Older, signed: Signed, proof: Proof | None, log: Tiles | None, findings: Findings) -> list[str]:
    """Check that `signed` extends the older checkpoint, by the proof of the bundle or by tiles of the transparency log.

    The tiles of older sizes may be gone: the transparency log's present tree is shown to begin with both. Return
    the lines of the report. Raises Unusable if there is no proof, or if no trusted key signed the older checkpoint,
    which is the auditor's own; also LogUnreachable.
    """
    old = _usable(older, findings)
    if old is None or not _same_origin(old, signed.checkpoint, findings):
        return []
    new = signed.checkpoint
    if old.size in {0, new.size}:
        return _compare(old, new, (), f"size {new.size} extends size {old.size}", findings)
    if old.size < new.size and proof is not None:
        size, hashes = proof
        if size == old.size:
            line = f"size {new.size} extends size {old.size}, by the proof in the bundle"
            return _compare(old, new, hashes, line, findings)
    if log is not None:
        return _extended(old, log, "the checkpoint that you hold", findings)
    if old.size > new.size:
        message = (
            f"the checkpoint covers {new.size} events, and the one that you hold {old.size}: the ledger was set back,"
            " or the bundle is no newer: have it made with --since"
        )
        findings.add(Kind.ROLLED_BACK, new.size + 1, message, old.size)
        return []
    raise Unusable(
        f"nothing here shows whether size {new.size} extends the older checkpoint of size {old.size}: have the bundle"
        " made with --since, or give the log with --log"
    )


def _extended(old: Checkpoint, log: Tiles, whose: str, findings: Findings) -> list[str]:
    """Check that the present tree of the transparency log begins with `old`."""
    now = log.now
    if now.size < old.size:
        message = f"the log has {now.size} events now, and {whose} covers {old.size}"
        findings.add(Kind.ROLLED_BACK, now.size + 1, message, old.size)
        return []
    hashes = log.live.consistency(old.size, now.size) if 0 < old.size < now.size else ()
    return _compare(old, now, hashes, f"the log at {log.live.url} has size {now.size} and extends {whose}", findings)


def _compare(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes], line: str, findings: Findings) -> list[str]:
    if not old.size:
        return [line]
    try:
        check_consistency(old.size, new.size, old.root, new.root, proof)
    except ProofError as error:
        message = f"size {new.size} is not shown to extend size {old.size}: {error}"
        findings.add(Kind.FORKED, 0, message)
        return []
    return [line]


def _usable(older: Older, findings: Findings) -> Checkpoint | None:
    """Return the older checkpoint; None if it belongs to another ledger. Raises Unusable."""
    found = Findings(BUNDLE)
    signed = judge(older.note, replace(older.trusted, needed=0, each=()), (), found)
    for finding in found:
        if finding.kind is not Kind.OTHER_LEDGER:
            hint = older.hint(signed.unknown) if signed and finding.kind is Kind.UNTRUSTED_KEY else ""
            raise Unusable(f"the older checkpoint: {finding.message}{hint}")
    return _accepted(signed, found, "the older checkpoint", findings)


def _judged(note: bytes, trusted: Trust, findings: Findings) -> Checkpoint | None:
    """Return the checkpoint that the transparency log shows now, signed by a trusted key; None at a fault.

    Witnesses are needed for the bundle's checkpoint, not for this one.
    """
    found = Findings(BUNDLE)
    signed = judge(note, replace(trusted, needed=0, each=()), (), found)
    return _accepted(signed, found, "the log's checkpoint", findings)


def _accepted(signed: Signed | None, found: Findings, name: str, findings: Findings) -> Checkpoint | None:
    for finding in found:
        findings.add(finding.kind, 0, f"{name}: {finding.message}", step=4)
    return None if signed is None or tuple(found) else signed.checkpoint


def _same_origin(one: Checkpoint, other: Checkpoint, findings: Findings) -> bool:
    if one.origin != other.origin:
        message = f"checkpoints of {one.origin!a} and of {other.origin!a}"
        findings.add(Kind.OTHER_LEDGER, 0, message, step=4)
    return one.origin == other.origin

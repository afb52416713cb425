"""Audit a bundle or a served log, step by step: docs/formats/bundle.md, section 7, with its numbers.

No step believes the maker of the bundle. Whatever is wrong becomes a finding; a step that was not reached says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import BinaryIO

from ledger.proof.auditor.extension import Older, Tiles, check_live, check_older
from ledger.proof.auditor.rotations_and_timestamps import (
    KeyChange,
    Timestamp,
    check_timestamps,
    describe_changes,
    describe_timestamps,
    follow_rotations,
)
from ledger.proof.bundle import manifest as names
from ledger.proof.bundle.complete import Completeness
from ledger.proof.bundle.events import EventChecker, Seen
from ledger.proof.bundle.fields import SealedFields
from ledger.proof.bundle.manifest import Bundle, Manifest, read_bundle
from ledger.proof.bundle.page import page
from ledger.proof.bundle.tiles import TileReader
from ledger.proof.bundle.zip import BundleError, BundleFlaw
from ledger.proof.findings import BUNDLE, CONTENTS, Finding, Findings, Kind
from ledger.proof.tlog.http_log import LiveLog, LogUnreachable
from ledger.proof.tlog.key_rotation import key_name
from ledger.proof.tlog.note import NoteError, VerifierKey
from ledger.proof.tlog.trust import Signed, Trust, Unusable, judge, read_keys

# The findings that explain why a file is not the one of the manifest.
_EXPLAINED_BY: dict[str, frozenset[Kind]] = {
    names.EVENTS: CONTENTS,
    names.CHECKPOINT: frozenset((Kind.BAD_SIGNATURE, Kind.UNTRUSTED_KEY, Kind.OTHER_LEDGER, Kind.PROOF_MISMATCH)),
    names.EDGE: frozenset((Kind.PROOF_MISMATCH,)),
    names.CONSISTENCY: frozenset((Kind.FORKED,)),
    names.ROTATIONS: frozenset((Kind.BAD_ROTATION,)),
    names.PAGE: frozenset((Kind.SUMMARY_MISMATCH,)),
    **dict.fromkeys(names.STAMPS, frozenset((Kind.BAD_TIMESTAMP,))),
    **{names.tiles_name(level): frozenset((Kind.PROOF_MISMATCH,)) for level in range(names.LEVELS)},
}


def _bundle_findings() -> Findings:
    return Findings(BUNDLE)


@dataclass
class Audit:
    """The result. `done` describes, for each step that was reached, what it looked at."""

    collected: Findings = field(default_factory=_bundle_findings)
    done: dict[int, list[str]] = field(default_factory=dict)
    signed: Signed | None = None
    rotations: list[KeyChange] = field(default_factory=list)
    timestamps: list[Timestamp] = field(default_factory=list)
    manifest: Manifest | None = None
    seen: Seen = field(default_factory=Seen)
    fields: SealedFields = field(default_factory=SealedFields)
    not_proven: list[str] = field(default_factory=list)
    # What a step without findings could not show although it promises it.
    but: dict[int, str] = field(default_factory=dict)
    tiles: int = 0
    streams: int = 0
    # Files that are not those of the manifest, as findings of later steps explain.
    explained: list[str] = field(default_factory=list)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, by step."""
        return self.collected.in_order()

    @property
    def ok(self) -> bool:
        """True if everything that was checked holds."""
        return not self.findings and not self.collected.more

    @property
    def trusted(self) -> bool:
        """True if a key that the auditor gave signed it, or one that rotations lead to from such a key."""
        return self.signed is not None and self.signed.trusted and self.signed.signer is not None


def audit_log(live: LiveLog, trusted: Trust, since: bytes | None) -> Audit:
    """Check a served log: steps 2 to 4. Raises LogUnreachable and Unusable."""
    audit = Audit()
    audit.signed = judge(live.checkpoint(), trusted, (), audit.collected)
    _describe_signed(audit, trusted, trusted)
    if audit.signed is not None and since is not None:
        log = Tiles(live, audit.signed.checkpoint)
        audit.done[4] = check_older(Older(since, trusted), audit.signed, None, log, audit.collected)
    audit.not_proven.append(
        "events were not checked: only that the log signed what it shows, and extends what it showed"
    )
    return audit


def audit_bundle(file: BinaryIO, trusted: Trust, since: bytes | None = None, live: LiveLog | None = None) -> Audit:
    """Check a bundle: all steps. Raises LogUnreachable and Unusable, and OSError if the file cannot be read."""
    audit = Audit()
    try:
        _steps(audit, read_bundle(file), trusted, since, live)
    except BundleError as error:
        after = audit.seen.last_position
        audit.collected.add(Kind.DAMAGED, after + 1 if after else 0, str(error))
        audit.done.setdefault(1, [])
    return audit


def _steps(audit: Audit, bundle: Bundle, given: Trust, since: bytes | None, live: LiveLog | None) -> None:
    """Steps 1 to 11 for a bundle whose container is sound. `given` are the auditor's own keys."""
    findings, manifest = audit.collected, bundle.manifest
    audit.manifest = manifest
    _expect_files(bundle, findings)
    # 2 and 3. Who signed the checkpoint, and who cosigned it.
    trusted, audit.rotations = follow_rotations(bundle.rotations, manifest.origin, given, findings)
    signed = audit.signed = judge(bundle.checkpoint, trusted, _claimed_keys(bundle.keys), findings)
    audit.timestamps = check_timestamps(bundle, findings)
    _describe_signed(audit, trusted, given)
    if signed is None:
        return
    if manifest.origin != signed.checkpoint.origin:
        message = f"the manifest is of {manifest.origin!a}, the checkpoint of {signed.checkpoint.origin!a}"
        findings.add(Kind.OTHER_LEDGER, 0, message)
    # 4. The checkpoint extends the auditor's, and the log extends it. Where that cannot be found out, the audit goes
    # on: what is wrong with the bundle is reported first.
    lacking: Exception | None = None
    try:
        older = None if since is None else Older(since, trusted, audit.rotations)
        _extend(audit, bundle.consistency, older, live, trusted)
    except (Unusable, LogUnreachable) as error:
        lacking = error
    # 5 to 10. Tiles and events, in one pass.
    _check_events(audit, bundle, signed)
    # 11. Manifest and page.
    _check_summary(audit, bundle, signed)
    # 1. The digests, known once everything was read.
    _check_digests(audit, bundle)
    if lacking is not None and audit.ok:
        raise lacking


def _expect_files(bundle: Bundle, findings: Findings) -> None:
    listed, present = bundle.manifest.files.keys(), bundle.files.keys() - {names.MANIFEST}
    if listed != present:
        differing = ascii(", ".join(sorted(listed ^ present)))[:300]
        findings.add(Kind.FILE_MISMATCH, 0, f"in the manifest or in the file, and not in both: {differing}")


def _claimed_keys(data: bytes) -> list[VerifierKey]:
    """The keys of keys.txt, which nobody has to believe. Raises BundleError."""
    try:
        return [VerifierKey.parse(text) for text in read_keys(data, names.KEYS)]
    except (NoteError, Unusable) as error:
        raise BundleError(BundleFlaw.KEYS, str(error)[:200]) from None


def _describe_signed(audit: Audit, trusted: Trust, given: Trust) -> None:
    signed = audit.signed
    if signed is None:
        return
    checkpoint = signed.checkpoint
    about = [f"{checkpoint.origin}, size {checkpoint.size}, root {checkpoint.root.hex()}"]
    about += describe_changes(audit.rotations, given.log)
    if signed.signer and signed.trusted:
        own = signed.signer in {key_name(key) for key in given.log}
        whose = "a key that you gave" if own else "which the rotations lead to from a key that you gave"
        about.append(f"signed by {signed.signer}, {whose}")
    elif signed.signer:
        about.append(f"signed by {signed.signer}, a key that only the bundle vouches for")
    elif not trusted.log:
        about.append("no key to check the signature with")
    audit.done[2] = about
    audit.done[3] = [f"{len(signed.witnesses)} of the {len(trusted.witnesses)} witnesses that you gave cosigned it"]
    if signed.unknown:
        audit.done[3].append(f"signatures by unknown keys: {', '.join(signed.unknown)[:500]}")
    audit.done[3] += describe_timestamps(audit.timestamps)


def _extend(audit: Audit, proof: bytes | None, older: Older | None, live: LiveLog | None, trusted: Trust) -> None:
    """Step 4, as far as it was asked for."""
    assert audit.signed is not None
    log: Tiles | None = None
    about: list[str] = []
    if live is not None:
        log, about = check_live(live, audit.signed, trusted, audit.collected)
    if older is not None:
        about += check_older(older, audit.signed, proof, log, audit.collected)
    if older is not None or live is not None:
        audit.done[4] = about


def _check_events(audit: Audit, bundle: Bundle, signed: Signed) -> None:
    """Steps 5 to 10. Origin and size are those of the checkpoint, whatever the manifest says."""
    findings, size = audit.collected, signed.checkpoint.size
    manifest = replace(bundle.manifest, origin=signed.checkpoint.origin, checkpoint_size=size)
    tiles = TileReader(bundle, size, signed.checkpoint.root, findings)
    complete = Completeness(manifest, findings)
    events = EventChecker(manifest, tiles, findings, complete)
    seen, fields = events.seen, events.fields
    audit.seen, audit.fields = seen, fields
    events.feed(bundle.files[names.EVENTS].lines(names.MAX_LINE_BYTES))
    complete.finish()
    tiles.finish(explained=findings.any(*CONTENTS))
    audit.tiles, audit.streams = tiles.count, complete.streams
    places = f"positions {seen.first_position} to {seen.last_position}" if seen.count else "none"
    audit.done[5] = [f"{tiles.count} full tiles and the edge of size {size}"]
    audit.done[6] = [f"{seen.proven} of {seen.count} events, {places}"]
    audit.done[7] = [f"{seen.links} links between neighbours; times of {seen.proven} events"]
    audit.done[8] = [f"{seen.proven} bodies"]
    audit.done[9] = [f"{fields.opened} values open to their commitments"]
    audit.done[10] = _describe_selection(audit, manifest)


def _describe_selection(audit: Audit, manifest: Manifest) -> list[str]:
    selection = manifest.selection
    about = [f"asked for: {selection.words()[:500]}"]
    if selection.kind == "positions":
        covered = min(selection.last_position, manifest.checkpoint_size)
        about.append(f"every position from {selection.first_position} to {covered}")
    else:
        about.append(f"each version from 1 on of {audit.streams} streams")
        audit.not_proven.append("that these streams have no later event before the size of the checkpoint")
        if selection.kind == "client":
            audit.not_proven.append("that there is no other stream of this client")
            if selection.client is None:
                audit.not_proven.append("that these streams are of one client")
                audit.but[10] = "that these streams are of one client is not shown"
    if manifest.excluded:
        left_out = f"{manifest.excluded} events from position {manifest.excluded_from} on"
        about.append(f"left out, as the maker says: {left_out}, which the checkpoint does not cover")
    return about


def _check_summary(audit: Audit, bundle: Bundle, signed: Signed) -> None:
    """Step 11. Where the contents are wrong, the summaries differ as a consequence and are not checked."""
    manifest, seen, findings, fields = bundle.manifest, audit.seen, audit.collected, audit.fields
    if findings.any(*CONTENTS, Kind.PROOF_MISMATCH, Kind.DAMAGED):
        return
    audit.done[11] = [
        f"{seen.count} events, {len(fields.counts)} kinds of sealed fields, {len(seen.rows)} rows of the page"
    ]
    counted = f"{manifest.count} events up to position {manifest.last_position}"
    message = f"the manifest counts {counted}, and here are {seen.count}"
    if seen.count < manifest.count:
        last = max(manifest.last_position, seen.last_position + 1)
        findings.add(Kind.TRUNCATED, seen.last_position + 1, message, last)
    elif seen.count > manifest.count:
        findings.add(Kind.INSERTED, seen.last_position, message)
    elif (
        (seen.first_position, seen.last_position) != (manifest.first_position, manifest.last_position)
        or manifest.checkpoint_size != signed.checkpoint.size
        or manifest.fields != fields.counts
    ):
        findings.add(Kind.SUMMARY_MISMATCH, 0, "the manifest does not agree with the events and the checkpoint")
    elif page(manifest, bundle.checkpoint.decode("utf-8", "replace"), seen.rows) != bundle.page:
        findings.add(Kind.SUMMARY_MISMATCH, 0, f"{names.PAGE} is not the page that this program makes of the events")


def _check_digests(audit: Audit, bundle: Bundle) -> None:
    """Step 1, the rest. A file whose contents another finding explains is not named again."""
    manifest, findings = bundle.manifest, audit.collected
    for name, member in bundle.files.items():
        if member.digest is None:  # a level that no event needed, which is a finding already
            continue
        if name == names.MANIFEST:
            if not member.intact:
                findings.add(Kind.FILE_MISMATCH, 0, "manifest.json was changed after the bundle was made")
        elif (member.size, member.digest) == manifest.files.get(name):
            continue
        elif findings.any(*_EXPLAINED_BY.get(name, frozenset())):
            audit.explained.append(name)
        else:
            findings.add(Kind.FILE_MISMATCH, 0, f"{name} is not the file of the manifest")
    total = sum(member.size for member in bundle.files.values())
    audit.done[1] = [f"{len(bundle.files)} files, {total} bytes"]
    if audit.explained:
        audit.done[1].append(f"not the file of the manifest: {', '.join(sorted(audit.explained))}")

"""The auditor's check of a bundle or of a log, step by step: docs/formats/bundle.md, section 7, with its numbers.

No step believes the one who made the bundle. What is wrong is a finding; a step that could not be reached says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from ledger.proof.auditor.extension import Older, Tiles, check_live, check_older
from ledger.proof.auditor.rotations_and_timestamps import (
    KeyChange,
    Stamp,
    check_stamps,
    follow,
    tell_changes,
    tell_stamps,
)
from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.complete import Completeness
from ledger.proof.bundle.events import EventChecker, Seen
from ledger.proof.bundle.fields import FieldLog
from ledger.proof.bundle.findings import CONTENTS, Problem, Problems, Wrong
from ledger.proof.bundle.manifest import Manifest, read_manifest
from ledger.proof.bundle.page import page
from ledger.proof.bundle.tiles import TileReader
from ledger.proof.bundle.zip import BundleError, BundleFlaw, Member, members
from ledger.proof.tlog.http_log import LiveLog, LogUnreachable
from ledger.proof.tlog.key_rotation import key_name
from ledger.proof.tlog.note import MAX_NOTE_BYTES, NoteError, VerifierKey
from ledger.proof.tlog.trust import Signed, Trust, Unusable, judge, read_keys

# What findings explain that a file is not the one of the manifest.
_EXPLAINED_BY: dict[str, frozenset[Wrong]] = {
    bundle.EVENTS: CONTENTS,
    bundle.CHECKPOINT: frozenset((Wrong.BAD_SIGNATURE, Wrong.UNTRUSTED_KEY, Wrong.OTHER_LEDGER, Wrong.PROOF_MISMATCH)),
    bundle.EDGE: frozenset((Wrong.PROOF_MISMATCH,)),
    bundle.CONSISTENCY: frozenset((Wrong.FORKED,)),
    bundle.ROTATIONS: frozenset((Wrong.BAD_ROTATION,)),
    bundle.PAGE: frozenset((Wrong.SUMMARY_MISMATCH,)),
    **dict.fromkeys(bundle.STAMPS, frozenset((Wrong.BAD_TIMESTAMP,))),
    **{bundle.tiles_name(level): frozenset((Wrong.PROOF_MISMATCH,)) for level in range(bundle.LEVELS)},
}


@dataclass
class Audit:
    """What was checked and found. `done` has, for each step that was reached, what it was about."""

    problems: Problems = field(default_factory=Problems)
    done: dict[int, list[str]] = field(default_factory=dict)
    signed: Signed | None = None
    rotations: list[KeyChange] = field(default_factory=list)
    stamps: list[Stamp] = field(default_factory=list)
    manifest: Manifest | None = None
    seen: Seen = field(default_factory=Seen)
    fields: FieldLog = field(default_factory=FieldLog)
    not_proven: list[str] = field(default_factory=list)
    # Of steps in which nothing is wrong, what they could not show although they promise it.
    but: dict[int, str] = field(default_factory=dict)
    tiles: int = 0
    streams: int = 0
    # Files that are not those of the manifest, for reasons that findings of later steps tell.
    explained: list[str] = field(default_factory=list)

    @property
    def findings(self) -> tuple[Problem, ...]:
        """All of them, by step."""
        return self.problems.in_order()

    @property
    def ok(self) -> bool:
        """Whether all that was checked holds."""
        return not self.findings and not self.problems.more

    @property
    def trusted(self) -> bool:
        """Whether a key that the auditor gave signed it, or one that rotations lead to from such a key."""
        return self.signed is not None and self.signed.trusted and self.signed.signer is not None


def audit_log(live: LiveLog, trusted: Trust, since: bytes | None) -> Audit:
    """Steps 2 to 4 for a log that is served. Raises LogUnreachable and Unusable."""
    audit = Audit()
    audit.signed = judge(live.checkpoint(), trusted, (), audit.problems)
    _tell_signed(audit, trusted, trusted)
    if audit.signed is not None and since is not None:
        log = Tiles(live, audit.signed.checkpoint)
        audit.done[4] = check_older(Older(since, trusted), audit.signed, None, log, audit.problems)
    audit.not_proven.append(
        "events were not looked at: only that the log signed what it shows, and extends what it showed"
    )
    return audit


def audit_bundle(file: BinaryIO, trusted: Trust, since: bytes | None = None, live: LiveLog | None = None) -> Audit:
    """All steps for a bundle. Raises LogUnreachable and Unusable, and OSError where the file cannot be read."""
    audit = Audit()
    try:
        _steps(audit, file, trusted, since, live)
    except BundleError as error:
        after = audit.seen.last_position
        audit.problems.add(Wrong.DAMAGED, after + 1 if after else 0, str(error))
        audit.done.setdefault(1, [])
    return audit


def _steps(audit: Audit, file: BinaryIO, trusted: Trust, since: bytes | None, live: LiveLog | None) -> None:
    problems = audit.problems
    # 1. The container; digests are known when all was read.
    files = members(file, bundle.ALLOWED)
    manifest = audit.manifest = read_manifest(files)
    _expect_files(files, manifest, problems)
    claimed = _claimed(files[bundle.KEYS])
    note = files[bundle.CHECKPOINT].read(MAX_NOTE_BYTES)
    # 2 and 3. Who signed the checkpoint, and who cosigned it. `given` are the auditor's own keys.
    given = trusted
    trusted, audit.rotations = follow(files, manifest.origin, given, problems)
    signed = audit.signed = judge(note, trusted, claimed, problems)
    audit.stamps = check_stamps(files, manifest, note, problems)
    _tell_signed(audit, trusted, given)
    if signed is None:
        return
    if manifest.origin != signed.checkpoint.origin:
        message = f"the manifest is of {manifest.origin!a}, the checkpoint of {signed.checkpoint.origin!a}"
        problems.add(Wrong.OTHER_LEDGER, 0, message)
    # 4. It extends what the auditor has, and what the log shows now extends it. Where that cannot be found out, what is
    # wrong with the bundle is told all the same.
    lacking: Exception | None = None
    try:
        older = None if since is None else Older(since, trusted, audit.rotations)
        _extend(audit, files, signed, older, live, trusted)
    except (Unusable, LogUnreachable) as error:
        lacking = error
    # 5 to 10. Tiles and events, in one pass.
    _walk(audit, files, replace(manifest, origin=signed.checkpoint.origin, checkpoint_size=signed.checkpoint.size))
    # 11. Manifest and page.
    _summaries(audit, files[bundle.PAGE], signed, note)
    # 1. Digests.
    _digests(audit, files)
    if lacking is not None and audit.ok:
        raise lacking


def _expect_files(files: dict[str, Member], manifest: Manifest, problems: Problems) -> None:
    listed, there = manifest.files.keys(), files.keys() - {bundle.MANIFEST}
    if listed != there:
        what = ", ".join(sorted(listed ^ there))
        problems.add(Wrong.FILE_MISMATCH, 0, f"in the manifest or in the file, and not in both: {ascii(what)[:300]}")


def _claimed(member: Member) -> list[VerifierKey]:
    """The keys of keys.txt, which nobody has to believe. Raises BundleError."""
    try:
        return [VerifierKey.parse(text) for text in read_keys(member.read(bundle.MAX_KEYS_BYTES), bundle.KEYS)]
    except (NoteError, Unusable) as error:
        raise BundleError(BundleFlaw.KEYS, str(error)[:200]) from None


def _tell_signed(audit: Audit, trusted: Trust, given: Trust) -> None:
    signed = audit.signed
    if signed is None:
        return
    what = f"{signed.checkpoint.origin}, size {signed.checkpoint.size}, root {signed.checkpoint.root.hex()}"
    audit.done[2] = [what, *tell_changes(audit.rotations, given.log)]
    if signed.signer and signed.trusted:
        mine = signed.signer in {key_name(key) for key in given.log}
        whose = "a key that you gave" if mine else "which the rotations lead to from a key that you gave"
        audit.done[2].append(f"signed by {signed.signer}, {whose}")
    elif signed.signer:
        audit.done[2].append(f"signed by {signed.signer}, a key that only the bundle vouches for")
    elif not trusted.log:
        audit.done[2].append("no key to check the signature with")
    audit.done[3] = [f"{len(signed.witnesses)} of the {len(trusted.witnesses)} witnesses that you gave cosigned it"]
    if signed.unknown:
        audit.done[3].append(f"signatures that nobody here can judge: {', '.join(signed.unknown)[:500]}")
    audit.done[3] += tell_stamps(audit.stamps)


def _extend(
    audit: Audit, files: dict[str, Member], signed: Signed, older: Older | None, live: LiveLog | None, trusted: Trust
) -> None:
    """Step 4, as far as it was asked for. The proof in the bundle has to be sound in form also when nobody needs it."""
    proof = None
    if bundle.CONSISTENCY in files:
        proof = files[bundle.CONSISTENCY].read(bundle.MAX_CONSISTENCY_BYTES)
    log: Tiles | None = None
    told: list[str] = []
    if live is not None:
        log, told = check_live(live, signed, trusted, audit.problems)
    if older is not None:
        told += check_older(older, signed, proof, log, audit.problems)
    if older is not None or live is not None:
        audit.done[4] = told


def _walk(audit: Audit, files: dict[str, Member], manifest: Manifest) -> None:
    assert audit.signed is not None
    problems = audit.problems
    tiles = TileReader(files, manifest.checkpoint_size, audit.signed.checkpoint.root, problems)
    complete = Completeness(manifest, problems)
    events = EventChecker(manifest, tiles, problems, complete)
    audit.seen, audit.fields = events.seen, events.fields
    events.feed(files[bundle.EVENTS].lines(bundle.MAX_LINE_BYTES))
    complete.finish()
    tiles.finish(explained=problems.any(*CONTENTS))
    audit.tiles, audit.streams = tiles.count, complete.streams
    seen = audit.seen
    places = f"positions {seen.first_position} to {seen.last_position}" if seen.count else "none"
    audit.done[5] = [f"{tiles.count} full tiles and the edge of size {manifest.checkpoint_size}"]
    audit.done[6] = [f"{seen.proven} of {seen.count} events, {places}"]
    audit.done[7] = [f"{seen.links} links between neighbours; times of {seen.proven} events"]
    audit.done[8] = [f"{seen.proven} bodies"]
    audit.done[9] = [f"{seen.opened} values open to their commitments"]
    audit.done[10] = _tell_complete(audit, manifest)


def _tell_complete(audit: Audit, manifest: Manifest) -> list[str]:
    selection = manifest.selection
    told = [f"asked for: {selection.words()[:500]}"]
    if selection.kind == "positions":
        covered = min(selection.last_position, manifest.checkpoint_size)
        told.append(f"every position from {selection.first_position} to {covered}")
    else:
        told.append(f"each version from 1 on of {audit.streams} streams")
        audit.not_proven.append("that these streams have no later event before the size of the checkpoint")
        if selection.kind == "client":
            audit.not_proven.append("that there is no other stream of this client")
            if selection.client is None:
                audit.not_proven.append("that these streams are of one client")
                audit.but[10] = "that these streams are of one client is not shown"
    if manifest.excluded:
        left_out = f"{manifest.excluded} events from position {manifest.excluded_from} on"
        told.append(f"left out, as the maker says: {left_out}, which the checkpoint does not cover")
    return told


def _summaries(audit: Audit, member: Member, signed: Signed, note: bytes) -> None:
    """Step 11. Not looked at where the contents are wrong: that the summaries differ follows."""
    manifest, seen, problems = audit.manifest, audit.seen, audit.problems
    assert manifest is not None
    shown = member.read(bundle.MAX_PAGE_BYTES)
    if problems.any(*CONTENTS, Wrong.PROOF_MISMATCH, Wrong.DAMAGED):
        return
    audit.done[11] = [
        f"{seen.count} events, {len(audit.fields.counts)} kinds of sealed fields, {len(seen.rows)} rows of the page"
    ]
    counted = f"{manifest.count} events up to position {manifest.last_position}"
    message = f"the manifest counts {counted}, and here are {seen.count}"
    if seen.count < manifest.count:
        last = max(manifest.last_position, seen.last_position + 1)
        problems.add(Wrong.TRUNCATED, seen.last_position + 1, message, last)
    elif seen.count > manifest.count:
        problems.add(Wrong.INSERTED, seen.last_position, message)
    elif (
        (seen.first_position, seen.last_position) != (manifest.first_position, manifest.last_position)
        or manifest.checkpoint_size != signed.checkpoint.size
        or manifest.fields != audit.fields.counts
    ):
        problems.add(Wrong.SUMMARY_MISMATCH, 0, "the manifest says otherwise than events and checkpoint")
    elif page(manifest, note.decode("utf-8", "replace"), seen.rows) != shown:
        problems.add(Wrong.SUMMARY_MISMATCH, 0, f"{bundle.PAGE} is not the page that this program makes of the events")


def _digests(audit: Audit, files: dict[str, Member]) -> None:
    """Step 1, the rest. A file whose contents another finding explains is not named again."""
    manifest, problems = audit.manifest, audit.problems
    assert manifest is not None
    for name, member in files.items():
        if member.digest is None:  # a level that no event needed, which is a finding already
            continue
        if name == bundle.MANIFEST:
            if not member.intact:
                problems.add(Wrong.FILE_MISMATCH, 0, "manifest.json was changed after the bundle was made")
        elif (member.size, member.digest) == manifest.files.get(name):
            continue
        elif problems.any(*_EXPLAINED_BY.get(name, frozenset())):
            audit.explained.append(name)
        else:
            problems.add(Wrong.FILE_MISMATCH, 0, f"{name} is not the file of the manifest")
    names: Sequence[str] = sorted(files)
    audit.done[1] = [f"{len(names)} files, {sum(member.size for member in files.values())} bytes"]
    if audit.explained:
        audit.done[1].append(f"not the file of the manifest: {', '.join(sorted(audit.explained))}")

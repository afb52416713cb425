"""Check the contents of a bundle: steps 1 and 5 to 11 of docs/formats/bundle.md, section 7."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ledger.proof.auditor.rotations_and_timestamps import KeyChange, Timestamp
from ledger.proof.bundle import manifest as names
from ledger.proof.bundle.complete import Completeness
from ledger.proof.bundle.events import EventChecker, SealedFields, Seen
from ledger.proof.bundle.heads import check_heads, key_of, parse_heads
from ledger.proof.bundle.manifest import Bundle, Manifest
from ledger.proof.bundle.page import page, time_text
from ledger.proof.bundle.shown_end import Needed, ShownEnd, StreamEnds
from ledger.proof.bundle.tiles import TileReader
from ledger.proof.bundle.zip import BundleError, BundleFlaw
from ledger.proof.findings import BUNDLE, CONTENTS, Finding, Findings, Kind
from ledger.proof.tlog.trust import Signed

# The findings that explain why a file is not the one of the manifest.
_EXPLAINED_BY: dict[str, frozenset[Kind]] = {
    names.EVENTS: CONTENTS,
    names.CHECKPOINT: frozenset((Kind.BAD_SIGNATURE, Kind.UNTRUSTED_KEY, Kind.OTHER_LEDGER, Kind.PROOF_MISMATCH)),
    names.EDGE: frozenset((Kind.PROOF_MISMATCH,)),
    names.CONSISTENCY: frozenset((Kind.FORKED,)),
    names.ROTATIONS: frozenset((Kind.BAD_ROTATION,)),
    names.HEADS: frozenset((Kind.HEADS_MISMATCH,)),
    names.PAGE: frozenset((Kind.SUMMARY_MISMATCH,)),
    **dict.fromkeys(names.STAMPS, frozenset((Kind.BAD_TIMESTAMP,))),
    **{names.tiles_name(level): frozenset((Kind.PROOF_MISMATCH,)) for level in range(names.LEVELS)},
}


def _bundle_findings() -> Findings:
    return Findings(BUNDLE)


@dataclass
class Audit:
    """The result. `done` describes what each step examined, for the steps that were reached."""

    collected: Findings = field(default_factory=_bundle_findings)
    done: dict[int, list[str]] = field(default_factory=dict)
    signed: Signed | None = None
    rotations: list[KeyChange] = field(default_factory=list)
    timestamps: list[Timestamp] = field(default_factory=list)
    manifest: Manifest | None = None
    seen: Seen = field(default_factory=Seen)
    fields: SealedFields = field(default_factory=SealedFields)
    not_proven: list[str] = field(default_factory=list)
    # By step: a part of its promise that could not be shown, although nothing is wrong.
    but: dict[int, str] = field(default_factory=dict)
    # True if the bundle has all that was selected and the checkpoint covers, false if it does not, None if it cannot
    # show it; and up to where it is shown that nothing is missing, None if nowhere.
    complete: bool | None = None
    complete_to: ShownEnd | None = None
    # Where the streams ended, as the ledger recorded it, if the bundle shows that.
    ends: StreamEnds | None = None
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


def expect_files(bundle: Bundle, findings: Findings) -> None:
    """Step 1: the manifest lists exactly the files that are there."""
    listed, present = bundle.manifest.files.keys(), bundle.files.keys() - {names.MANIFEST}
    if listed != present:
        differing = ascii(", ".join(sorted(listed ^ present)))[:300]
        findings.add(Kind.FILE_MISMATCH, 0, f"in the manifest or in the file, and not in both: {differing}")


def check_events(audit: Audit, bundle: Bundle, signed: Signed) -> None:
    """Steps 5 to 10. Origin and size are those of the checkpoint, whatever the manifest says."""
    findings, size = audit.collected, signed.checkpoint.size
    manifest = replace(bundle.manifest, origin=signed.checkpoint.origin, checkpoint_size=size)
    tiles = TileReader(bundle, size, signed.checkpoint.root, findings)
    audit.ends = _stream_ends(bundle, signed, findings)
    complete = Completeness(manifest, findings, audit.ends)
    events = EventChecker(manifest, tiles, findings, complete)
    seen, fields = events.seen, events.fields
    audit.seen, audit.fields = seen, fields
    events.feed(bundle.files[names.EVENTS].lines(names.MAX_LINE_BYTES))
    complete.finish()
    audit.complete_to = ShownEnd(seen.last_position, seen.last_recorded_at_us) if complete.of_range else complete.shown
    tiles.finish(explained=findings.any(*CONTENTS))
    audit.tiles, audit.streams = tiles.count, complete.streams
    places = f"positions {seen.first_position} to {seen.last_position}" if seen.count else "none"
    audit.done[5] = [f"{tiles.count} full tiles and the edge of size {size}"]
    audit.done[6] = [f"{seen.proven} of {seen.count} events, {places}"]
    audit.done[7] = [f"{seen.links} links between neighbours; times of {seen.proven} events"]
    audit.done[8] = [f"{seen.proven} bodies"]
    audit.done[9] = [f"{fields.opened} values open to their commitments"]
    audit.done[10] = _describe_selection(audit, manifest)


def _stream_ends(bundle: Bundle, signed: Signed, findings: Findings) -> StreamEnds | None:
    """Step 10: where the streams of the selection ended, if the bundle shows it. Raises BundleError."""
    if bundle.heads is None:
        return None
    key = key_of(bundle.manifest.selection)
    if key is None:
        raise BundleError(BundleFlaw.HEADS, "one for a selection that has no leaf")
    return check_heads(parse_heads(bundle.heads), key, signed.checkpoint.size, signed.checkpoint.root, findings)


def _describe_selection(audit: Audit, manifest: Manifest) -> list[str]:
    selection = manifest.selection
    about = [f"asked for: {selection.words()[:500]}"]
    if selection.kind == "positions":
        covered = min(selection.last_position, manifest.checkpoint_size)
        about.append(f"every position from {selection.first_position} to {covered}")
    else:
        about.append(f"each version from 1 on of {audit.streams} streams")
        about += _describe_ends(audit, manifest)
    if manifest.excluded:
        left_out = f"{manifest.excluded} events from position {manifest.excluded_from} on"
        about.append(f"left out, as the maker says: {left_out}, which the checkpoint does not cover")
    return about


def _describe_ends(audit: Audit, manifest: Manifest) -> list[str]:
    """Say up to where the streams are shown to have no other event, and what is not shown."""
    ends, of_client = audit.ends, manifest.selection.kind == "client"
    if ends is None:
        audit.but[10] = "where these streams end is not shown"
        audit.not_proven.append("that these streams have no later event before the size of the checkpoint")
        if of_client:
            audit.not_proven.append("that there is no other stream of this client")
        if of_client and manifest.selection.client is None:
            audit.not_proven.append("that these streams are of one client")
            audit.but[10] = "neither where these streams end nor that they are of one client is shown"
        return []
    end, size = audit.complete_to.position if audit.complete_to else ends.as_of, manifest.checkpoint_size
    if end < size:
        audit.but[10] = f"where these streams end is shown up to position {end} alone, of {size}"
        beyond = f"between position {end} and the size of the checkpoint, {size}"
        audit.not_proven.append(f"that these streams have no other event {beyond}")
        if of_client:
            audit.not_proven.append(f"that no other stream of this client began {beyond}")
    audit.not_proven.append("that the ledger recorded the truth about that; a false record is in the log for good")
    streams = "these streams have no other event, and the client no other stream" if of_client else "no other event"
    at = f"{time_text(ends.recorded_at_us)} UTC by the ledger's clock"
    return [
        f"{streams}, up to position {end}",
        f"up to position {ends.as_of} the ledger recorded so in the event at position {ends.event_position}, at {at}",
    ]


def check_complete(audit: Audit, bundle: Bundle, needed: Needed | None) -> None:
    """Step 10, the rest: how far the bundle is shown to be complete. It is a finding if `needed` is further."""
    manifest, findings = bundle.manifest, audit.collected
    wrong = findings.any(*CONTENTS, Kind.HEADS_MISMATCH, Kind.PROOF_MISMATCH, Kind.DAMAGED) or bool(findings.more)
    if wrong:
        audit.complete_to = None
    if wrong or manifest.excluded:
        audit.complete = False
    elif audit.complete_to is not None and 10 not in audit.but:
        audit.complete = True
    if needed is None or wrong or needed.met(audit.complete, audit.complete_to):
        return
    if manifest.excluded and needed == Needed():
        missing = "events that the checkpoint does not cover were left out"
    else:
        missing = audit.but.get(10, "it ends before what you need")
    findings.add(Kind.NOT_SHOWN, 0, f"it is not shown that the bundle is complete{needed.words()}: {missing}")


def check_summary(audit: Audit, bundle: Bundle, signed: Signed) -> None:
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


def check_digests(audit: Audit, bundle: Bundle) -> None:
    """Step 1, the rest. A file whose contents another finding explains is not named again."""
    manifest, findings = bundle.manifest, audit.collected
    for name, member in bundle.files.items():
        if member.digest is None:  # a level that no event needed, which is a finding already
            continue
        if name == names.MANIFEST:
            if not member.intact:
                findings.add(Kind.FILE_MISMATCH, 0, "manifest.json was changed after the bundle was made")
        elif (member.size, member.digest) == manifest.files.get(name):
            if not member.intact:
                message = f"{name} is the file of the manifest, but has another checksum (CRC-32) in the ZIP file"
                findings.add(Kind.FILE_MISMATCH, 0, message)
        elif findings.any(*_EXPLAINED_BY.get(name, frozenset())):
            audit.explained.append(name)
        else:
            findings.add(Kind.FILE_MISMATCH, 0, f"{name} is not the file of the manifest")
    total = sum(member.size for member in bundle.files.values())
    audit.done[1] = [f"{len(bundle.files)} files, {total} bytes"]
    if audit.explained:
        audit.done[1].append(f"not the file of the manifest: {', '.join(sorted(audit.explained))}")

"""Check the contents of a bundle: steps 5 to 13 of docs/formats/bundle.md, section 7."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ledger.proof.acts.checker import ActsReport, KeyEvent
from ledger.proof.auditor.rotations_and_timestamps import KeyChange, Timestamp
from ledger.proof.bundle import manifest as names
from ledger.proof.bundle.attestations import (
    MAX_LINE_BYTES,
    NO_LATER_KEY,
    NOT_PROVEN,
    NOT_SHOWN,
    RecordedBy,
    ShownAttestations,
)
from ledger.proof.bundle.complete import Completeness
from ledger.proof.bundle.erased import ErasedValues
from ledger.proof.bundle.events import EventChecker, SealedFields, Seen
from ledger.proof.bundle.heads import check_heads, key_of, other_keys_of, parse_heads
from ledger.proof.bundle.manifest import Bundle, Manifest
from ledger.proof.bundle.page import page
from ledger.proof.bundle.proven_events import check_recording_keys, check_signing_keys, parse_proven
from ledger.proof.bundle.shown_end import Needed, ShownEnd, StreamEnds
from ledger.proof.bundle.tiles import TileReader
from ledger.proof.bundle.window import Within
from ledger.proof.bundle.zip import BundleError, BundleFlaw
from ledger.proof.casefile.compare import first_difference
from ledger.proof.casefile.moments import time_text
from ledger.proof.findings import BUNDLE, CONTENTS, Finding, Findings, Kind
from ledger.proof.tlog.trust import Signed


@dataclass
class Audit:
    """Collect the result of an audit. `done` describes what each step examined, for the steps that were reached."""

    collected: Findings = field(default_factory=lambda: Findings(BUNDLE))
    done: dict[int, list[str]] = field(default_factory=dict)
    signed: Signed | None = None
    rotations: list[KeyChange] = field(default_factory=list)
    timestamps: list[Timestamp] = field(default_factory=list)
    manifest: Manifest | None = None
    seen: Seen = field(default_factory=Seen)
    fields: SealedFields = field(default_factory=SealedFields)
    erased: ErasedValues = field(default_factory=ErasedValues)
    acts: ActsReport = field(default_factory=ActsReport)
    recorded_by: RecordedBy = field(default_factory=RecordedBy)
    not_proven: list[str] = field(default_factory=list)
    # By step: a part of its promise that was not shown, although nothing is wrong.
    but: dict[int, str] = field(default_factory=dict)
    # True if the bundle has everything that was selected and that the checkpoint covers, False if not, None if
    # unknown; and the position up to which nothing is shown to be missing, None without one.
    complete: bool | None = None
    complete_to: ShownEnd | None = None
    # The ends of the streams as the ledger recorded them, if the bundle has this record.
    ends: StreamEnds | None = None
    tiles: int = 0
    streams: int = 0
    # The events within the window of time, if there is one.
    within: Within = field(default_factory=Within)
    # The PDF file from which the bundle was taken, if any.
    of_pdf: str = ""
    # Files whose digest differs from the manifest's because of other findings, which explain it.
    explained: list[str] = field(default_factory=list)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return all findings, by step."""
        return self.collected.in_order()

    @property
    def ok(self) -> bool:
        """Return True if everything that was checked holds."""
        return not self.findings and not self.collected.more

    @property
    def trusted(self) -> bool:
        """Return True if a key of the auditor signed the checkpoint, or a key that rotations lead to from one."""
        return self.signed is not None and self.signed.trusted and self.signed.signer is not None


def check_events(audit: Audit, bundle: Bundle, signed: Signed, attested_from: int | None = None) -> None:
    """Steps 5 to 10, 12 and 13. Origin and size are those of the checkpoint, whatever the manifest says.

    From position `attested_from` on, each event must be attested.
    """
    findings, size = audit.collected, signed.checkpoint.size
    manifest = replace(bundle.manifest, origin=signed.checkpoint.origin, checkpoint_size=size)
    tiles = TileReader(bundle, size, signed.checkpoint.root, findings)
    audit.ends = _stream_ends(bundle, signed, findings)
    complete = Completeness(manifest, findings, audit.ends)
    attestations = _attestations(bundle, signed, findings, attested_from)
    events = EventChecker(manifest, tiles, findings, complete, attestations, _key_events(bundle, signed, findings))
    seen, fields = events.seen, events.fields
    audit.seen, audit.fields, audit.erased = seen, fields, events.erased
    events.feed(bundle.files[names.EVENTS].lines(names.MAX_LINE_BYTES))
    attestations.finish()
    complete.finish()
    audit.complete_to = ShownEnd(seen.last_position, seen.last_recorded_at_us) if complete.of_range else complete.shown
    tiles.finish(explained=findings.any(*CONTENTS))
    audit.tiles, audit.streams, audit.within = tiles.count, complete.streams, complete.within
    places = f"positions {seen.first_position} to {seen.last_position}" if seen.count else "none"
    audit.done[5] = [f"{tiles.count} full tiles and the edge of size {size}"]
    audit.done[6] = [f"{seen.proven} of {seen.count} events, {places}"]
    audit.done[7] = [f"{seen.links} links between neighbours; times of {seen.proven} events"]
    audit.done[8] = [f"{seen.proven} bodies"]
    audit.done[9] = [f"{fields.opened} values open to their commitments"]
    audit.done[10] = _describe_selection(audit, manifest)
    _describe_acts(audit, events.acts.report)
    _describe_recorded(audit, attestations.report, manifest)
    if bundle.signing_keys is not None:
        audit.not_proven.append("that no revocation of a signing key was left out: a bundle of positions shows that")


def _key_events(bundle: Bundle, signed: Signed, findings: Findings) -> list[KeyEvent]:
    """Step 12: the events of signing keys beside the selected events. Raises BundleError."""
    if bundle.signing_keys is None:
        return []
    found = parse_proven(bundle.signing_keys, BundleFlaw.SIGNING_KEYS)
    return check_signing_keys(found, signed.checkpoint.size, signed.checkpoint.root, findings)


def _attestations(bundle: Bundle, signed: Signed, findings: Findings, needed_from: int | None) -> ShownAttestations:
    """Step 13: the attestations, and the registrations of keys that the log has. Raises BundleError."""
    keys, member = bundle.recording_keys, bundle.files.get(names.ATTESTATIONS)
    if (keys is None) != (member is None):
        raise BundleError(BundleFlaw.MISSING_FILE, f"one of {names.RECORDING_KEYS} and {names.ATTESTATIONS}")
    checkpoint = signed.checkpoint
    registrations = [] if keys is None else parse_proven(keys, BundleFlaw.RECORDING_KEYS)
    proven = check_recording_keys(registrations, checkpoint.size, checkpoint.root, findings)
    lines = () if member is None else member.lines(MAX_LINE_BYTES)
    return ShownAttestations(checkpoint.origin, proven, lines, findings, needed_from)


def _describe_recorded(audit: Audit, recorded: RecordedBy, manifest: Manifest) -> None:
    """Step 13: report how many events each recording key attests, or that the bundle does not show it."""
    audit.recorded_by = recorded
    if not recorded.shown:
        audit.not_proven.append(NOT_SHOWN)
        return
    audit.done[13] = [f"{recorded.attested} attested events", *recorded.lines()]
    audit.not_proven.append(NOT_PROVEN)
    if manifest.selection.kind != "positions" or manifest.selection.first_position > 1:
        audit.not_proven.append(NO_LATER_KEY)


def _describe_acts(audit: Audit, acts: ActsReport) -> None:
    """Step 12: report the acts that each key signed, and the acts that rest on the server's word."""
    audit.acts = acts
    audit.done[12] = [f"{acts.signed} signed acts, {acts.unsigned} that nobody signed", *acts.lines()]
    audit.not_proven += acts.not_proven
    if acts.unchecked:
        audit.but[12] = f"{acts.unchecked} signed acts are not checked, as the bundle does not register their keys"
        audit.not_proven.append("that the signatures which were not checked verify: a bundle of positions shows that")


def _stream_ends(bundle: Bundle, signed: Signed, findings: Findings) -> StreamEnds | None:
    """Step 10: return the recorded ends of the selection's streams, if the bundle has them. Raises BundleError."""
    if bundle.heads is None:
        return None
    key = key_of(bundle.manifest.selection)
    if key is None:
        raise BundleError(BundleFlaw.HEADS, "one for a selection that has no leaf")
    keys, checkpoint = [key, *other_keys_of(bundle.manifest.selection)], signed.checkpoint
    return check_heads(parse_heads(bundle.heads), keys, checkpoint.size, checkpoint.root, findings)


def _describe_selection(audit: Audit, manifest: Manifest) -> list[str]:
    selection = manifest.selection
    about = [f"asked for: {selection.words()[:500]}"]
    if selection.kind == "positions":
        covered = min(selection.last_position, manifest.checkpoint_size)
        about.append(f"every position from {selection.first_position} to {covered}")
    else:
        about.append(f"each version from 1 on of {audit.streams} streams")
        if selection.until_us:
            about.append(f"{audit.within.count} events of the client took place in the window, by their own times")
        about += _describe_ends(audit, manifest)
    if manifest.excluded:
        left_out = f"{manifest.excluded} events from position {manifest.excluded_from} on"
        about.append(f"left out, as the maker says: {left_out}, which the checkpoint does not cover")
    return about


def _describe_ends(audit: Audit, manifest: Manifest) -> list[str]:
    """Return how far the streams are shown to have no other event, and what is not shown."""
    ends, of_client = audit.ends, manifest.selection.kind == "client"
    if of_client and manifest.selection.client is not None:
        audit.not_proven.append("that the client has no other identifier")
    if manifest.selection.also and manifest.selection.until_us:
        audit.not_proven.append("that these identifiers are of one client: a bundle of the whole client shows that")
    if ends is None:
        audit.but[10] = "where these streams end is not shown"
        until = "the end of the window" if manifest.selection.until_us else "the size of the checkpoint"
        if manifest.selection.kind == "search":
            audit.not_proven.append("that the search found these streams, or that they refer to them, and no others")
        audit.not_proven.append(f"that these streams have no later event before {until}")
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
    """Step 10, the rest: find how far the bundle is shown to be complete. It is a finding if `needed` is further."""
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
    """Step 11: compare the summaries, unless the contents are wrong: then the summaries differ as a consequence."""
    manifest, seen, findings, fields = bundle.manifest, audit.seen, audit.collected, audit.fields
    if findings.any(*CONTENTS, Kind.PROOF_MISMATCH, Kind.DAMAGED):
        return
    shown = f"{names.PAGE} shows {len(seen.collected.lines)} of them"
    audit.done[11] = [f"{seen.count} events, {len(fields.counts)} kinds of sealed fields; {shown}"]
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
        or manifest.within != audit.within
    ):
        findings.add(Kind.SUMMARY_MISMATCH, 0, "the manifest does not agree with the events and the checkpoint")
    else:
        _check_page(bundle, seen, findings)


def _check_page(bundle: Bundle, seen: Seen, findings: Findings) -> None:
    made = page(bundle.manifest, bundle.checkpoint, seen.collected)
    differs = first_difference(made, bundle.files[names.PAGE].chunks())
    if differs is not None:
        message = f"{names.PAGE} is not the page that this program makes of the events: byte {differs} differs"
        findings.add(Kind.SUMMARY_MISMATCH, 0, message)

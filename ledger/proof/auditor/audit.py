"""Audit a bundle or a served log in the numbered steps of docs/formats/bundle.md, section 7.

No step believes the bundle's maker. Each fault becomes a finding; a step that was not reached says so.
"""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from typing import BinaryIO

from ledger.proof.auditor.contents import Audit, check_complete, check_events, check_summary
from ledger.proof.auditor.extension import Older, Tiles, check_extension, check_older, decode_consistency
from ledger.proof.auditor.files import check_digests, expect_files
from ledger.proof.auditor.rotations_and_timestamps import (
    check_timestamps,
    describe_changes,
    describe_timestamps,
    follow_rotations,
)
from ledger.proof.bundle.manifest import Bundle, read_bundle
from ledger.proof.bundle.pdf import attached, is_pdf
from ledger.proof.bundle.shown_end import Needed
from ledger.proof.bundle.zip import BundleError, BundleFlaw
from ledger.proof.findings import Kind
from ledger.proof.tlog.http_log import LiveLog, LogUnreachable
from ledger.proof.tlog.key_rotation import key_name
from ledger.proof.tlog.trust import Trust, Unusable, judge

# Flaws of lines in events.ndjson. They are behind the last event that was read.
OF_LINES = frozenset((BundleFlaw.LINE, BundleFlaw.STREAMS))


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


def audit_bundle(
    file: BinaryIO,
    trusted: Trust,
    since: bytes | None = None,
    live: LiveLog | None = None,
    needed: Needed | None = None,
    attested_from: int | None = None,
) -> Audit:
    """Check a bundle: all steps. A bundle that is not shown to be complete as far as `needed` is a finding.

    Each event at `attested_from` or later that no registered recording key attests is a finding, too.

    Raises LogUnreachable and Unusable, and OSError if the file cannot be read.
    """
    audit = Audit()
    try:
        if is_pdf(file):
            file = _take_out(file, audit)
        bundle = read_bundle(file)
        _steps(audit, bundle, trusted, since, live, needed, attested_from)
    except BundleError as error:
        # A fault in another member says nothing about the event that was read last.
        position = audit.seen.last_position if error.flaw in OF_LINES else 0
        audit.collected.add(Kind.DAMAGED, position, str(error))
        audit.done.setdefault(1, [])
    return audit


def _take_out(file: BinaryIO, audit: Audit) -> BinaryIO:
    """Return the bundle attached to a PDF file, and report that its pages are not checked. Raises BundleError."""
    data = attached(file)
    audit.of_pdf = f"attached to a PDF file: {len(data)} bytes, SHA-256 {sha256(data).hexdigest()}"
    audit.not_proven.append(
        "that the pages of the PDF file say what its bundle says: advice-ledger case-file --check makes them again"
    )
    return BytesIO(data)


def _steps(
    audit: Audit,
    bundle: Bundle,
    given: Trust,
    since: bytes | None,
    live: LiveLog | None,
    needed: Needed | None,
    attested_from: int | None,
) -> None:
    """Run steps 1 to 11 for a bundle whose container is sound. `given` are the auditor's own keys."""
    findings, manifest = audit.collected, bundle.manifest
    audit.manifest = manifest
    expect_files(bundle, findings)
    # 2 and 3. The signer of the checkpoint, and the witnesses that cosigned it.
    trusted, audit.rotations = follow_rotations(bundle.rotations, manifest.origin, given, findings)
    signed = audit.signed = judge(bundle.checkpoint, trusted, bundle.keys, findings)
    audit.timestamps = check_timestamps(bundle, findings)
    _describe_signed(audit, trusted, given)
    if signed is None:
        return
    if manifest.origin != signed.checkpoint.origin:
        message = f"the manifest is of {manifest.origin!a}, the checkpoint of {signed.checkpoint.origin!a}"
        findings.add(Kind.OTHER_LEDGER, 0, message)
    # 4. The checkpoint extends the auditor's, and the transparency log extends it. If that is unknown, the
    # audit goes on: faults of the bundle are reported first.
    lacking: Exception | None = None
    try:
        older = None if since is None else Older(since, trusted, audit.rotations)
        proof = None if bundle.consistency is None else decode_consistency(bundle.consistency)
        about = check_extension(signed, proof, older, live, trusted, findings)
        if about is not None:
            audit.done[4] = about
    except (Unusable, LogUnreachable) as error:
        lacking = error
    # 5 to 10. Tiles and events, in one pass.
    check_events(audit, bundle, signed, attested_from)
    check_complete(audit, bundle, needed)
    # 11. Manifest and page.
    check_summary(audit, bundle, signed)
    # 1. The digests, which are known after everything was read.
    check_digests(audit, bundle)
    audit.done[1] += [audit.of_pdf] if audit.of_pdf else []
    if lacking is not None and audit.ok:
        raise lacking


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
        about.append(f"signed by {signed.signer}, a key that only the bundle names")
    elif not trusted.log:
        about.append("no key to check the signature with")
    audit.done[2] = about
    audit.done[3] = [f"{len(signed.witnesses)} of the {len(trusted.witnesses)} witnesses that you gave cosigned it"]
    if signed.unknown:
        audit.done[3].append(f"signatures by unknown keys: {', '.join(signed.unknown)[:500]}")
    audit.done[3] += describe_timestamps(audit.timestamps)

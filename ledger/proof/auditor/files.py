"""Check the files of a bundle: step 1 of docs/formats/bundle.md, section 7."""

from __future__ import annotations

from collections import deque

from ledger.proof.auditor.contents import Audit
from ledger.proof.bundle import manifest as names
from ledger.proof.bundle.manifest import Bundle
from ledger.proof.findings import CONTENTS, OF_RECORDING, Findings, Kind

# The findings that explain why a file differs from the manifest.
_EXPLAINED_BY: dict[str, frozenset[Kind]] = {
    names.EVENTS: CONTENTS,
    names.CHECKPOINT: frozenset((Kind.BAD_SIGNATURE, Kind.UNTRUSTED_KEY, Kind.OTHER_LEDGER, Kind.PROOF_MISMATCH)),
    names.EDGE: frozenset((Kind.PROOF_MISMATCH,)),
    names.CONSISTENCY: frozenset((Kind.FORKED,)),
    names.ROTATIONS: frozenset((Kind.BAD_ROTATION,)),
    names.HEADS: frozenset((Kind.HEADS_MISMATCH,)),
    names.SIGNING_KEYS: frozenset((Kind.SIGNATURE_KEY,)),
    names.RECORDING_KEYS: frozenset(OF_RECORDING),
    names.ATTESTATIONS: frozenset(OF_RECORDING),
    names.PAGE: frozenset((Kind.SUMMARY_MISMATCH,)),
    **dict.fromkeys(names.STAMPS, frozenset((Kind.BAD_TIMESTAMP,))),
    **{names.tiles_name(level): frozenset((Kind.PROOF_MISMATCH,)) for level in range(names.LEVELS)},
}


def expect_files(bundle: Bundle, findings: Findings) -> None:
    """Step 1: check that the manifest lists exactly the files that exist."""
    listed, present = bundle.manifest.files.keys(), bundle.files.keys() - {names.MANIFEST}
    if listed != present:
        differing = ascii(", ".join(sorted(listed ^ present)))[:300]
        findings.add(Kind.FILE_MISMATCH, 0, f"in the manifest or in the file, and not in both: {differing}")


def check_digests(audit: Audit, bundle: Bundle) -> None:
    """Step 1, the rest: compare digests. A file whose contents another finding explains is not named again."""
    manifest, findings = bundle.manifest, audit.collected
    for name, member in bundle.files.items():
        if name == names.PAGE and member.digest is None:
            deque(member.chunks(), maxlen=0)
        # Another finding names it: a level that no event needed, or a file that the manifest does not list.
        if member.digest is None or (name not in manifest.files and name != names.MANIFEST):
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

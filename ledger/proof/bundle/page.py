"""Compose the case file of a bundle, a text for people: docs/formats/bundle.md, section 6.

The exporter, the auditor's program and the maker of the PDF call the same function. The auditor's program makes
the page again and compares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256

from ledger.proof.bundle.manifest import STATES, Counts, Manifest, as_signed, stamp_command, stamp_name
from ledger.proof.bundle.window import is_within
from ledger.proof.casefile.case import SUMMARY, Annex, anchor_of, case_blocks, case_row, steps_table
from ledger.proof.casefile.collected import MOST_BYTES, MOST_EVENTS, MOST_PARTS, Collected
from ledger.proof.casefile.document import Blocks, Facts, Heading, Paragraph, Table, Verbatim
from ledger.proof.casefile.html import html
from ledger.proof.casefile.moments import time_text
from ledger.proof.casefile.steps import Step
from ledger.proof.casefile.words import who
from ledger.proof.findings import BUNDLE
from ledger.proof.tlog.note import KEY_TYPES, NoteError, parse

_ABOUT = (
    "This text proves nothing by itself. It stands in an evidence bundle, one file with the recorded events and their "
    "proof. The program advice-ledger-verify checks that file without the ledger, makes this text again from the "
    "events, and compares: a changed text is refused."
)
_NOT_SHOWN = (
    "The order of the pages is that of the first event of each case. Times are those at which acts took place, which "
    "of an imported event is what its importer says; it then also says when it was recorded here. Each event is here "
    "with all members that are disclosed; long texts stand in the annex, and a content that stands above in a case is "
    "not written again. Characters that are not seen are written as their code points, such as [U+200B]."
)


def title_of(manifest: Manifest) -> str:
    """Return the title of the case file."""
    return f"Case file: {manifest.selection.words()}"


def page(manifest: Manifest, note: bytes, collected: Collected) -> Iterator[bytes]:
    """Yield the member case.html in pieces."""
    return html(title_of(manifest), case_file(manifest, note, collected))


def case_file(manifest: Manifest, note: bytes, collected: Collected) -> Blocks:
    """Yield the parts of the case file, from the manifest without its files, the checkpoint and the events."""
    clock = manifest.local_time
    cases, others = collected.cases(partial(is_within, manifest.selection))
    yield Heading(1, title_of(manifest))
    yield Paragraph(_ABOUT, note=True)
    yield Facts(tuple(_facts(manifest, collected)))
    if not collected.whole:
        yield Paragraph(
            f"These are more than {MOST_EVENTS} events, {MOST_BYTES} bytes, or {MOST_PARTS} lists and objects: the "
            "events themselves are in events.ndjson alone. A bundle of one request, or of a shorter range, has them "
            "here.",
            note=True,
        )
    if cases:
        yield Heading(2, "Summary")
        rows = tuple(case_row(number, steps, clock) for number, steps in cases.items())
        yield Table(SUMMARY, rows, tuple(map(anchor_of, cases)))
    yield from _people([step for steps in (*cases.values(), others) for step in steps])
    yield from _fields(manifest.fields)
    annex = Annex()
    for number, steps in cases.items():
        yield from case_blocks(number, steps, clock, annex)
    if others:
        yield Heading(2, "Events of no case", new_page=True)
        yield steps_table(others, clock, annex)
    yield from _proof(manifest, note)
    if annex.blocks:
        yield Heading(2, "Annex: long texts, such as what a model was sent", new_page=True)
        yield from annex.blocks


def _facts(manifest: Manifest, collected: Collected) -> Iterator[tuple[str, str]]:
    clock = manifest.local_time
    yield "ledger", manifest.origin
    yield "asked for", manifest.selection.words()
    yield "made at", f"{clock.text(manifest.created_at_us)}\nby the clock of the maker"
    yield "events", f"{manifest.count}, at positions {manifest.first_position} to {manifest.last_position}"
    if collected.count:
        yield "first recorded", clock.text(collected.first_us)
        yield "last recorded", clock.text(collected.last_us)
    if manifest.selection.until_us and (within := manifest.within).count:
        between = " and ".join(map(time_text, (within.recorded_from_us, within.recorded_to_us)))
        yield "in the window", f"{within.count} events of the client, marked below; recorded between {between} UTC"
    if clock.offsets:
        yield "local time", f"{clock.zone}, with the offset from UTC; below each local time is the same in UTC"
    yield "checkpoint", f"covers positions 1 to {manifest.checkpoint_size}"
    if manifest.excluded:
        left_out = f"{manifest.excluded} events from position {manifest.excluded_from} on"
        yield "left out", f"{left_out}, which the checkpoint does not cover"


def _people(steps: list[Step]) -> Blocks:
    """Yield the actors, their roles, and the number of their acts."""
    counts: dict[str, int] = {}
    for step in steps:
        name = who(step.actor)
        counts[name] = counts.get(name, 0) + 1
    if counts:
        yield Heading(2, "Who acted")
        yield Table(("Who, in which role", "Events"), tuple((name, str(count)) for name, count in counts.items()))


def _fields(fields: Mapping[str, Counts]) -> Blocks:
    if not fields:
        return
    yield Heading(2, "Personal fields: shown, withheld, erased")
    rows = tuple((name, *(str(fields[name][state]) for state in STATES)) for name in sorted(fields))
    yield Table(("Field", *STATES), rows)
    yield Paragraph(
        "Withheld: the maker of this file has the value and left it out. Erased: the ledger deleted the value, and "
        "only its commitment is left. Nobody but the maker can tell one from the other."
    )


def _proof(manifest: Manifest, note: bytes) -> Blocks:
    yield Heading(2, "Proof", new_page=True)
    yield Paragraph(_NOT_SHOWN)
    yield Paragraph("The checkpoint states the root of all events up to its size. These keys signed it, by its text:")
    yield Table(("Key", "Kind"), tuple(_signers(note)))
    yield Paragraph(
        "Nothing here shows that the signatures are good, or whose keys these are. advice-ledger-verify shows it, with "
        "the key that the reader has from elsewhere: advice-ledger-verify case.zip --key KEY. It checks:"
    )
    yield Table(("Step", "What is checked"), tuple((str(step), promise) for step, promise in BUNDLE.steps.items()))
    yield Verbatim(note.decode("utf-8", "replace"))
    if manifest.timestamps:
        digest = sha256(as_signed(note)).hexdigest()
        yield Heading(3, "Timestamps")
        yield Paragraph(
            "RFC 3161 tokens over the checkpoint as the log signed it. advice-ledger-verify does not verify them. This "
            "does, with the authority's certificates in authority.pem:"
        )
        stamps = enumerate(manifest.timestamps, 1)
        rows = tuple((authority, stamp_command(stamp_name(number), digest)) for number, authority in stamps)
        yield Table(("Authority", "Check"), rows)


def _signers(note: bytes) -> Iterator[tuple[str, str]]:
    try:
        signatures = parse(note).signatures
    except NoteError:
        return
    for signature in signatures:
        kind = {64: KEY_TYPES[1], 72: KEY_TYPES[4]}.get(len(signature.blob), "a key of another kind")
        yield f"{signature.name}+{signature.key_id:08x}", kind

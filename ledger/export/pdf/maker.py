"""Make the case file of a bundle as PDF/A-3, with the bundle attached: docs/formats/bundle.md, section 14.

The bytes follow from the bundle, the fonts and the version of typst alone. typst refuses a character that no font
shows: such a character is written as its code point, and a note says so.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import typst

from ledger.proof.bundle.events import parse_line
from ledger.proof.bundle.manifest import EVENTS, MAX_LINE_BYTES, read_bundle
from ledger.proof.bundle.page import case_file, title_of
from ledger.proof.casefile.collected import Collected
from ledger.proof.casefile.document import visible

TEMPLATE = (Path(__file__).parent / "case_file.typ").read_bytes()
STANDARD: Final = "a-3a"
# How often a document is tried again because a font lacks a character where it stands in another one.
TRIES = 4
MOST_LISTED = 200
_LATEST_S = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())
_REFUSED = re.compile(r"(?:the text|contains the codepoint) `\"((?:[^\"\\]|\\.)*)\"`")
# Where a word of this many letters may break: after each piece.
BREAK = "\u200b"
_WORD, _PIECE = re.compile(r"\S{24,}"), re.compile(r".{1,8}")
_ESCAPE = re.compile(r"\\u\{([0-9a-f]+)\}|\\(.)")


class CannotMakePdf(Exception):
    """typst made no PDF file; the message says why."""


def make_pdf(bundle: bytes, fonts: Sequence[Path] = ()) -> bytes:
    """Make the PDF file of a bundle, of which nothing is checked. `fonts`: folders with more fonts.

    Raises BundleError and CannotMakePdf.
    """
    content = read_bundle(BytesIO(bundle))
    collected = Collected()
    for line in content.files[EVENTS].lines(MAX_LINE_BYTES):
        collected.add(parse_line(line, 0), len(line))
    parts = [
        {"kind": type(part).__name__.lower(), **dataclasses.asdict(part)}
        for part in case_file(content.manifest, content.checkpoint, collected)
    ]
    made_s = min(content.manifest.created_at_us // 1_000_000, _LATEST_S)
    document = _visible({"title": title_of(content.manifest), "parts": parts, "sha256": sha256(bundle).hexdigest()})
    document["made_at"] = _calendar(datetime.fromtimestamp(made_s, UTC))
    available = typst.Fonts(include_system_fonts=False, font_paths=list(fonts))
    with tempfile.TemporaryDirectory(prefix="advice-ledger-") as name:
        folder = Path(name)
        (folder / "case.zip").write_bytes(bundle)
        (folder / "case_file.typ").write_bytes(TEMPLATE)
        return _compile(folder, document, available, made_s)


def _compile(folder: Path, document: dict[str, Any], fonts: typst.Fonts, made_s: int) -> bytes:
    """Compile; after each refusal write the characters that no font shows as their code points."""
    text = json.dumps(document, ensure_ascii=False)
    lacking = _lacking(folder, {character for character in text if not character.isascii()}, fonts)
    for attempt in range(TRIES):
        if attempt == TRIES - 1:
            lacking = {character for character in text if not character.isascii()}
        (folder / "parts.json").write_text(_written(document, lacking), "utf-8")
        try:
            return _typst(folder / "case_file.typ", fonts, made_s)
        except typst.TypstError as error:
            refused = _refused(error)
            if not refused - lacking:
                raise CannotMakePdf(error.message[:300]) from error
            lacking |= refused
    raise AssertionError("the last attempt has ASCII alone")


def _typst(source: Path, fonts: typst.Fonts, made_s: int) -> bytes:
    made = typst.compile(
        source,
        root=source.parent,
        font_paths=fonts,
        ignore_system_fonts=True,
        pdf_standards=[STANDARD],
        timestamp=made_s,
    )
    assert isinstance(made, bytes)
    return made


def _lacking(folder: Path, characters: Iterable[str], fonts: typst.Fonts) -> set[str]:
    """Return the characters that no font shows, found out with a document of these alone."""
    lines = sorted(characters)
    if not lines:
        return set()
    (folder / "parts.json").write_text(json.dumps({"characters": lines}), "utf-8")
    fonts_line = re.search(rb"#set text\(.*\)", TEMPLATE)
    assert fonts_line is not None
    probe = folder / "probe.typ"
    probe.write_bytes(
        b'#set document(title: "probe", date: none)\n'
        + fonts_line[0]
        + b'\n#for it in json("parts.json").characters { par(it) }\n'
    )
    try:
        _typst(probe, fonts, 0)
    except typst.TypstError as error:
        return _refused(error)
    return set()


def _refused(error: typst.TypstError) -> set[str]:
    """Return the characters beyond ASCII in the texts that typst names."""
    texts = (_ESCAPE.sub(_character, text) for text in _REFUSED.findall(error.diagnostic))
    return {character for text in texts for character in text if not character.isascii()}


def _character(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else match[2]


def _written(document: dict[str, Any], lacking: set[str]) -> str:
    """Return the document as JSON, with code points in the place of characters, and a note about them."""
    if not lacking:
        return json.dumps(document, ensure_ascii=False)
    codes = {ord(character): f"[U+{ord(character):04X}]" for character in lacking}
    listed = " ".join(codes[number] for number in sorted(codes)[:MOST_LISTED])
    more = f" and {len(codes) - MOST_LISTED} more" if len(codes) > MOST_LISTED else ""
    note = (
        f"{len(codes)} characters that no font of this document shows are written as their code points: "
        f"{listed}{more}. The page case.html in the attached bundle has them as they are."
    )
    first, *others = document["parts"]
    about = {"kind": "paragraph", "text": note, "note": True}
    written = {**document, "parts": [first, about, *others]}
    return json.dumps(written, ensure_ascii=False).translate(codes)


def _visible(value: Any) -> Any:
    """Write unseen characters as code points, and let long words break, as hashes are wider than a column."""
    if isinstance(value, str):
        return _WORD.sub(lambda word: BREAK.join(_PIECE.findall(word[0])), visible(value))
    if isinstance(value, dict):
        return {name: _visible(part) for name, part in value.items()}
    return [_visible(part) for part in value] if isinstance(value, list | tuple) else value


def _calendar(moment: datetime) -> dict[str, int]:
    return {name: getattr(moment, name) for name in ("year", "month", "day", "hour", "minute", "second")}

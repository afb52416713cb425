"""The PDF of a bundle: the same bytes each time, with the bundle in it, for whatever was recorded."""

from __future__ import annotations

import json
import re
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from api.cli import app
from ledger.export.pdf.maker import make_pdf
from ledger.proof.bundle.pdf import attached
from ledger.proof.bundle.selection import Selection
from ledger.proof.bundle.zip import BundleError
from ledger.proof.format.events import EventRow
from ledger.tlog.signing_keys import SigningKey
from tests.ledger.proof.bundle.bundles import make_bundle, program
from tests.ledger.proof.chains import ORIGIN, body_of, chain_of, rehashed

KEY = SigningKey.generate(ORIGIN)
ALL = Selection("positions", first_position=1, last_position=3)


def bundle(**data: Any) -> bytes:
    """A bundle of three events, the first with this data."""
    first, *others = chain_of(3)
    body = body_of(1, "request-1", data=data)
    events: list[EventRow] = [rehashed(first._replace(body=body, fields=None, salts=None))]
    for event in others:
        events.append(rehashed(event._replace(prev_hash=events[-1].hash)))
    return make_bundle(3, ALL, KEY, events=events)


AMOUNT = bundle(amount_usd="80000.00")


@pytest.fixture(scope="module")
def pdf() -> bytes:
    """The PDF of a bundle."""
    return make_pdf(AMOUNT)


def texts(pdf: bytes) -> int:
    """The number of streams that can be unpacked."""
    streams = re.findall(rb"/FlateDecode.*?\nstream\n(.*?)\nendstream", pdf, re.DOTALL)
    return sum(1 for each in streams if zlib.decompress(each))


def test_the_same_bundle_gives_the_same_bytes_with_the_bundle_in_it(pdf: bytes, tmp_path: Path) -> None:
    """The bytes follow from the bundle. The auditor's program takes it out and checks it, and names the pages."""
    assert make_pdf(AMOUNT) == pdf
    assert attached_of(pdf) == AMOUNT
    assert b"<pdfaid:part>3</pdfaid:part>" in pdf
    assert texts(pdf) > 3
    path = tmp_path / "case.pdf"
    path.write_bytes(pdf)
    ran = program(path, "--json", "--key", KEY.verifier.text)
    assert (ran.code, ran.json["trusted"], ran.json["proven"]) == (0, True, 3)
    assert f"attached to a PDF file: {len(AMOUNT)} bytes" in ran.json["steps"][0]["about"][1]
    assert any("case-file --check" in claim for claim in ran.json["not_proven"])


def attached_of(data: bytes) -> bytes:
    """The bundle in a PDF file."""
    return attached(BytesIO(data))


@pytest.mark.parametrize(
    "text",
    [
        "\u4e2d\u6587 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \U0001f600",  # scripts that our fonts lack
        "e\u0301\u0323\u20e3 \u200d\u0e33\u0e49",  # marks that form clusters
        "#pagebreak() $x$ *bold* `raw` <label> @ref \\u{41} // no comment",
        "a\ttab\nline\n\n   indented\u00a0",
        "\ue000\U000f0000\ufffe\U0010ffff",
        "x" * 5000,
    ],
)
def test_no_text_makes_it_fail(text: str) -> None:
    """Whatever was recorded, there is a PDF with the bundle: no text is markup, none is refused."""
    data = bundle(notes=text)
    assert attached_of(make_pdf(data)) == data


def test_each_byte_matters_or_is_not_of_the_bundle(pdf: bytes) -> None:
    """A changed byte anywhere is refused, or the bundle in it is the same, or another one that the audit judges."""
    good = attached_of(pdf)
    at = pdf.index(b"/EmbeddedFile")
    places = {*range(0, len(pdf), 499), *range(at - 30, at + 60), *range(len(pdf) - 90, len(pdf))}
    refused = 0
    for place in sorted(places):
        data = bytearray(pdf)
        data[place] ^= 1
        try:
            found = attached_of(bytes(data))
        except BundleError:
            refused += 1
        else:
            assert found == good or place > at
    assert refused > 120


def test_what_another_reader_could_read_otherwise_is_refused(pdf: bytes) -> None:
    """A second table, a second attachment, bytes before, between or after, and objects that the table does not list."""
    table = pdf.rindex(b"xref\n0 ")
    again = pdf + b"\n" + pdf[table:]
    second = pdf[:table] + b"1 0 obj\n<</Type/EmbeddedFile>>\nendobj\n" + pdf[table:]
    swapped = re.sub(rb"/UF (\d)", lambda found: b"/UF %d" % (int(found[1]) % 9 + 1), pdf)
    moved = re.sub(rb"(\d{10}) 00000 n\r\n(\d{10}) 00000 n\r\n", rb"\2 00000 n\r\n\1 00000 n\r\n", pdf, count=1)
    for data in (again, second, swapped, moved, b"\n" + pdf, pdf + b"\n", pdf[:-1], pdf[:400], b"%PDF-1.7\n", b""):
        with pytest.raises(BundleError):
            attached_of(data)


def run(*arguments: object) -> Result:
    """Run the program in this process."""
    return CliRunner().invoke(app, ["case-file", *map(str, arguments)])


def test_the_command_makes_and_checks(pdf: bytes, tmp_path: Path) -> None:
    """`case-file` makes it of a bundle; --check finds a changed page; a bundle that does not verify gives none."""
    bundled, made = tmp_path / "case.zip", tmp_path / "case.pdf"
    bundled.write_bytes(AMOUNT)
    ran = run(bundled, "-o", made, "--key", KEY.verifier.text, "--json")
    assert (ran.exit_code, ran.stderr, json.loads(ran.stdout)["bytes"]) == (0, "", len(pdf))
    assert made.read_bytes() == pdf
    assert made.stat().st_mode & 0o777 == 0o600
    again = run(bundled, "-o", made)
    assert (again.exit_code, "not overwritten" in again.stderr) == (2, True)
    same = run("--check", made, "--key", KEY.verifier.text)
    assert (same.exit_code, "byte for byte" in same.stdout) == (0, True)
    page = pdf.index(b"\nstream\n") + 20
    made.write_bytes(pdf[:page] + bytes([pdf[page] ^ 1]) + pdf[page + 1 :])
    other = run("--check", made)
    assert (other.exit_code, f"byte {page} is not" in other.stdout) == (1, True)
    bundled.write_bytes(AMOUNT.replace(b"80000.00", b"90000.00", 1))
    edited = run(bundled, "-o", tmp_path / "none.pdf")
    assert (edited.exit_code, "edited at position 1" in edited.stderr) == (1, True)
    assert not (tmp_path / "none.pdf").exists()

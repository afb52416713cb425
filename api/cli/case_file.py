"""advice-ledger case-file: make the PDF of a bundle, or check one against the bundle in it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Annotated

import typer

from api.cli.new_file import new_file
from api.cli.shared import FOUND_WRONG, AsJson, CannotRun, note, say, say_json
from api.cli.streams import naming, notes_after
from ledger.export.pdf.maker import CannotMakePdf, make_pdf
from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.auditor.report import printable
from ledger.proof.bundle.pdf import MAX_BYTES, attached, is_pdf
from ledger.proof.bundle.zip import BundleError
from ledger.proof.casefile.compare import first_difference
from ledger.proof.tlog.trust import Trust, Unusable, trust

Bundle = Annotated[Path, typer.Argument(metavar="FILE", help="The bundle, such as case.zip; with --check, the PDF.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", show_default=False, help="The PDF to write; nothing is overwritten."
    ),
]
Check = Annotated[bool, typer.Option("--check", help="Make the PDF again from the bundle in it, and compare.")]
Key = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY|FILE", show_default=False, help="A verifier key that must have signed the checkpoint."),
]
Fonts = Annotated[
    list[Path] | None,
    typer.Option(metavar="FOLDER", show_default=False, help="A folder with more fonts, for scripts that ours lack."),
]


def case_file(
    file: Bundle,
    output: Output = None,
    check: Check = False,
    key: Key = None,
    fonts: Fonts = None,
    as_json: AsJson = False,
) -> None:
    """Make the PDF of a bundle: the case file for a person, with the bundle attached.

    Needs no ledger. A bundle in which the auditor's program finds something wrong gives no PDF. The PDF is PDF/A-3; the
    same bundle gives the same bytes, so with --check everybody can make it again and compare.
    """
    with notes_after():
        if check == (output is not None):
            raise CannotRun("give --output, to make a PDF, or --check")
        if output is not None and output.exists():
            raise CannotRun(f"{output} exists already, and is not overwritten")
        folders = _folders(fonts or [])
        trusted = _trusted(key or [])
        data = _read(file)
        try:
            bundle = attached(BytesIO(data)) if check else data
            if not check and is_pdf(BytesIO(data)):
                raise CannotRun(f"{file} is a PDF: check it with --check")
            _audited(bundle, trusted)
            made = make_pdf(bundle, folders)
        except BundleError as error:
            raise CannotRun(f"{file}: {printable(str(error))}") from error
        except CannotMakePdf as error:
            raise CannotRun(f"no PDF could be made: {printable(str(error))}") from error
        if output is None:
            _compare(file, made, data, as_json=as_json)
        else:
            with new_file(output) as written:
                written.write(made)
            with naming(f"the PDF is complete, in {output}"):
                _show(output, made, bundle, as_json=as_json)


def _folders(fonts: list[Path]) -> list[Path]:
    for folder in fonts:
        if not folder.is_dir():
            raise CannotRun(f"--fonts {folder}: not a folder")
    return fonts


def _trusted(keys: list[str]) -> Trust:
    try:
        return trust(keys, [], None)
    except Unusable as error:
        raise CannotRun(str(error)) from error


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise CannotRun(f"{file}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise CannotRun(f"{file}: more than {MAX_BYTES} bytes, the most that a PDF is made of")
    return data


def _audited(bundle: bytes, trusted: Trust) -> None:
    """Print the findings of the auditor's program, and exit with 1 if there are any."""
    audit = audit_bundle(BytesIO(bundle), trusted)
    if audit.manifest is None:
        raise CannotRun(
            f"this is not a valid bundle: {'; '.join(printable(str(finding)) for finding in audit.findings)}"
        )
    for finding in audit.findings:
        note(printable(str(finding)))
    if not audit.ok:
        note("the bundle does not verify: advice-ledger-verify says more")
        raise typer.Exit(FOUND_WRONG)
    if not audit.trusted:
        note("the signer is not known: give the ledger's key with --key")


def _compare(file: Path, made: bytes, found: bytes, *, as_json: bool) -> None:
    differs = first_difference([made], [found])
    if as_json:
        say_json({"file": str(file), "same": differs is None, "first_difference": differs})
    elif differs is None:
        say(f"{file}: these are the pages that this program makes of the bundle in it, byte for byte")
    else:
        say(f"{file}: byte {differs} is not as this program makes it of the bundle in it: another version or other")
        say("fonts made it, or it was changed. The bundle in it verifies: read its case.html")
    if differs is not None:
        raise typer.Exit(FOUND_WRONG)


def _show(output: Path, made: bytes, bundle: bytes, *, as_json: bool) -> None:
    if as_json:
        say_json({"file": str(output), "bytes": len(made), "bundle_bytes": len(bundle)})
    else:
        say(f"{output}: {len(made)} bytes, with the bundle of {len(bundle)} bytes attached as case.zip")
        say(f"check it with: advice-ledger-verify {output} --key KEY, the key from elsewhere than this file")

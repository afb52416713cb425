"""Take the bundle out of a PDF file that `advice-ledger case-file` made: docs/formats/bundle.md, section 14.

A reader of PDF files takes whatever the cross-reference table leads to. So this one refuses every file that another
program could read otherwise: objects follow each other from the first byte to the table, the table lists exactly these,
there is one table, and one attachment. Memory: the file and the bundle.
"""

from __future__ import annotations

import os
import re
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from ledger.proof.bundle.zip import BundleError, BundleFlaw

MAX_BYTES = 256 * 1024 * 1024
_MAGIC = b"%PDF-"
_HEAD = re.compile(rb"%PDF-1\.7\n%\x80\x80\x80\x80\n\n")
_OBJECT = re.compile(rb"([1-9][0-9]{0,8}) 0 obj\n")
_LENGTH = re.compile(rb"/Length ([0-9]{1,10})(?![0-9 ])")
_TRAILER = re.compile(rb"trailer\n<<(/Size [0-9]+/Root [0-9]+ 0 R/Info [0-9]+ 0 R/ID\[[^\[\]<>]*\])>>\n")
_FILE = re.compile(
    rb"<</Length [0-9]+/Type/EmbeddedFile(/Filter/FlateDecode)?/Subtype/application#2Fzip/Params<</Size "
    rb"([0-9]{1,10})/ModDate\([^()]*\)>>>>"
)
# Names that mark a second attachment, objects within objects, or an encrypted file.
_REFUSED = (b"/ObjStm", b"/XRef", b"/Encrypt")


@dataclass(frozen=True)
class Part:
    """An object of the file: its number, where it begins, its dictionary, and its stream, if it has one."""

    number: int
    offset: int
    content: bytes
    stream: memoryview | None


def is_pdf(file: BinaryIO) -> bool:
    """Return True if the file says that it is a PDF file."""
    file.seek(0)
    return file.read(len(_MAGIC)) == _MAGIC


def attached(file: BinaryIO) -> bytes:
    """Return the attached bundle. Raises BundleError, and OSError if the file cannot be read."""
    if file.seek(0, os.SEEK_END) > MAX_BYTES:
        raise BundleError(BundleFlaw.PDF, f"more than {MAX_BYTES} bytes")
    file.seek(0)
    data = file.read()
    parts, table = _parts(data)
    _check_table(data, table, parts)
    files = [part for part in parts if b"/EmbeddedFile" in part.content.replace(b"/EmbeddedFiles", b"")]
    named = [part for part in parts if b"/EF" in part.content]
    if len(files) != 1 or len(named) != 1:
        raise BundleError(BundleFlaw.PDF, f"{len(files)} attachments, where there is one")
    if b"/EF<</F %d 0 R/UF %d 0 R>>" % (files[0].number, files[0].number) not in named[0].content:
        raise BundleError(BundleFlaw.PDF, "its attachment is not the one that it names")
    return _inflate(files[0])


def _parts(data: bytes) -> tuple[list[Part], int]:
    """Return the objects, and the offset of the table after them."""
    head = _HEAD.match(data)
    at = 0 if head is None else head.end()
    parts: list[Part] = []
    while at and (found := _OBJECT.match(data, at)) is not None:
        begin = found.end()
        end = _find(data, b"\nendobj\n", begin)
        stream_at = data.find(b"\nstream\n", begin, end)
        content = data[begin : end if stream_at < 0 else stream_at]
        stream = None
        if stream_at >= 0:
            length = _LENGTH.search(content)
            if length is None:
                raise BundleError(BundleFlaw.PDF, f"a stream without a length at byte {at}")
            start = stream_at + len(b"\nstream\n")
            end = start + int(length[1])
            if data[end : end + 18] != b"\nendstream\nendobj\n":
                raise BundleError(BundleFlaw.PDF, f"a stream of another length at byte {at}")
            stream = memoryview(data)[start:end]
            end += len(b"\nendstream")
        if any(name in content for name in _REFUSED):
            raise BundleError(BundleFlaw.PDF, f"an object that hides others at byte {at}")
        parts.append(Part(int(found[1]), at, content, stream))
        at = end + len(b"\nendobj\n")
    if not parts or not data.startswith(b"xref\n", at):
        raise BundleError(BundleFlaw.PDF, f"at byte {at}")
    return parts, at


def _find(data: bytes, mark: bytes, start: int) -> int:
    found = data.find(mark, start)
    if found < 0:
        raise BundleError(BundleFlaw.PDF, f"an object without an end at byte {start}")
    return found


def _check_table(data: bytes, table: int, parts: list[Part]) -> None:
    """Check that the table lists these objects and no others, and that the file ends with it."""
    numbers = [part.number for part in parts]
    if numbers != list(range(1, len(parts) + 1)):
        raise BundleError(BundleFlaw.PDF, "its objects are not numbered one after the other")
    rows = b"".join(b"%010d 00000 n\r\n" % part.offset for part in parts)
    expected = b"xref\n0 %d\n0000000000 65535 f\r\n" % (len(parts) + 1) + rows
    end = table + len(expected)
    if data[table:end] != expected:
        raise BundleError(BundleFlaw.PDF, "its table does not list its objects")
    trailer = _TRAILER.match(data, end)
    if trailer is None or data[trailer.end() :] != b"startxref\n%d\n%%%%EOF" % table:
        raise BundleError(BundleFlaw.PDF, "bytes after its table")


def _inflate(part: Part) -> bytes:
    described = _FILE.fullmatch(part.content)
    size = 0 if described is None else int(described[2])
    if described is None or part.stream is None or not 0 < size <= MAX_BYTES:
        raise BundleError(BundleFlaw.PDF, "its attachment has no size that a bundle has")
    if described[1] is None and len(part.stream) == size:
        return bytes(part.stream)
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(part.stream, size + 1)
    except zlib.error:
        raise BundleError(BundleFlaw.PDF, "its attachment cannot be unpacked") from None
    if len(data) != size or not inflater.eof or inflater.unused_data:
        raise BundleError(BundleFlaw.PDF, "its attachment has another size")
    return data

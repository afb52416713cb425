"""Read the ZIP container of a bundle as if its maker were hostile: docs/formats/bundle.md, section 1.

The standard library's reader believes what it reads. This one takes exactly what `zipfile` writes for our exporter:
stored members, one after the other, with 64-bit sizes where it puts them. Everything else is refused by name before any
member is read. Memory: one chunk for each open member.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import BinaryIO

from ledger.proof.errors import EvidenceError

MAX_MEMBERS = 28
MAX_DIRECTORY_BYTES = 64 * 1024
CHUNK = 64 * 1024

# Above this number, `zipfile` writes an offset or a size with 64 bits.
_LIMIT = 2**31 - 1
_FULL = 0xFFFFFFFF
_STORED = 0
_ENCRYPTED = 1 | 1 << 6 | 1 << 13
_FILE_TYPE, _REGULAR = 0o170000, 0o100000

_end = struct.Struct("<4s4H2LH")
_end64 = struct.Struct("<4sQ2H2L4Q")
_locator = struct.Struct("<4sLQL")
_entry = struct.Struct("<4s6H3L5H2L")
_header = struct.Struct("<4s5H3L2H")


class BundleFlaw(StrEnum):
    """The reasons for which a bundle, or a part of it, is refused."""

    NOT_ZIP = "not a ZIP file, or one cut short"
    DIRECTORY = "the directory of the ZIP file is malformed"
    UNKNOWN_FILE = "a file that no bundle has"
    TWICE = "two files of one name"
    MISSING_FILE = "a file is missing"
    ENCRYPTED = "an encrypted file"
    METHOD = "a compressed file"
    OVERLAP = "files that overlap, or hidden bytes between them"
    SIZE = "a file of another size than stated"
    TOO_LARGE = "a file that is too large"
    MANIFEST = "malformed manifest"
    LINE = "malformed event line"
    EDGE = "malformed edge"
    TILES = "malformed tiles"
    KEYS = "malformed keys"
    CONSISTENCY = "malformed consistency proof"
    STREAMS = "too many streams"
    HEADS = "malformed record of stream heads"
    SIGNING_KEYS = "malformed events of signing keys"
    RECORDING_KEYS = "malformed registrations of recording keys"
    ATTESTATIONS = "malformed attestation"
    PDF = "not a PDF file that advice-ledger case-file made"


class BundleError(EvidenceError):
    """The bundle does not conform to the format."""


@dataclass
class Member:
    """One file in the ZIP file. `digest` and `intact` are known once it was read to its end.

    `intact`: the contents have the checksum that the ZIP file states. Other tools refuse a file that does not.
    """

    file: BinaryIO
    name: str
    crc: int
    size: int
    offset: int
    start: int = 0
    digest: str | None = None
    intact: bool | None = None

    def chunks(self) -> Iterator[bytes]:
        """Yield the contents in chunks. Raises BundleError if the file ends early."""
        digest, crc, position, end = sha256(), 0, self.start, self.start + self.size
        while position < end:
            self.file.seek(position)
            chunk = self.file.read(min(CHUNK, end - position))
            if not chunk:
                raise BundleError(BundleFlaw.SIZE, f"{self.name} ends early")
            position += len(chunk)
            digest.update(chunk)
            crc = zlib.crc32(chunk, crc)
            yield chunk
        self.digest, self.intact = digest.hexdigest(), crc == self.crc

    def read(self, most: int) -> bytes:
        """Return the contents. Raises BundleError if they have more than `most` bytes."""
        if self.size > most:
            raise BundleError(BundleFlaw.TOO_LARGE, f"{self.name} of {self.size} bytes, where {most} are allowed")
        return b"".join(self.chunks())

    def lines(self, most: int) -> Iterator[bytes]:
        """Yield the lines without their newlines. Raises BundleError: one over `most` bytes, or without newline."""
        parts: list[bytes] = []
        waiting = 0
        for chunk in self.chunks():
            first, *others = chunk.split(b"\n")
            parts.append(first)
            waiting += len(first)
            if waiting > most:
                raise BundleError(BundleFlaw.LINE, f"a line of more than {most} bytes in {self.name}")
            if others:
                last = others.pop()
                yield b"".join(parts)
                yield from others
                parts, waiting = [last], len(last)
        if waiting:
            raise BundleError(BundleFlaw.LINE, f"{self.name} ends within a line")


def members(file: BinaryIO, allowed: frozenset[str]) -> dict[str, Member]:
    """Return the files in a ZIP file by name, none of them read yet. Raises BundleError."""
    directory, start, count = _directory(file)
    files: dict[str, Member] = {}
    for member in _entries(file, directory, count, allowed):
        if member.name in files:
            raise BundleError(BundleFlaw.TWICE, member.name)
        files[member.name] = member
    # They must fill the ZIP file from its beginning to the directory.
    position = 0
    for member in sorted(files.values(), key=lambda member: member.offset):
        if member.offset != position:
            raise BundleError(BundleFlaw.OVERLAP, member.name)
        _check_header(member)
        position = member.start + member.size
    if position != start:
        raise BundleError(BundleFlaw.OVERLAP, "between the last file and the directory")
    return files


def _directory(file: BinaryIO) -> tuple[bytes, int, int]:
    """Return the directory, its offset, and its number of entries. The records after it are those of `zipfile`."""
    end = file.seek(0, os.SEEK_END) - _end.size
    *_, count, size, start, _ = _end.unpack(_read_at(file, end, _end.size))
    if start > _LIMIT:
        end -= _end64.size + _locator.size
        *_, start = _end64.unpack(_read_at(file, end, _end64.size))
    records = _end.pack(b"PK\5\6", 0, 0, count, count, size, min(start, _FULL), 0)
    if start > _LIMIT:
        wide = _end64.pack(b"PK\6\6", _end64.size - 12, 45, 45, 0, 0, count, count, size, start)
        records = wide + _locator.pack(b"PK\6\7", 0, end, 1) + records
    if _read_at(file, end, len(records)) != records:
        raise BundleError(BundleFlaw.NOT_ZIP, "no end record at the very end")
    if count > MAX_MEMBERS or size > MAX_DIRECTORY_BYTES:
        raise BundleError(BundleFlaw.DIRECTORY, f"{count} files, {size} bytes")
    if start + size != end:
        raise BundleError(BundleFlaw.DIRECTORY, "it does not end where the end record begins")
    return _read_at(file, start, size), start, count


def _entries(file: BinaryIO, directory: bytes, count: int, allowed: frozenset[str]) -> Iterator[Member]:
    position = 0
    for _ in range(count):
        if position + _entry.size > len(directory):
            raise BundleError(BundleFlaw.DIRECTORY, "it ends within an entry")
        entry = _entry.unpack_from(directory, position)
        mark, _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = entry[:12]
        comment_bytes, disk, _, attributes, offset = entry[12:]
        name_at = position + _entry.size
        extra_at = name_at + name_bytes
        position = extra_at + extra_bytes
        if mark != b"PK\1\2" or disk or comment_bytes or position > len(directory):
            raise BundleError(BundleFlaw.DIRECTORY, "malformed entry, or one with a comment")
        if attributes >> 16 & _FILE_TYPE not in {0, _REGULAR}:
            raise BundleError(BundleFlaw.DIRECTORY, "an entry that is not a regular file")
        name = directory[name_at:extra_at].decode("latin-1")
        if name not in allowed:
            raise BundleError(BundleFlaw.UNKNOWN_FILE, ascii(name[:100]))
        _check_kind(name, flags, method)
        size, packed, offset = _wide_above_limit(directory[extra_at:position], (size, packed, offset))
        if packed != size:
            raise BundleError(BundleFlaw.SIZE, name)
        yield Member(file, name, crc, size, offset)
    if position != len(directory):
        raise BundleError(BundleFlaw.DIRECTORY, "bytes after its last entry")


def _check_kind(name: str, flags: int, method: int) -> None:
    if flags & _ENCRYPTED:
        raise BundleError(BundleFlaw.ENCRYPTED, name)
    if method != _STORED:
        raise BundleError(BundleFlaw.METHOD, f"{name}: method {method}")
    if flags:
        raise BundleError(BundleFlaw.DIRECTORY, f"{name}: flags {flags:#x}")


def _wide(extra: bytes, numbers: Sequence[int]) -> list[int]:
    """Return the numbers, with those that need the 64-bit extra field. Other extra fields are refused."""
    wanted = [index for index, number in enumerate(numbers) if number == _FULL]
    wide = list(numbers)
    if wanted or extra:
        layout = struct.Struct(f"<2H{len(wanted)}Q")
        if len(extra) != layout.size or not wanted or extra[:4] != struct.pack("<2H", 1, layout.size - 4):
            raise BundleError(BundleFlaw.DIRECTORY, "an extra field that no bundle has, or none for a large number")
        for index, number in zip(wanted, layout.unpack(extra)[2:], strict=True):
            wide[index] = number
    return wide


def _wide_above_limit(extra: bytes, numbers: Sequence[int]) -> list[int]:
    """Return the numbers of an entry. Numbers from 2 GiB on must be in the extra field, and no others."""
    wide = _wide(extra, numbers)
    if any((number == _FULL) != (value > _LIMIT) for number, value in zip(numbers, wide, strict=True)):
        raise BundleError(BundleFlaw.DIRECTORY, "a number of 64 bits below 2 GiB, or one of 32 bits above")
    return wide


def _check_header(member: Member) -> None:
    """Check that the member's own header agrees with the directory: readers differ in which one they use."""
    header = _header.unpack(_read_at(member.file, member.offset, _header.size))
    mark, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = header
    name_at = member.offset + _header.size
    member.start = name_at + name_bytes + extra_bytes
    name = _read_at(member.file, name_at, name_bytes)
    _check_kind(member.name, flags, method)
    sizes = _wide(_read_at(member.file, name_at + name_bytes, extra_bytes), (size, packed))
    stated = (mark, name, crc, *sizes)
    if stated != (b"PK\3\4", member.name.encode("latin-1"), member.crc, member.size, member.size):
        raise BundleError(BundleFlaw.DIRECTORY, f"{member.name}: its own header disagrees")


def _read_at(file: BinaryIO, position: int, length: int) -> bytes:
    if not 0 <= position <= 2**62:
        raise BundleError(BundleFlaw.NOT_ZIP, "an offset outside the file")
    file.seek(position)
    data = file.read(length)
    if len(data) != length:
        raise BundleError(BundleFlaw.NOT_ZIP, "it ends early")
    return data

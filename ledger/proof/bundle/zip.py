"""The ZIP container of a bundle, read as if its maker were hostile: docs/formats/bundle.md, section 1.

The standard library's reader raises what it likes and believes what it reads; this one takes the few forms that a
bundle may have and refuses the others by name, before it unpacks anything. Memory: one chunk for each open member.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import BinaryIO

from ledger.proof.tlog.merkle import LogError

MAX_MEMBERS = 24
MAX_DIRECTORY_BYTES = 64 * 1024
MAX_RATIO = 200
RATIO_FREE_BYTES = 16 * 1024 * 1024
# A data descriptor, the one thing that may stand between two members, has at most so many bytes.
MAX_GAP = 24
CHUNK = 64 * 1024

STORED, DEFLATED = 0, 8
_ENCRYPTED = 1 | 1 << 6 | 1 << 13
_FLAGS_THAT_MATTER = _ENCRYPTED | 1 << 5  # patched data
_LATER = 1 << 3  # sizes and checksum come in a data descriptor
_ZIP64 = 1
# 64-bit sizes, times, owner, times of NTFS. Others, such as another name for the file, tools do not read alike.
_EXTRA_KINDS = frozenset((_ZIP64, 0x5455, 0x7875, 0x000A))
_MAX_EXTRA_BYTES = 64
_FILE_TYPE, _REGULAR = 0o170000, 0o100000
_FULL32, _FULL16 = 0xFFFFFFFF, 0xFFFF

_end = struct.Struct("<4s4H2LH")
_end64_locator = struct.Struct("<4sLQL")
_end64 = struct.Struct("<4sQ2H2L4Q")
_entry = struct.Struct("<4s6H3L5H2L")
_local = struct.Struct("<4s5H3L2H")
_u64 = struct.Struct("<Q")


class BundleFlaw(StrEnum):
    """Why a bundle, or a part of it, is refused."""

    NOT_ZIP = "not a ZIP file, or one cut short"
    DIRECTORY = "the directory of the ZIP file is malformed"
    UNKNOWN_FILE = "a file that no bundle has"
    TWICE = "a file that is there twice"
    MISSING_FILE = "a file is missing"
    ENCRYPTED = "an encrypted file"
    METHOD = "an unknown compression"
    OVERLAP = "files that overlap, or hidden bytes between them"
    BOMB = "a file that unpacks to far more than it is"
    SIZE = "a file of another size than stated"
    PACKED = "a file that does not unpack"
    TOO_LARGE = "a file that is too large"
    MANIFEST = "malformed manifest"
    LINE = "malformed event line"
    EDGE = "malformed edge"
    TILES = "malformed tiles"
    KEYS = "malformed keys"
    CONSISTENCY = "malformed consistency proof"
    STREAMS = "too many streams"


class BundleError(LogError):
    """The bundle is not as the format says."""


@dataclass
class Member:
    """One file of the archive. `digest` is known once it was read to its end, `intact` once read at once.

    Of a file that the manifest names, the digest says more than the checksum.
    """

    file: BinaryIO
    name: str
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    start: int = 0
    digest: str | None = None
    intact: bool | None = None

    def chunks(self) -> Iterator[bytes]:
        """Its contents, piece by piece. Raises BundleError if they do not unpack to exactly the stated size."""
        hashed, done = sha256(), 0
        for chunk in self._stored() if self.method == STORED else self._inflated():
            done += len(chunk)
            if done > self.size:
                break
            hashed.update(chunk)
            yield chunk
        if done != self.size:
            raise BundleError(BundleFlaw.SIZE, f"{self.name}, of stated {self.size} bytes")
        self.digest = hashed.hexdigest()

    def read(self, most: int) -> bytes:
        """All of it. Raises BundleError if it has more than `most` bytes."""
        if self.size > most:
            raise BundleError(BundleFlaw.TOO_LARGE, f"{self.name} of {self.size} bytes, where {most} are allowed")
        content = b"".join(self.chunks())
        self.intact = zlib.crc32(content) == self.crc
        return content

    def lines(self, most: int) -> Iterator[list[bytes]]:
        """Its lines, several at a time, without newlines. Raises BundleError: one over `most` bytes, or without end."""
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
                yield [b"".join(parts), *others]
                parts, waiting = [last], len(last)
        if waiting:
            raise BundleError(BundleFlaw.LINE, f"{self.name} ends within a line")

    def _stored(self) -> Iterator[bytes]:
        at, left = self.start, self.packed
        while left:
            self.file.seek(at)
            chunk = self.file.read(min(CHUNK, left))
            if not chunk:
                raise BundleError(BundleFlaw.SIZE, f"{self.name} ends early")
            at += len(chunk)
            left -= len(chunk)
            yield chunk

    def _inflated(self) -> Iterator[bytes]:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            for packed in self._stored():
                waiting = packed
                while waiting and not unpacker.eof:
                    if chunk := unpacker.decompress(waiting, CHUNK):
                        yield chunk
                    waiting = unpacker.unconsumed_tail
            while not unpacker.eof and (chunk := unpacker.decompress(b"", CHUNK)):
                yield chunk
        except zlib.error:
            raise BundleError(BundleFlaw.PACKED, self.name) from None
        if not unpacker.eof or unpacker.unused_data:
            raise BundleError(BundleFlaw.PACKED, f"{self.name}: its packed bytes end early or late")


def members(file: BinaryIO, allowed: frozenset[str]) -> dict[str, Member]:
    """The files of an archive by name, nothing of them read yet. Raises BundleError."""
    length = file.seek(0, os.SEEK_END)
    count, start, size, end = _find_directory(file, length)
    if count > MAX_MEMBERS or size > MAX_DIRECTORY_BYTES:
        raise BundleError(BundleFlaw.DIRECTORY, f"{count} files, {size} bytes")
    if start + size != end:
        raise BundleError(BundleFlaw.DIRECTORY, "it does not end where the end record begins")
    found: dict[str, Member] = {}
    for member in _entries(file, _read_at(file, start, size), count):
        if member.name not in allowed:
            raise BundleError(BundleFlaw.UNKNOWN_FILE, ascii(member.name[:100]))
        if member.name in found:
            raise BundleError(BundleFlaw.TWICE, member.name)
        found[member.name] = member
    _place(sorted(found.values(), key=lambda one: one.offset), start)
    return found


def _find_directory(file: BinaryIO, length: int) -> tuple[int, int, int, int]:
    """Number of entries, start and size of the directory, and where it has to end."""
    at = length - _end.size
    if at < 0:
        raise BundleError(BundleFlaw.NOT_ZIP, f"{length} bytes")
    mark, disk, disk_of, here, count, size, start, comment = _end.unpack(_read_at(file, at, _end.size))
    if mark != b"PK\5\6" or comment or disk or disk_of or here != count:
        raise BundleError(BundleFlaw.NOT_ZIP, "no end record at the very end")
    locator = at - _end64_locator.size
    if count != _FULL16 and _FULL32 not in {size, start}:
        # Some readers take the 64-bit record wherever there is a locator, and so another directory.
        if locator >= 0 and _read_at(file, locator, 4) == b"PK\6\7":
            raise BundleError(BundleFlaw.DIRECTORY, "a 64-bit end record that nothing needs")
        return count, start, size, at
    if locator < 0:
        raise BundleError(BundleFlaw.NOT_ZIP, "no room for its 64-bit end record")
    short = count, size, start
    mark, disk, where, disks = _end64_locator.unpack(_read_at(file, locator, _end64_locator.size))
    if mark != b"PK\6\7" or disk or disks != 1 or where + _end64.size != locator:
        raise BundleError(BundleFlaw.NOT_ZIP, "no 64-bit end record where it belongs")
    mark, left, _, _, disk, disk_of, here, count, size, start = _end64.unpack(_read_at(file, where, _end64.size))
    if mark != b"PK\6\6" or left != _end64.size - 12 or disk or disk_of or here != count:
        raise BundleError(BundleFlaw.NOT_ZIP, "malformed 64-bit end record")
    long = count, size, start
    if any(one not in {full, other} for one, full, other in zip(short, (_FULL16, _FULL32, _FULL32), long, strict=True)):
        raise BundleError(BundleFlaw.DIRECTORY, "its two end records disagree")
    return count, start, size, where


def _entries(file: BinaryIO, directory: bytes, count: int) -> Iterator[Member]:
    at = 0
    for _ in range(count):
        if at + _entry.size > len(directory):
            raise BundleError(BundleFlaw.DIRECTORY, "it ends within an entry")
        fields = _entry.unpack_from(directory, at)
        mark, flags, method, crc, packed, size = fields[0], *fields[3:5], *fields[7:10]
        name_bytes, extra_bytes, comment_bytes, disk, _, attributes, offset = fields[10:17]
        at += _entry.size
        raw = directory[at : at + name_bytes]
        extra = directory[at + name_bytes : at + name_bytes + extra_bytes]
        at += name_bytes + extra_bytes
        if mark != b"PK\1\2" or disk or comment_bytes or at > len(directory):
            raise BundleError(BundleFlaw.DIRECTORY, "malformed entry, or one with a comment")
        if attributes >> 16 & _FILE_TYPE not in {0, _REGULAR}:
            raise BundleError(BundleFlaw.DIRECTORY, "an entry that is no regular file")
        size, packed, offset = _wide(_extra_fields(extra), [size, packed, offset])
        member = Member(file, raw.decode("latin-1"), method, crc, packed, size, offset)
        _check_entry(member, flags)
        yield member
    if at != len(directory):
        raise BundleError(BundleFlaw.DIRECTORY, "bytes after its last entry")


def _extra_fields(extra: bytes) -> dict[int, bytes]:
    """The extra fields of a header by kind. Raises BundleError: malformed, one twice, or one that is not allowed."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(extra):
        kind, length = struct.unpack_from("<2H", extra, at) if at + 4 <= len(extra) else (-1, 0)
        at += 4 + length
        if kind not in _EXTRA_KINDS or kind in found or length > _MAX_EXTRA_BYTES or at > len(extra):
            raise BundleError(BundleFlaw.DIRECTORY, "an extra field that no bundle has")
        found[kind] = extra[at - length : at]
    return found


def _wide(extra: dict[int, bytes], values: list[int]) -> list[int]:
    """Sizes and offset, with those taken from the 64-bit extra field for which 32 bits did not do."""
    wanted = [index for index, value in enumerate(values) if value == _FULL32]
    field = extra.get(_ZIP64, b"")
    if len(field) < 8 * len(wanted):
        raise BundleError(BundleFlaw.DIRECTORY, "an entry lacks its 64-bit sizes")
    for place, index in enumerate(wanted):
        (values[index],) = _u64.unpack_from(field, 8 * place)
    return values


def _check_entry(member: Member, flags: int) -> None:
    if flags & _FLAGS_THAT_MATTER:
        raise BundleError(BundleFlaw.ENCRYPTED, ascii(member.name[:100]))
    if member.method not in {STORED, DEFLATED}:
        raise BundleError(BundleFlaw.METHOD, f"{member.name[:100]!a}: method {member.method}")
    if member.method == STORED and member.size != member.packed:
        raise BundleError(BundleFlaw.SIZE, ascii(member.name[:100]))
    if member.size > RATIO_FREE_BYTES and member.size > MAX_RATIO * member.packed:
        raise BundleError(BundleFlaw.BOMB, f"{member.name[:100]!a}: {member.packed} bytes for {member.size}")


def _place(ordered: list[Member], end: int) -> None:
    """Find where each member's bytes start, and that members fill the file from its beginning without overlapping."""
    before = 0
    for number, member in enumerate(ordered):
        if not before <= member.offset <= before + (MAX_GAP if number else 0):
            raise BundleError(BundleFlaw.OVERLAP, member.name)
        _check_header(member)
        before = member.start + member.packed
    if not before <= end <= before + MAX_GAP:
        raise BundleError(BundleFlaw.OVERLAP, "between the last file and the directory")


def _check_header(member: Member) -> None:
    """The member's own header says what the directory does; some readers go by the one, some by the other."""
    header = _local.unpack(_read_at(member.file, member.offset, _local.size))
    mark, flags, method, crc, packed, size, name_bytes, extra_bytes = header[0], *header[2:4], *header[6:]
    at = member.offset + _local.size
    member.start = at + name_bytes + extra_bytes
    name, extra = _read_at(member.file, at, name_bytes), _read_at(member.file, at + name_bytes, extra_bytes)
    if (mark, name, method) != (b"PK\3\4", member.name.encode("latin-1"), member.method):
        raise BundleError(BundleFlaw.DIRECTORY, f"{member.name}: its own header says otherwise")
    if flags & _FLAGS_THAT_MATTER:
        raise BundleError(BundleFlaw.ENCRYPTED, member.name)
    stated = [crc, *_wide(_extra_fields(extra), [size, packed])]
    for own, listed in zip(stated, (member.crc, member.size, member.packed), strict=True):
        # With a data descriptor the header may leave them out.
        if own != listed and not (flags & _LATER and own == 0):
            raise BundleError(BundleFlaw.DIRECTORY, f"{member.name}: its own header says otherwise")


def _read_at(file: BinaryIO, at: int, length: int) -> bytes:
    if at < 0 or at > 2**62:
        raise BundleError(BundleFlaw.NOT_ZIP, "an offset beyond its end")
    file.seek(at)
    data = file.read(length)
    if len(data) != length:
        raise BundleError(BundleFlaw.NOT_ZIP, "it ends early")
    return data

"""Containers that some tool would read otherwise than the auditor's program are refused; what packers make is read."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, field

import pytest

from ledger.proof.bundle import manifest
from ledger.proof.bundle.zip import BundleError, BundleFlaw, members

FILES = {"index.html": b"<html>what was checked</html>", "keys.txt": b"", "edge": b"e" * 64}
FORGED = {"index.html": b"<html>FORGED</html>"}
LOCATOR = struct.Struct("<4sLQL")
END64 = struct.Struct("<4sQ2H2L4Q")


def extra(kind: int, data: bytes) -> bytes:
    """An extra field."""
    return struct.pack("<2H", kind, len(data)) + data


def unicode_path(name: str, other: str) -> bytes:
    """Has some tools write `name` under another name (Info-ZIP, 0x7075)."""
    return extra(0x7075, struct.pack("<BL", 1, zlib.crc32(name.encode())) + other.encode())


@dataclass
class Zip:
    """An archive of FILES, with what an attacker puts in: extra fields in both places, comments, an end record."""

    local: dict[str, bytes] = field(default_factory=dict)
    central: dict[str, bytes] = field(default_factory=dict)
    comments: dict[str, bytes] = field(default_factory=dict)
    mode: int = 0o100600
    before_end: bytes = b""

    def write(self) -> bytes:
        """Its bytes."""
        out, directory = b"", b""
        for name, data in FILES.items():
            plain, crc = name.encode(), zlib.crc32(data)
            more, listed, comment = self.local.get(name, b""), self.central.get(name, b""), self.comments.get(name, b"")
            sizes = crc, len(data), len(data), len(plain)
            directory += struct.pack("<4s6H3L", b"PK\1\2", 20, 20, 0, 0, 0, 33, *sizes[:3])
            directory += struct.pack("<5H2L", len(plain), len(listed), len(comment), 0, 0, self.mode << 16, len(out))
            directory += plain + listed + comment
            out += struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, *sizes, len(more)) + plain + more + data
        directory += self.before_end
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(FILES), len(FILES), len(directory), len(out), 0)
        return out + directory + end


def second_directory() -> tuple[bytes, int]:
    """Another directory and its 64-bit end record, as they stand right before an end record, and where they begin."""
    (name, data), at = next(iter(FORGED.items())), 0
    crc = zlib.crc32(data)
    entry = struct.pack("<4s6H3L", b"PK\1\2", 20, 20, 0, 0, 0, 33, crc, len(data), len(data))
    entry += struct.pack("<5H2L", len(name), 0, 0, 0, 0, 0, at) + name.encode()
    end64 = END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(entry), 0)
    return entry + end64 + LOCATOR.pack(b"PK\6\7", 0, 0, 1), len(entry)


def flaw(data: bytes) -> BundleFlaw:
    """Why the container is refused."""
    with pytest.raises(BundleError) as caught:
        members(io.BytesIO(data), manifest.ALLOWED)
    assert isinstance(caught.value.flaw, BundleFlaw)
    return caught.value.flaw


def test_it_is_good() -> None:
    """Before anything is done to it; and with extra fields that common packers write."""
    times, owner, ntfs = extra(0x5455, b"\3" + bytes(8)), extra(0x7875, b"\1\4" + bytes(9)), extra(0x000A, bytes(32))
    known = {"edge": times + owner + ntfs, "index.html": times}
    for each in (Zip(), Zip(local=known, central=known), Zip(mode=0)):
        found = members(io.BytesIO(each.write()), manifest.ALLOWED)
        assert {name: member.read(100) for name, member in found.items()} == FILES


@pytest.mark.parametrize("wide", [False, True])
def test_what_a_streaming_packer_makes_is_read(wide: bool) -> None:
    """With data descriptors, sizes of 32 and of 64 bits: the local header has zeros there, and that is no fault."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in FILES.items():
            with archive.open(name, "w", force_zip64=wide) as file:
                file.write(data)
    found = members(io.BytesIO(bytes(pipe.data)), manifest.ALLOWED)
    assert {name: member.read(100) for name, member in found.items()} == FILES


OTHERWISE: dict[str, Zip] = {
    "another name": Zip(central={"index.html": unicode_path("index.html", "real.html")}),
    "another name, in the local header": Zip(local={"index.html": unicode_path("index.html", "../../outside.txt")}),
    "a comment": Zip(comments={"index.html": b"x"}),
    "a second directory in a comment": Zip(comments={"edge": second_directory()[0]}),
    "a second directory in an extra field": Zip(central={"edge": extra(0x7875, second_directory()[0])}),
    "a locator in a short extra field": Zip(central={"edge": extra(0x5455, LOCATOR.pack(b"PK\6\7", 0, 0, 1))}),
    "a second directory by itself": Zip(before_end=second_directory()[0]),
    "64-bit sizes twice": Zip(central={"edge": extra(1, bytes(8)) * 2}),
    "an extra field cut short": Zip(central={"edge": extra(0x5455, b"abcd")[:-1]}),
    "half an extra field": Zip(local={"edge": b"\x55\x54"}),
    "a symbolic link": Zip(mode=0o120777),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_other_tools_read_otherwise(name: str) -> None:
    """Refused, though the directory that we read is sound."""
    assert flaw(OTHERWISE[name].write()) is BundleFlaw.DIRECTORY


@pytest.mark.parametrize("at", [14, 18, 22])
def test_a_local_header_that_says_otherwise(at: int) -> None:
    """Checksum and both sizes: some readers go by the local header. With bit 3 zeros are none, and others still are."""
    good = Zip().write()
    bad = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
    assert flaw(bad) is BundleFlaw.DIRECTORY
    assert flaw(bad[:6] + b"\x08" + bad[7:]) is BundleFlaw.DIRECTORY
    zeros = good[:at] + bytes(4) + good[at + 4 :]
    assert flaw(zeros) is BundleFlaw.DIRECTORY
    assert members(io.BytesIO(zeros[:6] + b"\x08" + zeros[7:]), manifest.ALLOWED)


def test_two_end_records_that_disagree() -> None:
    """Where 64 bits are needed for one number, the others stand in both records, and are the same."""
    good = Zip().write()
    *_, count, _, size, start, _ = struct.unpack("<4s4H2LH", good[-22:])
    body = good[:-22]
    for other in (count, count - 1):
        end64 = END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
        locator = LOCATOR.pack(b"PK\6\7", 0, len(body), 1)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, other, other, size, 0xFFFFFFFF, 0)
        data = body + end64 + locator + end
        if other == count:
            assert set(members(io.BytesIO(data), manifest.ALLOWED)) == set(FILES)
        else:
            assert flaw(data) is BundleFlaw.DIRECTORY

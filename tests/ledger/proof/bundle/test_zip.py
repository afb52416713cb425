"""Containers as our writer makes them are read, also large ones; all others are refused by name."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from ledger.export.bundle_writer import BundleWriter
from ledger.proof.bundle import manifest
from ledger.proof.bundle.manifest import Manifest
from ledger.proof.bundle.selection import Selection
from ledger.proof.bundle.zip import BundleError, BundleFlaw, members

FILES = {"case.html": b"<html>what was checked</html>", "keys.txt": b"", "edge": b"e" * 64}
FORGED = {"case.html": b"<html>FORGED</html>"}
MEBIBYTE = bytes(1 << 20)
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
    """A ZIP file of FILES, with what an attacker puts in: extra fields in both places, comments, an end record."""

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


def written(file: BinaryIO) -> dict[str, bytes]:
    """Write FILES with our writer, and the manifest that it adds."""
    content = Manifest("ledger.example/one", 1, 1, Selection("request", request=1))
    with BundleWriter(file) as writer:
        for name, data in FILES.items():
            writer.add(name, data)
        writer.finish(content)
    return {**FILES, manifest.MANIFEST: content.encode()}


def test_the_untouched_container_is_read() -> None:
    """Before anything is done to it; and of another mode, as another system writes it."""
    for each in (Zip(), Zip(mode=0)):
        found = members(io.BytesIO(each.write()), manifest.ALLOWED)
        assert {name: member.read(100) for name, member in found.items()} == FILES


@pytest.mark.parametrize("limit", [2**31 - 1, 200, 20])
def test_what_our_writer_makes(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read as written, with 64-bit offsets and end records beyond a limit that is far lower here than in earnest."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    monkeypatch.setattr("ledger.proof.bundle.zip._LIMIT", limit)
    file = io.BytesIO()
    contents = written(file)
    found = members(file, manifest.ALLOWED)
    assert {name: member.read(1000) for name, member in found.items()} == contents


class Sparse(io.FileIO):
    """A file in which blocks of zeros take no room."""

    def write(self, data: Any) -> int:
        """Leave a hole where there are only zeros."""
        if data == MEBIBYTE:
            self.seek(len(data), io.SEEK_CUR)
            return len(data)
        return super().write(data)


class Unhashed:
    """In place of SHA-256: gigabytes of zeros would take seconds."""

    def update(self, data: bytes) -> None:
        """Take no notice."""

    def hexdigest(self) -> str:
        """As long as one."""
        return "0" * 64


def write_sparse(file: BinaryIO, size: int) -> int:
    """Write a bundle whose events have this size, all zeros; return where its directory begins."""
    with BundleWriter(file) as writer:
        with writer.stream(manifest.EVENTS) as member:
            for _ in range(size >> 20):
                member.write(MEBIBYTE)
            member.write(bytes(size % (1 << 20)))
        writer.add(manifest.EDGE, b"edge")
        writer.finish(Manifest("ledger.example/one", 1, 1, Selection("request", request=1)))
        return int(writer._zip.start_dir)


EDGES = [2**31 - 1, 2**31, 2**32 - 1, 2**32]


@pytest.mark.parametrize("of", ["events", "directory"])
@pytest.mark.parametrize("edge", EDGES)
def test_bundles_at_the_edges_of_two_and_four_gigabytes(
    edge: int, of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events of such a size, or a directory that begins there: our writer takes 64 bits from 2 GiB on."""
    monkeypatch.setattr(zipfile, "crc32", lambda _, crc=0: crc)
    monkeypatch.setattr("ledger.export.bundle_writer.sha256", Unhashed)
    # The manifest has the size in digits; those of all the edges have ten.
    size = edge if of == "events" else edge - (write_sparse(io.BytesIO(), 0) + len("4294967296") - len("0"))
    with Sparse(tmp_path / "case.zip", "w+b") as file:
        start = write_sparse(file, size)
        assert edge in {size, start}
        found = members(file, manifest.ALLOWED)
        assert found[manifest.EVENTS].size == size
        assert found[manifest.EDGE].read(4) == b"edge"


@pytest.mark.parametrize("count", [29, 2**16 - 1])
def test_more_members_than_a_bundle_has(count: int) -> None:
    """Refused by their number, before the directory is read; 65,535 stands for any number beyond it, too."""
    good = Zip().write()
    end = good[:-14] + struct.pack("<2H", count, count) + good[-10:]
    with pytest.raises(BundleError, match=f"{count} files"):
        members(io.BytesIO(end), manifest.ALLOWED)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_a_streaming_packer_makes_is_refused(wide: bool, method: int) -> None:
    """With data descriptors of 32 and of 64 bits: the sizes are behind the member, where readers may differ."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", method) as archive:
        for name, data in FILES.items():
            with archive.open(name, "w", force_zip64=wide) as file:
                file.write(data)
    expected = BundleFlaw.DIRECTORY if method == zipfile.ZIP_STORED else BundleFlaw.METHOD
    assert flaw(bytes(pipe.data)) is expected


OTHERWISE: dict[str, Zip] = {
    "another name": Zip(central={"case.html": unicode_path("case.html", "real.html")}),
    "another name, in the local header": Zip(local={"case.html": unicode_path("case.html", "../../outside.txt")}),
    "a comment": Zip(comments={"case.html": b"x"}),
    "a second directory in a comment": Zip(comments={"edge": second_directory()[0]}),
    "a second directory in an extra field": Zip(central={"edge": extra(0x7875, second_directory()[0])}),
    "a locator in a short extra field": Zip(central={"edge": extra(0x5455, LOCATOR.pack(b"PK\6\7", 0, 0, 1))}),
    "a second directory by itself": Zip(before_end=second_directory()[0]),
    "times and owners": Zip(central={"edge": extra(0x5455, b"\3" + bytes(8)) + extra(0x7875, b"\1\4" + bytes(9))}),
    "times, in the local header": Zip(local={"edge": extra(0x000A, bytes(32))}),
    "64-bit sizes that nothing needs": Zip(central={"edge": extra(1, bytes(16))}),
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
def test_a_local_header_that_differs_is_refused(at: int) -> None:
    """Checksum and both sizes: some readers go by the local header. With bit 3 set it is refused in any case."""
    good = Zip().write()
    for value in (bytes([good[at] ^ 1]), bytes(4)):
        bad = good[:at] + value + good[at + len(value) :]
        assert flaw(bad) is BundleFlaw.DIRECTORY
        assert flaw(bad[:6] + b"\x08" + bad[7:]) is BundleFlaw.DIRECTORY


def test_end_records_that_are_not_needed() -> None:
    """64-bit end records stand where the directory begins beyond the limit, and nowhere else."""
    good = Zip().write()
    *_, count, _, size, start, _ = struct.unpack("<4s4H2LH", good[-22:])
    body = good[:-22]
    end64 = END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = LOCATOR.pack(b"PK\6\7", 0, len(body), 1)
    for named in (start, 0xFFFFFFFF):
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, named, 0)
        assert flaw(body + end64 + locator + end) in {BundleFlaw.NOT_ZIP, BundleFlaw.DIRECTORY}

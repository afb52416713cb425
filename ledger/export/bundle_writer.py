"""Write the container of a bundle: docs/formats/bundle.md, section 1."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import IO, BinaryIO, Self
from zoneinfo import ZoneInfo

from ledger.proof.bundle.manifest import MANIFEST, PAGE, Manifest
from ledger.proof.bundle.page import page
from ledger.proof.casefile.collected import Collected
from ledger.proof.casefile.moments import local_time
from ledger.proof.tlog.key_rotation import Rotation

# The earliest date of a ZIP file; the true time is in the manifest.
_DATE = (1980, 1, 1, 0, 0, 0)
# A private file, for tools that unpack with the stated mode.
_MODE = 0o100600 << 16


class BundleWriter:
    """Write the members one after the other, in flat memory, and at the end the manifest with the digest of each.

    It is open within a `with` block. A block that fails leaves an incomplete file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True)
        self._files: dict[str, tuple[int, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def add(self, name: str, data: bytes) -> None:
        """Write a small member."""
        with self.stream(name) as member:
            member.write(data)

    @contextlib.contextmanager
    def stream(self, name: str) -> Iterator[MemberWriter]:
        """Yield a writer for a member that is written in parts while the block runs."""
        info = zipfile.ZipInfo(name, _DATE)
        info.external_attr = _MODE
        with self._zip.open(info, "w", force_zip64=True) as handle:
            writer = MemberWriter(handle)
            yield writer
            writer.close()
        self._files[name] = writer.summary()

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, the last member."""
        manifest.files = self._files.copy()
        self.add(MANIFEST, manifest.encode())


class MemberWriter:
    """Write one member; gather small pieces, as each write to the ZIP file has a cost."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._digest = sha256()
        self._size = 0

    def write(self, data: bytes) -> None:
        """Write some bytes."""
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes >= 1 << 18:
            self._flush()

    def summary(self) -> tuple[int, str]:
        """Return size and SHA-256, once everything was written."""
        return self._size, self._digest.hexdigest()

    def _flush(self) -> None:
        data = b"".join(self._waiting)
        self._digest.update(data)
        self._size += len(data)
        self._handle.write(data)
        self._waiting, self._waiting_bytes = [], 0

    def close(self) -> None:
        """Write the gathered rest."""
        self._flush()


def encode_consistency(old: int, proof: Sequence[str]) -> bytes:
    """Return the member `consistency`, with the hashes in base64."""
    return "".join(f"{line}\n" for line in (f"old {old}", *proof)).encode()


def encode_rotations(rotations: Iterable[Rotation]) -> bytes:
    """Return the member `rotations` of a bundle."""
    return b"".join(rotation.note for rotation in rotations)


def add_page(writer: BundleWriter, manifest: Manifest, note: bytes, shown: Collected, zone: str) -> None:
    """Write the page. The manifest gets the zone's offsets at the moments that the page shows."""
    if zone != "UTC":
        manifest.local_time = local_time(zone, ZoneInfo(zone), (*shown.moments_us(), manifest.created_at_us))
    with writer.stream(PAGE) as member:
        for piece in page(manifest, note, shown):
            member.write(piece)

"""Containers of bundles, as the writer of exports makes them and otherwise; for tests/bundle_vectors.py."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator

from ledger.export.bundle_writer import BundleWriter
from ledger.proof.bundle import manifest as bundle
from ledger.proof.findings import Kind
from tests.bundle_vectors_selection import Made
from tests.ledger.proof.bundle.bundles import Case

# One byte, x, in a deflate block that stores it.
STORED_BLOCK = b"\x01\x01\x00\xfe\xffx"


def container_vectors(whole: bytes) -> Iterator[Made]:
    """Byte by byte, made of the members of a good bundle."""
    files = Case.read(whole).files
    good, damaged = archive(files), Kind.DAMAGED
    amount = b'amount_usd\\":\\"3.00'
    changed = files[bundle.EVENTS].replace(amount, amount[:-4] + b"9.00")
    yield "one byte of an event", archive({**files, bundle.EVENTS: changed}), Kind.EDITED, 3
    yield "one bit of a checksum", _other_checksum(good, bundle.EVENTS), Kind.FILE_MISMATCH, 0
    yield "one bit of the manifest's checksum", _other_checksum(good, bundle.MANIFEST), Kind.FILE_MISMATCH, 0
    yield "sizes of 32 bits in the local headers", _narrow(files), None, 0
    yield "cut short", good[:200], damaged, 0
    yield "bytes after the end", good + b"x", damaged, 0
    yield "a member that leads elsewhere", archive({**files, "../checkpoint": b"x"}), damaged, 0
    yield "a member that no bundle has", archive({**files, "notes.txt": b"x"}), damaged, 0
    rest = {name: data for name, data in files.items() if name != bundle.EDGE}
    yield "a member is missing", archive(rest), damaged, 0
    # The edge is six bytes.
    edge_first = archive({bundle.EDGE: STORED_BLOCK, **rest})
    yield "a zip bomb", _deflated(edge_first, 1 << 31), damaged, 0
    yield "a member of another size than stated", _deflated(edge_first, 2), damaged, 0


def packed(data: bytes) -> bytes:
    """Return the same bundle with the container of an export."""
    return archive(Case.read(data).files)


def archive(files: dict[str, bytes]) -> bytes:
    """Write the members as an export does: not compressed, without a time, the manifest last."""
    out = io.BytesIO()
    with BundleWriter(out) as writer:
        for name, content in sorted(files.items(), key=lambda item: item[0] == bundle.MANIFEST):
            writer.add(name, content)
    return out.getvalue()


def _narrow(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as written:
        for name, content in files.items():
            written.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    return out.getvalue()


def _other_checksum(data: bytes, name: str) -> bytes:
    """State another CRC-32 of a member, in its local header and in the directory."""
    parts = bytearray(data)
    for named, header, checksum in ((data.index(name.encode()), 30, 14), (data.rindex(name.encode()), 46, 16)):
        parts[named - header + checksum] ^= 1
    return bytes(parts)


def _deflated(data: bytes, size: int) -> bytes:
    """Mark the first member as deflated, and state this unpacked size."""
    local, entry = data.index(b"PK\3\4"), data.index(b"PK\1\2")
    parts = bytearray(data)
    parts[local + 8 : local + 10] = parts[entry + 10 : entry + 12] = b"\x08\x00"
    parts[entry + 24 : entry + 28] = size.to_bytes(4, "little")
    return bytes(parts)

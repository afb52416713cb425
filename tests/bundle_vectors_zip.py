"""Containers of bundles that are wrong in one thing, each for one rule of docs/formats/bundle.md, section 1."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from ledger.proof.bundle import manifest as bundle
from ledger.proof.findings import Kind

FULL = 0xFFFFFFFF
REGULAR, FOLDER, LINK = 0o100600, 0o040700, 0o120777


class Check(NamedTuple):
    """A bundle that one check alone refuses, or a good one: kind and position of its one finding, and words of it.

    `more` are members that the vector has besides.
    """

    name: str
    data: bytes
    kind: Kind | None
    position: int
    words: str
    more: Mapping[str, Any] = MappingProxyType({})


@dataclass
class Zip:
    """The container of an export, with what is otherwise: header values of one member, and bytes in between."""

    files: dict[str, bytes]
    of: str = bundle.EDGE
    local: dict[str, Any] = field(default_factory=dict)
    entry: dict[str, Any] = field(default_factory=dict)
    before: bytes = b""
    after: bytes = b""
    twice: bool = False
    count: int = 0
    end64: bool = False
    comment: bytes = b""

    def write(self) -> bytes:
        """Return its bytes."""
        out, directory, members = b"", b"", list(self.files.items())
        if self.twice:
            members.append((self.of, self.files[self.of]))
        for name, data in members:
            chosen = name == self.of
            out += self.before if chosen else b""
            directory += _entry(name, data, len(out), self.entry if chosen else {})
            out += _local(name, data, self.local if chosen else {}) + data
            out += self.after if chosen else b""
        count, start = self.count or len(members), len(out)
        if self.end64:
            wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), start)
            directory += wide + struct.pack("<4sLQL", b"PK\6\7", 0, start + len(directory), 1)
        size = len(directory) - (76 if self.end64 else 0)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, start, len(self.comment))
        return out + directory + end + self.comment


def extra(*sizes: int) -> bytes:
    """The extra field with 64-bit sizes."""
    return struct.pack(f"<2H{len(sizes)}Q", 1, 8 * len(sizes), *sizes)


def _local(name: str, data: bytes, otherwise: dict[str, Any]) -> bytes:
    values: dict[str, Any] = {"flags": 0, "method": 0, "crc": zlib.crc32(data), "size": FULL, "name": name} | otherwise
    wide = values.get("extra", extra(len(data), len(data)))
    numbers = 45, values["flags"], values["method"], 0, 33, values["crc"], FULL, values["size"]
    head = struct.pack("<4s5H3L2H", b"PK\3\4", *numbers, len(values["name"]), len(wide))
    return bytes(head + values["name"].encode() + wide)


def _entry(name: str, data: bytes, offset: int, otherwise: dict[str, Any]) -> bytes:
    values: dict[str, Any] = {
        "flags": 0,
        "method": 0,
        "time": 0,
        "extra": b"",
        "comment": b"",
        "mode": REGULAR,
        "size": len(data),
    }
    values |= otherwise
    head = struct.pack("<4s2B3H2H", b"PK\1\2", 45, 3, 45, values["flags"], values["method"], values["time"], 33)
    sizes = zlib.crc32(data), values["size"], values["size"], len(name), len(values["extra"]), len(values["comment"])
    rest = struct.pack("<3L3H2H2L", *sizes, 0, 0, values["mode"] << 16, offset)
    return bytes(head + rest + name.encode() + values["extra"] + values["comment"])


def zip_checks(files: dict[str, bytes]) -> Iterator[Check]:
    """All of them, made of the members of a good bundle."""
    size, crc = len(files[bundle.EDGE]), zlib.crc32(files[bundle.EDGE])
    both = {"an encrypted member": {"flags": 1}, "a member with a data descriptor": {"flags": 8}}
    both["a member with another flag"] = {"flags": 1 << 11}
    for name, values in both.items():
        words = "an encrypted file" if values["flags"] == 1 else "flags"
        yield _damaged(name, Zip(files, local=values, entry=values), words)
    disagrees, field_words, hidden = "its own header disagrees", "an extra field", "hidden bytes"
    other = extra(size, size)
    for name, made, words in (
        ("a name twice", Zip(files, twice=True), "two files of one name"),
        ("a member that its own header calls compressed", Zip(files, local={"method": 8}), "a compressed file"),
        ("a comment of the file", Zip(files, comment=b"x"), "no end record"),
        ("a comment of a member", Zip(files, entry={"comment": b"x"}), "a comment"),
        ("a byte before the first member", Zip(files, of=next(iter(files)), before=b"x"), hidden),
        ("a byte between two members", Zip(files, after=b"x"), hidden),
        ("a byte after the last member", Zip(files, of=list(files)[-1], after=b"x"), hidden),
        ("a local header with another name", Zip(files, local={"name": "EDGE"}), disagrees),
        ("a local header with another size", Zip(files, local={"extra": extra(size + 1, size)}), disagrees),
        ("a local header with another packed size", Zip(files, local={"extra": extra(size, size + 1)}), disagrees),
        ("a local header with another checksum", Zip(files, local={"crc": crc ^ 1}), disagrees),
        ("an extra field that nothing needs", Zip(files, entry={"extra": other}), field_words),
        ("64-bit sizes in the directory", Zip(files, entry={"size": FULL, "extra": other}), "below 2 GiB"),
        ("an extra field of another kind", Zip(files, entry={"extra": b"\x55\x54\1\0x"}), field_words),
        ("another name in the local header", Zip(files, local={"extra": other + b"\x75\x70\1\0x"}), field_words),
        ("a 64-bit end record that nothing needs", Zip(files, end64=True), "does not end where"),
        ("a symbolic link", Zip(files, entry={"mode": LINK}), "not a regular file"),
        ("a folder", Zip(files, entry={"mode": FOLDER}), "not a regular file"),
        ("more than 28 members", Zip(files, count=29), "29 files"),
        ("fewer members than the directory has", Zip(files, count=len(files) - 1), "after its last entry"),
    ):
        yield _damaged(name, made, words)
    for name, values in (("a member without a Unix mode", {"mode": 0}), ("a member of another time", {"time": 9})):
        yield Check(name, Zip(files, entry=values).write(), None, 0, "")


def _damaged(name: str, made: Zip, words: str) -> Check:
    return Check(name, made.write(), Kind.DAMAGED, 0, words)

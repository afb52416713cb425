"""Read and verify signed notes: a text and the signatures of named keys on it. Ed25519 only.

Source: C2SP signed-note; docs/formats/tlog.md section 4. A malformed, unsigned or wrongly signed note raises
NoteError, whose `flaw` names the reason.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import ClassVar, NamedTuple, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.proof.errors import EvidenceError

MAX_NOTE_BYTES = 512 * 1024
MAX_SIGNATURES = 100
MAX_NAME_BYTES = 255
MAX_KEY_CHARS = 4096

TYPE_ED25519 = 0x01
TYPE_COSIGNATURE = 0x04
KEY_TYPES = {TYPE_ED25519: "a log's key", TYPE_COSIGNATURE: "a witness's key"}
KEY_ID_BYTES = 4
KEY_BYTES = 32

_DASH = "\u2014 "
_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f]")
_NAME = re.compile(r"[^\s+\x00-\x20\ud800-\udfff]+")
_KEY = re.compile(r"([^+]+)\+([0-9a-f]{8})\+(.+)")

# The y coordinates, little-endian without the sign bit, of the points whose order divides 8, and the second encoding
# that two of them have (p = 2^255 - 19). With such a "key" one signature fits any text.
_SMALL_ORDER = {
    *(value.to_bytes(KEY_BYTES, "little") for value in (0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18)),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
}


class NoteFlaw(StrEnum):
    """The reasons for which a note or a key is refused."""

    TOO_LARGE = "note too large"
    CHARACTERS = "not UTF-8 free of control characters"
    STRUCTURE = "not a text, an empty line and signature lines"
    SIGNATURE_LINE = "malformed signature line"
    TOO_MANY = "too many signatures"
    KEY_NAME = "bad key name"
    KEY = "malformed key"
    KEY_TYPE = "unsupported key type"
    KEY_ID = "key id does not belong to the key"
    WEAK_KEY = "key of small order"
    AMBIGUOUS = "two known keys with one name and key id"
    UNSIGNED = "not signed by a known key"
    BAD_SIGNATURE = "bad signature"


class NoteError(EvidenceError):
    """The note or the key is not accepted."""


class Signature(NamedTuple):
    """One signature line. `blob` is what follows the key id: for type 0x01 the 64 bytes of the signature."""

    name: str
    key_id: int
    blob: bytes

    @property
    def line(self) -> str:
        """Return the signature line, with its newline."""
        raw = self.key_id.to_bytes(KEY_ID_BYTES, "big") + self.blob
        return f"{_DASH}{self.name} {base64.b64encode(raw).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note, not verified. `text` ends with a newline."""

    text: str
    signatures: tuple[Signature, ...]

    def encode(self) -> bytes:
        """Return the bytes of the note. Raises NoteError if `parse` would not return this note."""
        written = self.text + "\n" + "".join(signature.line for signature in self.signatures)
        data = written.encode("utf-8", "surrogatepass")  # a lone surrogate is then invalid UTF-8 for `parse`
        if parse(data) != self:
            raise NoteError(NoteFlaw.STRUCTURE, "the text does not end with a newline")
        return data

    def add(self, signatures: Iterable[Signature]) -> Note:
        """Return the note with more signatures. A new one replaces an old one with the same name and key id."""
        new = tuple(signatures)
        replaced = {(signature.name, signature.key_id) for signature in new}
        kept = (old for old in self.signatures if (old.name, old.key_id) not in replaced)
        return Note(self.text, (*kept, *new))


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note that at least one known key signed. `unknown` are the signatures by other keys."""

    text: str
    verified: tuple[Signature, ...]
    unknown: tuple[Signature, ...]


@dataclass(frozen=True)
class VerifierKey:
    """A named Ed25519 public key, for signatures over the text itself (type 0x01)."""

    kind: ClassVar[int] = TYPE_ED25519
    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not valid_name(self.name) or len(self.name.encode()) > MAX_NAME_BYTES:
            raise NoteError(NoteFlaw.KEY_NAME, "1 to 255 bytes without white space or +")
        if len(self.public) != KEY_BYTES:
            raise NoteError(NoteFlaw.KEY, f"a public key is 32 bytes, not {len(self.public)}")
        if self.public[:-1] + bytes([self.public[-1] & 0x7F]) in _SMALL_ORDER:
            raise NoteError(NoteFlaw.WEAK_KEY, self.name)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `name+id+base64`. Raises NoteError for every other spelling, and for a key of another type."""
        name, stated, public = decode_key(text, cls.kind)
        key = cls(name, public)
        key.expect_id(stated)
        return key

    @cached_property
    def key_id(self) -> int:
        """Return the first 4 bytes of SHA-256(name || 0x0A || type || public key)."""
        digest = sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()
        return int.from_bytes(digest[:KEY_ID_BYTES], "big")

    def expect_id(self, stated: int) -> None:
        """Raise NoteError unless this is the key id that was stated for the key."""
        if stated != self.key_id:
            raise NoteError(NoteFlaw.KEY_ID, f"{stated:08x} is stated, {self.key_id:08x} computed")

    @property
    def text(self) -> str:
        """Return the key in the form that `parse` reads."""
        return encode_key(self, self.public)

    def check(self, text: bytes, blob: bytes) -> None:
        """Raise NoteError unless `blob` is this key's signature on the note text."""
        self._verify(blob, text)

    def _verify(self, signature: bytes, message: bytes) -> None:
        try:
            self._point.verify(signature, message)
        except InvalidSignature:
            raise NoteError(NoteFlaw.BAD_SIGNATURE, f"{self.name}+{self.key_id:08x}") from None

    @cached_property
    def _point(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.public)


def parse(data: bytes) -> Note:
    """Parse a note without verifying it. Raises NoteError."""
    if len(data) > MAX_NOTE_BYTES:
        raise NoteError(NoteFlaw.TOO_LARGE, f"{len(data)} bytes")
    body, separator, lines = _characters(data).rpartition("\n\n")
    if not separator:
        raise NoteError(NoteFlaw.STRUCTURE, "no empty line")
    return Note(body + "\n", parse_signatures(lines))


def parse_signatures(lines: str) -> tuple[Signature, ...]:
    """Parse signature lines, at least one, each with its newline: the end of a note, or the answer of a witness."""
    if not lines.endswith("\n"):
        raise NoteError(NoteFlaw.STRUCTURE, "the last line is not a signature line with a newline")
    if lines.count("\n") > MAX_SIGNATURES:
        raise NoteError(NoteFlaw.TOO_MANY, f"more than {MAX_SIGNATURES}")
    return tuple(_parse_line(line) for line in lines[:-1].split("\n"))


def open_note(data: bytes, known: Sequence[VerifierKey]) -> OpenedNote:
    """Parse a note and verify it with the known keys: docs/formats/tlog.md section 4. Raises NoteError."""
    keys: dict[tuple[str, int], VerifierKey] = {}
    for key in known:
        if keys.setdefault((key.name, key.key_id), key) != key:
            raise NoteError(NoteFlaw.AMBIGUOUS, f"{key.name}+{key.key_id:08x}")
    note = parse(data)
    text = note.text.encode()
    verified, unknown = [], []
    for signature in dict.fromkeys(note.signatures):  # an exact repetition adds nothing
        signer = keys.get((signature.name, signature.key_id))
        if signer is None:
            unknown.append(signature)
        else:
            signer.check(text, signature.blob)
            verified.append(signature)
    if not verified:
        raise NoteError(NoteFlaw.UNSIGNED, f"{len(unknown)} signatures, none by a known key")
    return OpenedNote(note.text, tuple(verified), tuple(unknown))


def valid_name(name: str) -> bool:
    """Return True if a key may have this name: not empty, no Unicode white space, no `+`, no control characters."""
    return _NAME.fullmatch(name) is not None


def strict_base64(text: str) -> bytes:
    """Decode RFC 4648 section 4. Raises ValueError for all but the canonical encoding."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("not canonical base64")
    return data


def _characters(data: bytes) -> str:
    if control := _CONTROL.search(data):
        raise NoteError(NoteFlaw.CHARACTERS, f"{control[0]!a} at byte {control.start()}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteError(NoteFlaw.CHARACTERS, f"byte {error.start}") from None


def _parse_line(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    try:
        raw = strict_base64(encoded)
    except ValueError:
        raw = b""
    if not line.startswith(_DASH) or not valid_name(name) or len(raw) <= KEY_ID_BYTES:
        raise NoteError(NoteFlaw.SIGNATURE_LINE, ascii(line[:80]))
    return Signature(name, int.from_bytes(raw[:KEY_ID_BYTES], "big"), raw[KEY_ID_BYTES:])


def encode_key(key: VerifierKey, material: bytes) -> str:
    """Return `name+id+base64` of a key: of its public part, or of the private one."""
    return f"{key.name}+{key.key_id:08x}+{base64.b64encode(bytes([key.kind]) + material).decode()}"


def decode_key(text: str, kind: int) -> tuple[str, int, bytes]:
    """Return name, stated key id and 32 bytes of a key. Raises NoteError, without the text: it may be a private key."""
    match = _KEY.fullmatch(text) if len(text) <= MAX_KEY_CHARS else None
    try:
        name, stated, encoded = match.groups() if match else ("", "", "!")
        material = strict_base64(encoded)
    except ValueError:
        raise NoteError(NoteFlaw.KEY, "a key is <name>+<8 lowercase hex digits>+<base64>") from None
    if material[0] != kind:
        raise NoteError(NoteFlaw.KEY_TYPE, f"{_type_of(material[0])} where {_type_of(kind)} is needed")
    if len(material) != 1 + KEY_BYTES:
        raise NoteError(NoteFlaw.KEY, f"{len(material) - 1} bytes where 32 belong")
    return name, int(stated, 16), material[1:]


def _type_of(kind: int) -> str:
    return f"type {kind:#04x}" + (f", {KEY_TYPES[kind]}," if kind in KEY_TYPES else "")

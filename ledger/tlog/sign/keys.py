"""Read and write the signing key, which is in a file that only its owner can read, or in the environment; never in the
database.

The file holds one line, the signer key of docs/formats/tlog.md section 4. After a rotation, the public part of the old
key is kept beside it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TypeVar

from ledger.proof.format.text import decoded
from ledger.proof.tlog.note import NoteError, valid_name
from ledger.tlog.sign.errors import KeyUnusable, NoKey
from ledger.tlog.signing_keys import PrivateKey, SigningKey

K = TypeVar("K", bound=PrivateKey)

MAX_BYTES = 8192
OWNER_ONLY = 0o600


def generate(origin: str, path: Path) -> SigningKey:
    """Make a key for this ledger's log in a new file. Raises KeyUnusable, also if the file exists."""
    return generate_of(SigningKey, origin, path)


def generate_of(kind: type[K], origin: str, path: Path) -> K:
    """Make a key of this kind and name, as `generate()` does."""
    if not valid_name(origin):
        raise KeyUnusable(f"{origin!a} cannot be the name of a key: it has white space or a plus sign")
    key = kind.generate(origin)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    except FileExistsError as error:
        raise KeyUnusable(f"{path} exists, and a key is never overwritten") from error
    except OSError as error:
        raise KeyUnusable(f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "w", encoding="ascii", errors="surrogateescape") as file:
            file.write(key.reveal() + "\n")
            file.flush()
            os.fsync(file.fileno())
        sync_folder(path)
    except OSError as error:
        path.unlink()  # leave no part of a key
        raise KeyUnusable(f"{path}: {error.strerror}") from error
    return key


def read(path: Path) -> SigningKey:
    """Read the log's key in a file. Raises KeyUnusable, also if others may read the file, and NoKey without a key."""
    return read_of(SigningKey, path)


def read_of(kind: type[K], path: Path) -> K:
    """Read a key of this kind, as `read()` does."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            raw = file.read(MAX_BYTES)
    except FileNotFoundError as error:
        raise KeyUnusable(f"{path}: {error.strerror}; make one with: advice-ledger keys generate") from error
    except OSError as error:
        raise KeyUnusable(f"{path}: {error.strerror}") from error
    if mode & 0o077:
        raise KeyUnusable(f"{path} can be read by others (mode {mode:o}): chmod 600 {path}")
    try:
        return parse_of(kind, decoded(raw), str(path))
    except UnicodeDecodeError:
        raise NoKey(f"{path} holds no signing key: it is not a text file in UTF-8 or UTF-16") from None


def parse(text: str, where: str) -> SigningKey:
    """Read the log's key in a text. Raises NoKey, whose message has `where` and not the text."""
    return parse_of(SigningKey, text, where)


def parse_of(kind: type[K], text: str, where: str) -> K:
    """Read a key of this kind, as `parse()` does."""
    try:
        return kind.parse(text.strip())
    except NoteError as error:
        raise NoKey(f"{where} holds no signing key: {error.flaw}") from None


def sync_folder(path: Path) -> None:
    """Sync a folder after a file was created, renamed or removed in it. Raises OSError."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

"""The log's signing key: in a file that only its owner can read, or in the environment. Never in the database.

The file holds one line, the signer key of docs/formats/tlog.md section 4. Old keys of a rotated log are kept beside it
for their public part.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ledger.proof.tlog.note import NoteError, SigningKey, valid_name
from ledger.tlog.sign.errors import KeyUnusable, NoKey

MAX_BYTES = 8192
OWNER_ONLY = 0o600


def generate(origin: str, path: Path) -> SigningKey:
    """A new key for this ledger, in a new file. Raises KeyUnusable; a file that is there is never written over."""
    if not valid_name(origin):
        raise KeyUnusable(f"{origin!a} cannot be the name of a key: it has white space or a plus sign")
    key = SigningKey.generate(origin)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    except FileExistsError as error:
        raise KeyUnusable(f"{path} is there already, and a key is never written over") from error
    except OSError as error:
        raise KeyUnusable(f"{path}: {error.strerror}") from error
    with os.fdopen(handle, "w", encoding="ascii", errors="surrogateescape") as file:
        file.write(key.reveal() + "\n")
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path)
    return key


def read(path: Path) -> SigningKey:
    """The key in a file. Raises KeyUnusable, also where others than the owner may read it; NoKey where it has none."""
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
    return parse(raw.decode("utf-8", "replace"), str(path))


def parse(text: str, where: str) -> SigningKey:
    """The key in a text, such as an environment variable's. Raises NoKey, naming only `where`."""
    try:
        return SigningKey.parse(text.strip())
    except NoteError as error:
        raise NoKey(f"{where} holds no signing key: {error.flaw}") from None


def sync_folder(path: Path) -> None:
    """Makes it durable that a file is in its folder, or is no more. Raises OSError."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

"""Read and write the key of a witness: one line in a file that only its owner can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ledger.proof.format.text import decoded
from ledger.proof.tlog.note import NoteError
from ledger.tlog.sign.errors import KeyUnusable
from ledger.tlog.signing_keys import WitnessSigningKey

MAX_BYTES = 8192


def new(name: str) -> WitnessSigningKey:
    """Make a key, without storing it. Raises KeyUnusable for an invalid name."""
    try:
        return WitnessSigningKey.generate(name)
    except NoteError as error:
        raise KeyUnusable(str(error)) from None


def write(key: WitnessSigningKey, path: Path) -> None:
    """Write the key to a new file. Raises KeyUnusable, also if the file exists."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyUnusable(f"{path} exists, and a key is never overwritten") from error
    except OSError as error:
        raise KeyUnusable(f"{path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(key.reveal() + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink()  # leave no part of a key
        raise KeyUnusable(f"{path}: {error.strerror}") from error


def read(path: Path) -> WitnessSigningKey:
    """Read the key in a file. Raises KeyUnusable, also if others than the owner may read it."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            raw = file.read(MAX_BYTES)
    except OSError as error:
        raise KeyUnusable(f"{path}: {error.strerror}; make one with: advice-ledger witness keygen") from error
    if mode & 0o077:
        raise KeyUnusable(f"{path} can be read by others (mode {mode:o}): chmod 600 {path}")
    try:
        return WitnessSigningKey.parse(decoded(raw).strip())
    except UnicodeDecodeError:
        raise KeyUnusable(f"{path} holds no witness's key: it is not a text file in UTF-8 or UTF-16") from None
    except NoteError as error:
        raise KeyUnusable(f"{path} holds no witness's key: {error.flaw}") from None

"""The state file: what was signed last, in a small file beside the key, outside the database.

The leading process holds a lock on FILE.lock. Before it writes, it checks that FILE is still what it read. It writes a
new file, syncs and renames it: a crash leaves the old file or the new one. The file is JSON:

    note     the last signed checkpoint, verbatim
    event    hash of the event at its size, hex
    edge     {tile level: hashes of its partial tile, base64}, from which the tree grows on
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson

from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.proof.tlog.merkle import EMPTY_ROOT, root_at
from ledger.proof.tlog.note import VerifierKey
from ledger.proof.tlog.tiles import WIDTH, Tile, reader
from ledger.tlog.sign.errors import StateDamaged, StateTaken
from ledger.tlog.sign.keys import sync_folder
from ledger.tlog.signing_keys import SigningKey, sign_checkpoint
from ledger.tlog.tree import Growth

MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Signed:
    """The last signed tree; before the first, size 0 and no note. `edge` is for ledger.proof.tlog.tiles.grow."""

    size: int = 0
    root: bytes = EMPTY_ROOT
    event: bytes = b""
    note: str = ""
    edge: dict[int, bytes] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the content of the file."""
        edge = {str(level): base64.b64encode(hashes).decode() for level, hashes in self.edge.items()}
        return orjson.dumps({"note": self.note, "event": self.event.hex(), "edge": edge}, option=orjson.OPT_INDENT_2)

    @classmethod
    def decode(cls, raw: bytes, origin: str, keys: Sequence[VerifierKey]) -> Signed:
        """Read the content; one of `keys` signed the note, and the edge has its root. Raises StateDamaged."""
        try:
            content = orjson.loads(raw)
            edge = {int(level): base64.b64decode(hashes, validate=True) for level, hashes in content["edge"].items()}
            note, event = str(content["note"]), bytes.fromhex(content["event"])
            checkpoint = open_checkpoint(note.encode(), origin, keys).checkpoint
            _check_edge(checkpoint, edge)
        except (orjson.JSONDecodeError, binascii.Error, AttributeError, KeyError, TypeError, ValueError) as error:
            raise StateDamaged(f"the signer's file is damaged ({type(error).__name__})") from error
        except EvidenceError as error:
            raise StateDamaged(f"the signer's file is damaged: {error}") from error
        return cls(checkpoint.size, checkpoint.root, event, note, edge)


def last_note(path: Path) -> bytes | None:
    """Return the checkpoint in a state file, by any signer; None without a file. Raises StateDamaged."""
    try:
        return str(orjson.loads(path.read_bytes())["note"]).encode() or None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise StateDamaged(f"{path} cannot be read as what was signed last ({type(error).__name__})") from error


def _check_edge(checkpoint: Checkpoint, edge: dict[int, bytes]) -> None:
    def fetch(tiles: Sequence[Tile]) -> list[bytes]:
        return [edge.get(tile.level, b"") for tile in tiles]

    if root_at(checkpoint.size, reader(checkpoint.size, fetch)) != checkpoint.root:
        raise ValueError("the edge does not have the root that was signed")


class StateFile:
    """The state file, for the one process that holds its lock."""

    def __init__(self, path: Path, origin: str, keys: Sequence[VerifierKey]) -> None:
        self.path = path
        self._origin = origin
        self._keys = keys
        self._raw: bytes | None = None

    @contextlib.contextmanager
    def held(self) -> Iterator[StateFile]:
        """Lock the file against other processes of this machine while the block runs. Raises StateTaken."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StateTaken(f"another process signs with {self.path}") from error
            yield self
        finally:
            os.close(handle)

    def read(self) -> Signed | None:
        """Return what was signed last; None without a file. Raises StateDamaged."""
        self._raw = self._bytes()
        return None if self._raw is None else Signed.decode(self._raw, self._origin, self._keys)

    def write(self, signed: Signed) -> None:
        """Replace what this process read or wrote last. Raises StateTaken if the file was changed meanwhile."""
        if self._bytes() != self._raw:
            raise StateTaken(f"{self.path} was changed by another process")
        raw = signed.encode()
        fresh = self.path.with_name(self.path.name + ".new")
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
        sync_folder(self.path)
        self._raw = raw

    def keep(self, ending: str) -> None:
        """Copy the file to FILE.ending, so that it is not lost."""
        raw = self._bytes()
        if raw is not None:
            self.path.with_name(f"{self.path.name}.{ending}").write_bytes(raw)

    def replace(self, signed: Signed) -> None:
        """Replace the file, whatever its content."""
        self._raw = self._bytes()
        self.write(signed)

    def _bytes(self) -> bytes | None:
        try:
            with self.path.open("rb") as file:
                return file.read(MAX_BYTES)
        except FileNotFoundError:
            return None


def edge_after(edge: dict[int, bytes], grown: Growth) -> dict[int, bytes]:
    """Return the partial tile of each level after the tree has grown."""
    edge_now = dict(edge)
    for tile, content in grown.tiles:
        if tile.width == WIDTH:
            edge_now.pop(tile.level, None)
        else:
            edge_now[tile.level] = content
    return edge_now


def resigned(signed: Signed, key: SigningKey, origin: str) -> Signed:
    """Return the same tree, signed by `key`."""
    note = sign_checkpoint(Checkpoint(origin, signed.size, signed.root), key)
    return replace(signed, note=note.encode().decode())

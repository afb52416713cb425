"""Read and write the last signed checkpoint: in the state file beside the key, and in a copy in another folder.

Each protects against another accident. The file moves with the key. The copy is outside the data folder, so it stays
when an older copy of that folder is restored. A signer, and each other reader, believes both: the database must
continue the trees of both.

Order of writing: the copy, then the file. Nothing is published before both are on disk. If the process dies in
between, the copy is one checkpoint ahead of the file, and the next signer continues from the copy. So no checkpoint
ever exists only in a folder that can be restored.

If one of the two is missing, as on a new machine, the other is believed, and the missing one is written again. That is
logged, because it is trust on first use.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ledger.database import Connection
from ledger.proof.tlog.note import VerifierKey
from ledger.tlog.sign.errors import Rewritten, RolledBack, StateDamaged
from ledger.tlog.sign.state_file import Signed, StateFile
from ledger.wording import counted

log = logging.getLogger(__name__)

EVENT_HASH = "SELECT hash FROM events WHERE position = %s"
# Replaced, so that the name is valid for a folder on any system. The key's id distinguishes names that become equal.
NOT_IN_FILE_NAMES = re.compile(r"[^A-Za-z0-9.-]")
MAX_NAME_CHARS = 100
OWNER_ONLY_FOLDER = 0o700


def copy_path(folder: Path, key: VerifierKey) -> Path:
    """Return the path of the copy for one ledger and key."""
    return folder / f"{NOT_IN_FILE_NAMES.sub('_', key.name)[:MAX_NAME_CHARS]}+{key.key_id:08x}.last"


def last_signed_paths(path: Path, copies: Path | None, key: VerifierKey) -> list[Path]:
    """Return the paths of the files that hold the last signed checkpoint, in the order in which they are written."""
    return [path] if copies is None else [copy_path(copies, key), path]


class LastSigned:
    """The last checkpoint signed with `key`. `path`: the state file; `copies`: the folder of its copy, or None."""

    def __init__(self, path: Path, copies: Path | None, key: VerifierKey) -> None:
        self.path = path
        self._folder = copies
        self._files = [StateFile(found, key.name, [key]) for found in last_signed_paths(path, copies, key)]

    @contextlib.contextmanager
    def held(self) -> Iterator[LastSigned]:
        """Lock the files against other processes of this machine while the block runs. Raises StateTaken."""
        self._make_folder()
        with contextlib.ExitStack() as stack:
            for file in self._files:
                stack.enter_context(file.held())
            yield self

    def read(self) -> list[Signed]:
        """Return the content of each file, the newest first; an empty list without files. Raises StateDamaged."""
        return [signed for _, signed in self._read()]

    def known_events(self) -> list[tuple[int, bytes]]:
        """Return position and hash of the last event of each signed tree. A file that cannot be read is left out."""
        known = []
        for file in self._files:
            with contextlib.suppress(OSError, StateDamaged):
                signed = file.read()
                if signed is not None:
                    known.append((signed.size, signed.event))
        return known

    def newest(self) -> tuple[Path, Signed]:
        """Return the newest, and the path of a file that has it; size 0 without files. Raises StateDamaged."""
        return next(iter(self._read()), (self.path, Signed()))

    def write(self, signed: Signed) -> None:
        """Replace what this process read or wrote last. Raises StateTaken if a file was changed meanwhile."""
        for file in self._files:
            file.write(signed)

    def repair(self, signed: Signed) -> None:
        """Write `signed`, which was read from one of the files, to the files that lack it."""
        for file in self._files:
            found = file.read()
            if found is None:
                log.warning(
                    "%s is not there: what was signed last is taken from the other file, a checkpoint over %s",
                    file.path,
                    counted(signed.size, "event"),
                )
            if found != signed:
                file.write(signed)

    def replace(self, signed: Signed) -> None:
        """Replace the files, whatever their content."""
        self._make_folder()
        for file in self._files:
            file.replace(signed)

    def keep(self, ending: str) -> None:
        """Copy each file to FILE.ending, so that it is not lost."""
        for file in self._files:
            file.keep(ending)

    def _make_folder(self) -> None:
        if self._folder is not None:
            self._folder.mkdir(mode=OWNER_ONLY_FOLDER, parents=True, exist_ok=True)

    def _read(self) -> list[tuple[Path, Signed]]:
        found = [(file.path, _sound(file)) for file in self._files]
        known = [(path, signed) for path, signed in found if signed is not None]
        return sorted(known, key=lambda pair: pair[1].size, reverse=True)


def check_continues(conn: Connection, position: int, known: Iterable[Signed]) -> None:
    """Check that the events, of which the last is at `position`, continue each signed tree.

    Raises RolledBack or Rewritten.
    """
    for signed in known:
        if position < signed.size:
            raise RolledBack(
                f"the database has {counted(position, 'event')}, and a checkpoint over {signed.size} was signed: an"
                " older copy was restored. Restore a copy with these events (docs/operate/tlog.md, Restoring)"
            )
        if signed.size and event_hash(conn, signed.size) != signed.event:
            raise Rewritten(
                f"the event at position {signed.size} is not the one that was signed: the chain was rewritten or"
                " another copy was restored and written on (docs/operate/tlog.md, Restoring)"
            )


def event_hash(conn: Connection, position: int) -> bytes | None:
    """Return the hash of the event at a position; None if there is no event or no hash."""
    row = conn.execute(EVENT_HASH, [position]).fetchone()
    return None if row is None or row[0] is None else bytes(row[0])


def _sound(file: StateFile) -> Signed | None:
    try:
        return file.read()
    except StateDamaged as error:
        raise StateDamaged(f"{file.path}: {error}") from error

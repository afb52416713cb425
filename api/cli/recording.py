"""Record who looks, and choose the key that attests the events of a process.

The key is the configured one, or the one beside the embedded database.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from api.cli.configure import data_folder, origin_of
from api.cli.shared import CannotRun, note
from api.postgres.connect import connect
from api.settings import Settings
from ledger.database import Url
from ledger.service.accesses import Access, Item
from ledger.service.ledger import Ledger
from ledger.store.recorder import Recorder
from ledger.tlog import recording_keys
from schema.accesses import MOST_SHOWN

IN_DATA_DIR = "recording.key"
STANDBY = "SELECT pg_is_in_recovery()"


def key_path(settings: Settings) -> Path | None:
    """Return the file of the recording key; None if it has no place, or if attesting is turned off."""
    if not settings.attest:
        return None
    folder = data_folder(settings)
    return settings.recording_key or (None if folder is None else folder / IN_DATA_DIR)


def recorder_of(settings: Settings, url: Url) -> Recorder | None:
    """Return the recorder that attests a command's events; None without a key. Raises KeyUnusable."""
    path = key_path(settings)
    if path is None or (settings.recording_key is None and not path.exists()):
        return None
    key = recording_keys.read(path)
    with connect(url, "reader") as conn:
        in_use = recording_keys.check_in_use(conn, key, origin_of(conn), path)
    return recording_keys.recorder(key) if in_use else None


def ensure_recorder(settings: Settings, url: Url) -> Recorder | None:
    """Return the recorder that attests a server's events; None without a place for a key.

    A ledger without recording keys gets this key. Beside the embedded database, the first start makes it. Raises
    KeyUnusable and CannotRun.
    """
    path = key_path(settings)
    if path is None:
        return None
    with connect(url, "reader") as conn:
        if settings.recording_key is None and not path.exists():
            if recording_keys.registered(conn):
                raise CannotRun(f"{path}, which attests what is recorded, is gone: put it back")
            made = recording_keys.generate(origin_of(conn), path)
            note(f"made {path}, which attests what is recorded: {made.verifier.text}")
        key = recording_keys.read(path)
        if not recording_keys.check_in_use(conn, key, origin_of(conn), path):
            with connect(url, "writer") as writer:
                recording_keys.register_first(writer, key)
    return recording_keys.recorder(key)


async def record_reader(ledger: Ledger, access: Access, items: Sequence[Item]) -> None:
    """Record the access. On a standby nothing can be recorded, and a note says so."""
    if await ledger.readers.fetch_one(STANDBY, []) == (True,):
        note("it is not recorded who looks: the database is a standby")
        return
    for start in range(0, max(1, len(items)), MOST_SHOWN):
        await ledger.accesses.record(access, items[start : start + MOST_SHOWN], len(items))

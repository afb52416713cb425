"""Make, register and replace the recording keys of a ledger: docs/formats/recording.md.

The key is in a file that only its owner can read. Its name is that of the ledger with `/recording` after it.
"""

from __future__ import annotations

import os
from pathlib import Path

from ledger.database import Connection
from ledger.proof.recording.attestation import STREAM, AttestationChecker, read_registration
from ledger.proof.tlog.note import VerifierKey
from ledger.store.attested import REGISTRATIONS
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.events import append_now
from ledger.store.recorder import Recorder
from ledger.tlog.sign import keys
from ledger.tlog.sign.errors import KeyUnusable, NoKey
from ledger.tlog.signing_keys import RecordingKey
from schema.events import RecordingKeyRegistered

ENDING = "/recording"
ACTOR = Actor(id="advice-ledger", kind="service", role="recorder")
EVERYTHING = 2**63 - 1


def generate(origin: str, path: Path) -> RecordingKey:
    """Make a key in a new file. Raises KeyUnusable, also if the file exists."""
    return keys.generate_of(RecordingKey, origin + ENDING, path)


def read(path: Path) -> RecordingKey:
    """Read the key in a file. Raises KeyUnusable."""
    key = keys.read_of(RecordingKey, path)
    if not key.verifier.name.endswith(ENDING):
        raise NoKey(f"{path} holds no recording key: its name does not end with {ENDING}")
    return key


def origin_of(key: VerifierKey) -> str:
    """Return the name of the ledger that a recording key is for."""
    return key.name.removesuffix(ENDING)


def recorder(key: RecordingKey) -> Recorder:
    """Return the recorder that attests with this key."""
    return Recorder(origin_of(key.verifier), key.verifier.public, key.attest)


def registered(conn: Connection) -> dict[bytes, bool]:
    """Return the keys that the ledger registered, by public key, with True for a key in use. Raises psycopg.Error."""
    checker = AttestationChecker("")
    for position, body in conn.execute(REGISTRATIONS, [STREAM, EVERYTHING]):
        registration = read_registration(body.encode())
        if registration is not None:
            checker.register(position, registration)
    return {public: key.replaced is None for public, key in checker.keys.items()}


def register_first(writer: Connection, key: RecordingKey) -> None:
    """Record the first key, which attests its own registration. Raises psycopg.Error if the ledger has another."""
    event = RecordingKeyRegistered(key=key.verifier.text)
    append_now(writer, NewEvent(uuid7(), STREAM, event, ACTOR, "no_stream"), recorder(key))


def register(writer: Connection, by: RecordingKey, key: VerifierKey, actor: Actor, *, replaces: bool = False) -> None:
    """Record another key, attested by a key that is in use, which the new one may replace. Raises psycopg.Error."""
    event = RecordingKeyRegistered(key=key.text, replaces=by.verifier.text if replaces else None)
    append_now(writer, NewEvent(uuid7(), STREAM, event, actor), recorder(by))


def rotate(reader: Connection, writer: Connection, path: Path, actor: Actor) -> RecordingKey:
    """Replace the key in this file by a new one, and return it. Raises KeyUnusable and psycopg.Error.

    After a crash, run it again: it continues with the key in FILE.new.

    1. FILE.new           holds the new key
    2. the event          is recorded; from here on append() accepts nothing that the old key attests
    3. FILE.new to FILE   from here on the new key attests
    """
    fresh, old = path.with_name(f"{path.name}.new"), read(path)
    new = _begun(fresh) or generate(origin_of(old.verifier), fresh)
    known = registered(reader)
    if known and new.verifier.public not in known:
        register(writer, old, new.verifier, actor, replaces=True)
    fresh.replace(path)
    keys.sync_folder(path)
    return new


def _begun(fresh: Path) -> RecordingKey | None:
    """Return the new key of a rotation that was not finished. A file without a whole key cannot name a recorded one."""
    if not os.path.lexists(fresh):
        return None
    try:
        return read(fresh)
    except NoKey:
        fresh.unlink()
        return None


def check_in_use(conn: Connection, key: RecordingKey, origin: str, path: Path) -> bool:
    """Return whether the ledger has recording keys. Raises KeyUnusable if it has some, and this one is not in use."""
    if origin_of(key.verifier) != origin:
        raise KeyUnusable(f"{path} is the recording key of {origin_of(key.verifier)}, and this ledger is {origin}")
    known = registered(conn)
    if known and not known.get(key.verifier.public, False):
        raise KeyUnusable(
            f"the recording key in {path} is not in use in this ledger: put the right one there, or register it by a"
            f" process that has one: advice-ledger keys recording register {key.verifier.text}"
        )
    return bool(known)

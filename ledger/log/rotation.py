"""Another key for the log: recorded as an event that both keys signed, so who trusts the old one may trust the new.

The statement and both signatures make a signed note (docs/format-log.md section 4), whose text is

    advice-ledger/log-key-rotation/v1
    origin <the ledger's name>
    old <verifier key>
    new <verifier key>

Order of the steps; after a crash between any two, `advice-ledger keys rotate` goes on where it ended:

    1. FILE.new             the new key; from here on nothing is signed until the rotation is done
    2. the event            both keys have said so, on record
    3. FILE.old-KEYID       the old verifier key: its private part goes with the next step
    4. FILE.new to FILE     from here on the new key signs
    5. FILE.last            signed again by the new key; a sealer that finds this undone does it itself
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
from pydantic import ValidationError

from ledger.log import keys
from ledger.log.errors import KeyUnusable, StateDamaged, StateTaken
from ledger.log.sealer import Sealer, resigned
from ledger.log.state import StateFile
from ledger.proof.merkle import LogError
from ledger.proof.note import Note, Signature, SigningKey, VerifierKey, open_note, strict_base64
from schema.events import LogKeyRotated

STREAM = "policy-log-key"
HEADER = "advice-ledger/log-key-rotation/v1"
ROTATIONS = "SELECT body FROM events WHERE stream = %s ORDER BY version"

Connection = psycopg.Connection[Any]


def statement(old: VerifierKey, new: VerifierKey) -> str:
    """What both keys sign."""
    return f"{HEADER}\norigin {old.name}\nold {old.text}\nnew {new.text}\n"


def rotated(old: SigningKey, new: SigningKey) -> LogKeyRotated:
    """The event, with both signatures, checked. Raises LogError, or ValueError for two keys that are one."""
    text = statement(old.verifier, new.verifier)
    event = LogKeyRotated(
        old=old.verifier.text,
        new=new.verifier.text,
        statement=text,
        old_signature=_written(old.sign(text)),
        new_signature=_written(new.sign(text)),
    )
    check(event)
    return event


def check(event: LogKeyRotated) -> tuple[VerifierKey, VerifierKey]:
    """The old key and the new one, once it is shown that both signed this. Raises LogError or ValueError."""
    old, new = VerifierKey.parse(event.old), VerifierKey.parse(event.new)
    if old == new or old.name != new.name:
        raise ValueError("a rotation leads from one key of a log to another of the same log")
    if event.statement != statement(old, new):
        raise ValueError("the statement is not about these keys")
    signed = [(old, event.old_signature), (new, event.new_signature)]
    note = Note(event.statement, tuple(_read(key, written) for key, written in signed))
    if len(open_note(note.encode(), [old, new]).verified) != len(signed):
        raise ValueError("the statement is not signed by both keys")
    return old, new


def rotations(conn: Connection, origin: str) -> list[tuple[VerifierKey, VerifierKey]]:
    """Old and new key of each rotation that this ledger has on record; what does not hold is none."""
    found = []
    for (body,) in conn.execute(ROTATIONS, [STREAM]).fetchall():
        with contextlib.suppress(LogError, ValidationError, ValueError, KeyError, TypeError):
            old, new = check(LogKeyRotated.model_validate(orjson.loads(body)["data"]))
            if old.name == origin:
                found.append((old, new))
    return found


@contextlib.contextmanager
def leading(conn: Connection, key: SigningKey, path: Path) -> Iterator[Sealer | None]:
    """A sealer that leads while the block runs, with step 5 done; None where another one leads, or has the file."""
    file = StateFile(path, key.verifier.name, [key.verifier])
    sealer = Sealer(conn, key, file)
    with contextlib.ExitStack() as stack:
        found = None
        if sealer.lead():
            with contextlib.suppress(StateTaken):
                stack.enter_context(file.held())
                found = sealer
        if found is not None:
            finish(conn, key, path)
        yield found


def finish(conn: Connection, key: SigningKey, path: Path) -> bool:
    """Step 5: a file that the key before this one signed is signed by this one. Whether there was something to do.

    A file that is damaged in any other way is left to whoever reads it next.
    """
    origin = key.verifier.name
    with contextlib.suppress(StateDamaged):
        StateFile(path, origin, [key.verifier]).read()
        return False
    former = [old for old, new in rotations(conn, origin) if new == key.verifier]
    if not former:
        return False
    file = StateFile(path, origin, former)
    with contextlib.suppress(StateDamaged):
        signed = file.read()
        if signed is not None:
            file.write(resigned(signed, key, origin))
            return True
    return False


def beside(path: Path, ending: str) -> Path:
    """FILE.ending."""
    return path.with_name(f"{path.name}.{ending}")


def pending(path: Path) -> bool:
    """Whether a rotation of this key was begun and not ended."""
    return beside(path, "new").exists()


def prepare(origin: str, path: Path) -> SigningKey:
    """Step 1: the new key, made now or by a rotation that did not end. Raises KeyUnusable."""
    fresh = beside(path, "new")
    if fresh.exists():
        try:
            return keys.read(fresh)
        except KeyUnusable:
            fresh.unlink()  # a crash while it was written: nothing can have been recorded of it
    return keys.generate(origin, fresh)


def on_record(conn: Connection, old: SigningKey, new: SigningKey) -> bool:
    """Whether step 2 is done."""
    return (old.verifier, new.verifier) in rotations(conn, old.verifier.name)


def replace(path: Path, old: VerifierKey) -> None:
    """Steps 3 and 4."""
    kept = beside(path, f"old-{old.key_id:08x}")
    with kept.open("w", encoding="utf-8") as file:
        file.write(old.text + "\n")
        file.flush()
        os.fsync(file.fileno())
    beside(path, "new").replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _written(signature: Signature) -> str:
    """The last word of the signature line."""
    return signature.line.rstrip("\n").rpartition(" ")[2]


def _read(key: VerifierKey, written: str) -> Signature:
    raw = strict_base64(written)
    return Signature(key.name, int.from_bytes(raw[:4], "big"), raw[4:])

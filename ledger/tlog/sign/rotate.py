"""Another key for the log: recorded as an event that both keys signed, so who trusts the old one may trust the new.

What both keys sign, and how it is checked: ledger/proof/tlog/key_rotation.py.

Order of the steps; after a crash between any two, `advice-ledger keys rotate` goes on where it ended:

    1. FILE.new             the new key; while it is there nothing starts to sign with FILE
    2. the event            both keys have said so, on record; from here on a signer refuses the old one (KeyReplaced)
    3. FILE.old-KEYID       the old verifier key: its private part goes with the next step
    4. FILE.new to FILE     from here on the new key signs
    5. FILE.last            signed again by the new key; a signer that finds this undone does it itself
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ledger.database import Connection
from ledger.proof.tlog.key_rotation import sign_rotation
from ledger.proof.tlog.note import Signature, SigningKey, VerifierKey, parse
from ledger.tlog.sign import keys
from ledger.tlog.sign.errors import KeyUnusable, NoKey, StateDamaged, StateTaken
from ledger.tlog.sign.recorded_rotations import recorded_rotations, rotation_of
from ledger.tlog.sign.signer import Signer
from ledger.tlog.sign.state_file import StateFile, resigned
from schema.events import LogKeyRotated


def rotated(old: SigningKey, new: SigningKey) -> LogKeyRotated:
    """The event, with both signatures, checked. Raises EvidenceError where these are not two keys of one log."""
    note = parse(sign_rotation(old, new).note)
    signed = {(one.name, one.key_id): one for one in note.signatures}
    event = LogKeyRotated(
        old=old.verifier.text,
        new=new.verifier.text,
        statement=note.text,
        old_signature=_written(signed[old.verifier.name, old.verifier.key_id]),
        new_signature=_written(signed[new.verifier.name, new.verifier.key_id]),
    )
    check(event)
    return event


def check(event: LogKeyRotated) -> tuple[VerifierKey, VerifierKey]:
    """The old key and the new one, once it is shown that both signed this. Raises EvidenceError or ValueError."""
    found = rotation_of(event.model_dump(), VerifierKey.parse(event.old).name)
    return found.old, found.new


def rotations(conn: Connection, origin: str) -> list[tuple[VerifierKey, VerifierKey]]:
    """Old and new key of each rotation that this ledger has on record; what does not hold is none."""
    return [(one.rotation.old, one.rotation.new) for one in recorded_rotations(conn, origin)]


@contextlib.contextmanager
def leading(conn: Connection, key: SigningKey, path: Path) -> Iterator[Signer | None]:
    """A signer that leads while the block runs, with step 5 done; None where another one leads, or has the file."""
    file = StateFile(path, key.verifier.name, [key.verifier])
    signer = Signer(conn, key, file)
    with contextlib.ExitStack() as stack:
        found = None
        if signer.lead():
            with contextlib.suppress(StateTaken):
                stack.enter_context(file.held())
                found = signer
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


def prepare(conn: Connection, old: VerifierKey, path: Path) -> tuple[SigningKey, bool]:
    """Step 1: the new key, made now or by a rotation that did not end, and whether step 2 is done. Raises KeyUnusable.

    Where step 2 is done no other key will do: a second rotation from one old key would leave verifiers two ways to go.
    """
    fresh, begun = beside(path, "new"), successors(conn, old)
    try:
        found = keys.read(fresh) if os.path.lexists(fresh) else None
    except NoKey:
        found = None
    if begun and (found is None or found.verifier not in begun):
        raise KeyUnusable(
            f"a rotation to {begun[0].text} is on record, and {fresh} does not hold that key: put it there from a copy;"
            " without it this log cannot be signed any more"
        )
    if found is None:
        # A crash while it was written: it has no key that anything can have been recorded of. A file that could not be
        # read, or that others can read, stays: it may hold the key that is on record.
        fresh.unlink(missing_ok=True)
        found = keys.generate(old.name, fresh)
    return found, bool(begun)


def successors(conn: Connection, old: VerifierKey) -> list[VerifierKey]:
    """The keys that took the place of this one, by what is on record: none, or one."""
    return [new for former, new in rotations(conn, old.name) if former == old]


def replace(path: Path, old: VerifierKey) -> None:
    """Steps 3 and 4."""
    kept = beside(path, f"old-{old.key_id:08x}")
    with kept.open("w", encoding="utf-8") as file:
        file.write(old.text + "\n")
        file.flush()
        os.fsync(file.fileno())
    beside(path, "new").replace(path)
    keys.sync_folder(path)


def _written(signature: Signature) -> str:
    """The last word of the signature line."""
    return signature.line.rstrip("\n").rpartition(" ")[2]

"""Rotate the signing key. Both keys sign an event that records it, so who trusts the old key may trust the new one.

ledger/proof/tlog/key_rotation.py has what both keys sign, and how it is checked.

After a crash between any two steps, `advice-ledger keys rotate` continues with the next:

    1. FILE.new             holds the new key; while it exists, nothing starts to sign with FILE
    2. the event            is recorded; from here on a signer refuses the old key (KeyReplaced)
    3. FILE.old-KEYID       holds the old verifier key; its private part is lost with the next step
    4. FILE.new to FILE     from here on the new key signs
    5. FILE.last            and its copy are signed again by the new key; a signer that starts does this step if it is
                            missing
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from ledger.database import Connection
from ledger.proof.tlog.note import Signature, VerifierKey, parse
from ledger.tlog.sign import keys
from ledger.tlog.sign.errors import KeyUnusable, NoKey, StateDamaged, StateTaken
from ledger.tlog.sign.last_signed import LastSigned
from ledger.tlog.sign.recorded_rotations import recorded_rotations, rotation_of
from ledger.tlog.sign.signer import Signer
from ledger.tlog.sign.state_file import resigned
from ledger.tlog.signing_keys import SigningKey, sign_rotation
from schema.events import LogKeyRotated


def rotated(old: SigningKey, new: SigningKey) -> LogKeyRotated:
    """Return the event, with both signatures checked. Raises EvidenceError if these are not two keys of one log."""
    note = parse(sign_rotation(old, new).note)
    signed = {(signature.name, signature.key_id): signature for signature in note.signatures}
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
    """Check both signatures, and return the old and the new key. Raises EvidenceError or ValueError."""
    rotation = rotation_of(event.model_dump(), VerifierKey.parse(event.old).name)
    return rotation.old, rotation.new


def rotations(conn: Connection, origin: str) -> list[tuple[VerifierKey, VerifierKey]]:
    """Return the old and the new key of each recorded rotation that holds."""
    return [(recorded.rotation.old, recorded.rotation.new) for recorded in recorded_rotations(conn, origin)]


@contextlib.contextmanager
def leading(
    conn: Connection, key: SigningKey, path: Path, copies: Path | None = None, *, stops_appends: bool = True
) -> Iterator[Signer | None]:
    """Yield a signer that leads while the block runs, after step 5; None if another process leads or has the files."""
    files = LastSigned(path, copies, key.verifier)
    signer = Signer(conn, key, files, stops_appends=stops_appends)
    with contextlib.ExitStack() as stack:
        leader = None
        if signer.lead():
            with contextlib.suppress(StateTaken):
                stack.enter_context(files.held())
                leader = signer
        if leader is not None:
            finish(conn, key, path, copies)
        yield leader


def finish(conn: Connection, key: SigningKey, path: Path, copies: Path | None = None) -> bool:
    """Do step 5: if the key before this one signed the state file, sign it with this key. Return whether it did.

    A file that is damaged in any other way stays; the next reader reports it.
    """
    files = LastSigned(path, copies, key.verifier)
    with contextlib.suppress(StateDamaged):
        files.read()
        return False
    for former in [old for old, new in rotations(conn, key.verifier.name) if new == key.verifier]:
        with contextlib.suppress(StateDamaged):
            _, signed = LastSigned(path, copies, former).newest()
            if signed.size:
                files.replace(resigned(signed, key, key.verifier.name))
                return True
    return False


def beside(path: Path, ending: str) -> Path:
    """Return the path FILE.ending."""
    return path.with_name(f"{path.name}.{ending}")


def pending(path: Path) -> bool:
    """Return whether a rotation of this key was begun and is not finished."""
    return beside(path, "new").exists()


def prepare(conn: Connection, old: VerifierKey, path: Path) -> tuple[SigningKey, bool]:
    """Do step 1. Return the new key, made now or by an unfinished rotation, and whether step 2 is done.

    Raises KeyUnusable. After step 2 no other key may take over: a second rotation from one old key would leave
    verifiers two successors.
    """
    fresh, begun = beside(path, "new"), successors(conn, old)
    try:
        new = keys.read(fresh) if os.path.lexists(fresh) else None
    except NoKey:
        new = None
    if begun and (new is None or new.verifier not in begun):
        raise KeyUnusable(
            f"a rotation to {begun[0].text} is recorded, and {fresh} does not hold that key: restore it from a copy;"
            " without it this log cannot be signed any more"
        )
    if new is None:
        # After a crash during writing, the file holds no whole key, so no event can name that key. A file that could
        # not be read, or that others can read, raised an error above and stays: it may hold the recorded key.
        fresh.unlink(missing_ok=True)
        new = keys.generate(old.name, fresh)
    return new, bool(begun)


def successors(conn: Connection, old: VerifierKey) -> list[VerifierKey]:
    """Return the recorded successors of this key: one or none."""
    return [new for former, new in rotations(conn, old.name) if former == old]


def replace(path: Path, old: VerifierKey) -> None:
    """Do steps 3 and 4."""
    kept = beside(path, f"old-{old.key_id:08x}")
    with kept.open("w", encoding="utf-8") as file:
        file.write(old.text + "\n")
        file.flush()
        os.fsync(file.fileno())
    beside(path, "new").replace(path)
    keys.sync_folder(path)


def _written(signature: Signature) -> str:
    """Return the last word of the signature line."""
    return signature.line.rstrip("\n").rpartition(" ")[2]

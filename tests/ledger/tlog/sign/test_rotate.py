"""Another key: signed by both, on record, and whole again after a crash at any step."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cli import keys as command
from api.cli.shared import CannotRun
from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.checkpoint import open_checkpoint
from ledger.proof.tlog.note import open_note
from ledger.proof.tlog.trust import Trust
from ledger.store.envelope import Actor
from ledger.tlog.sign import keys
from ledger.tlog.sign import rotate as rotation
from ledger.tlog.sign.adoption import Adoption
from ledger.tlog.sign.errors import KeyReplaced, KeyUnusable, StateDamaged
from ledger.tlog.sign.rotate import beside, check, rotated
from ledger.tlog.sign.state_file import StateFile
from ledger.tlog.signing_keys import SigningKey
from ledger.verify.database import verify_chain
from ledger.verify.trusted_checkpoints import TrustedCheckpoints
from schema.events import LogKeyRotated
from tests.ledger.tlog.logs import fill, key_for, sign, signing
from tests.support import connect, eventually

OLD, NEW, OTHER = (SigningKey.generate("ledger.example/a") for _ in range(3))


def test_a_rotation_statement_is_a_note_with_both_signatures() -> None:
    """The statement names ledger and keys; with the two signatures it is a signed note that anybody's tool opens."""
    event = rotated(OLD, NEW)
    assert check(event) == (OLD.verifier, NEW.verifier)
    assert event.statement == (
        "advice-ledger/log-key-rotation/v1\norigin ledger.example/a\n"
        f"old {OLD.verifier.text}\nnew {NEW.verifier.text}\n"
    )
    lines = [f"\u2014 ledger.example/a {written}\n" for written in (event.old_signature, event.new_signature)]
    note = f"{event.statement}\n{''.join(lines)}".encode()
    assert len(open_note(note, [OLD.verifier, NEW.verifier]).verified) == 2


CHANGES = {
    "another old key": {"old": OTHER.verifier.text},
    "another new key": {"new": OTHER.verifier.text},
    "one key": {"new": OLD.verifier.text},
    "keys swapped": {"old": NEW.verifier.text, "new": OLD.verifier.text},
    "another statement": {"statement": rotated(OLD, OTHER).statement},
    "a stranger for the old key": {"old_signature": rotated(OTHER, NEW).old_signature},
    "a stranger for the new key": {"new_signature": rotated(OLD, OTHER).new_signature},
    "the old key twice": {"new_signature": rotated(OLD, NEW).old_signature},
    "signed of another key": {"old_signature": rotated(OLD, OTHER).old_signature},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_both_did_not_sign_is_refused(change: dict[str, str]) -> None:
    """Another key, statement or signature in any place makes it no rotation."""
    event = rotated(OLD, NEW).model_copy(update=change)
    with pytest.raises((EvidenceError, ValueError)):
        check(event)


@given(st.data())
def test_any_changed_character_is_refused(data: st.DataObject) -> None:
    """One changed character anywhere is a refusal, and never another exception."""
    content = rotated(OLD, NEW).model_dump()
    name = data.draw(st.sampled_from(sorted(content)))
    at = data.draw(st.integers(0, len(content[name]) - 1))
    other = data.draw(st.characters().filter(lambda found: found != content[name][at]))
    content[name] = content[name][:at] + other + content[name][at + 1 :]
    with pytest.raises((EvidenceError, ValueError)):
        check(LogKeyRotated.model_construct(**content))


def test_two_ledgers_have_no_rotation() -> None:
    """Keys of different names are of different logs."""
    with pytest.raises(EvidenceError, match="another log"):
        rotated(OLD, SigningKey.generate("ledger.example/b"))


@pytest.fixture
def place(database_url: str, tmp_path: Path) -> Path:
    """A key in a file, with a ledger of 300 events that it signed."""
    path = tmp_path / "log.key"
    keys.generate(key_for(database_url).verifier.name, path)
    fill(database_url, 300)
    sign(database_url, keys.read(path), beside(path, "last"))
    return path


def rotate(url: str, path: Path) -> None:
    """Rotate as the command does."""
    command._rotated(url, path, beside(path, "last"))


def notes(url: str) -> list[tuple[int, str]]:
    """All checkpoints."""
    with connect(url) as conn:
        return conn.execute("SELECT size, note FROM checkpoints ORDER BY size").fetchall()


def check_rotated(url: str, path: Path, old: SigningKey) -> None:
    """There is one rotation on record, from the old key to the one in the file, which alone signs from here on."""
    new = keys.read(path)
    with connect(url) as conn:
        assert rotation.rotations(conn, old.verifier.name) == [(old.verifier, new.verifier)]
    fill(url, 1)
    sign(url, new, beside(path, "last"))
    *_, (size, note) = notes(url)
    assert open_checkpoint(note.encode(), new.verifier.name, [new.verifier]).checkpoint.size == size == 302
    with pytest.raises(EvidenceError):
        open_checkpoint(note.encode(), old.verifier.name, [old.verifier])
    assert not rotation.pending(path)
    kept = beside(path, f"old-{old.verifier.key_id:08x}")
    assert kept.read_text() == old.verifier.text + "\n"
    secret = old.reveal().split("+", 4)[4]
    assert [found.name for found in path.parent.iterdir() if secret in found.read_text()] == []


def test_a_rotation_is_recorded_and_the_new_key_signs(database_url: str, place: Path) -> None:
    """The old key signs what was waiting, the change is recorded with its actor, and the new key signs."""
    old = keys.read(place)
    rotate(database_url, place)
    check_rotated(database_url, place, old)
    with connect(database_url) as conn:
        [(actor,)] = conn.execute(
            "SELECT body::json->'actor'->>'id' FROM events WHERE type = 'log-key.rotated' AND stream = 'policy-log-key'"
        ).fetchall()
    assert actor.startswith("cli:")


ADVISORY_LOCKS = """
    SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database
    WHERE locktype = 'advisory' AND datname = current_database()
"""
STEPS = [
    (keys, "generate"),
    (command, "_record"),
    (rotation, "replace"),
    (rotation, "finish"),
    (rotation, "resigned"),
    (os, "fsync"),
]


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("owner", "step"), STEPS, ids=[step for _, step in STEPS])
def test_a_crash_at_any_step(
    database_url: str, place: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, step: str, late: bool
) -> None:
    """Dying before or after any step, a rotation leaves what a second try brings to its end; never two rotations."""

    class Died(Exception):
        pass

    old = keys.read(place)
    original = getattr(owner, step)

    def dies(*arguments: Any, **more: Any) -> Any:
        if step == "finish" and arguments[1].verifier == old.verifier:
            return original(*arguments, **more)
        if late:
            original(*arguments, **more)
        raise Died

    async def dies_appending(*arguments: Any) -> None:
        if late:
            await original(*arguments)
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, dies_appending if step == "_record" else dies)
        with pytest.raises(Died):
            rotate(database_url, place)
    if (step, late) == ("finish", True):
        assert not rotation.pending(place)  # it was the last step
    else:
        with connect(database_url) as conn:  # the server notices a moment later that the first process is gone
            eventually("nobody leads", lambda: conn.execute(ADVISORY_LOCKS).fetchone() == (0,))
        rotate(database_url, place)
    check_rotated(database_url, place, old)


def test_a_half_written_key_is_made_again(database_url: str, place: Path) -> None:
    """A crash within the writing of the new key leaves a part of it, which nobody has signed with."""
    old = keys.read(place)
    beside(place, "new").write_text("PRIVATE+KEY+led")
    beside(place, "new").chmod(0o600)
    rotate(database_url, place)
    check_rotated(database_url, place, old)


class Died(Exception):
    """Raised where the program would have ended."""


@pytest.fixture
def recorded(database_url: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rotation that died once it was on record; where its new key is."""
    original = command._record

    async def dies(*arguments: Any) -> None:
        await original(*arguments)
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(command, "_record", dies)
        with pytest.raises(Died):
            rotate(database_url, place)
    return beside(place, "new")


def test_the_old_key_does_not_sign_its_rotation(database_url: str, place: Path, recorded: Path) -> None:
    """From the record on the old key is refused, wherever it comes from; the new key signs what is waiting."""
    old, new = keys.read(place), keys.read(recorded)
    fill(database_url, 1)
    with signing(database_url, old, beside(place, "last")) as signer:
        with pytest.raises(KeyReplaced, match="position 301"):
            signer.step()
        checkpoint = open_checkpoint(notes(database_url)[-1][1].encode(), old.verifier.name, [old.verifier]).checkpoint
        with pytest.raises(KeyReplaced):
            signer.adopt(Adoption(checkpoint, Actor("cli:olga", "human", "operator"), "why"), lambda *_: None)
    rotate(database_url, place)
    assert [size for size, _ in notes(database_url)] == [300]
    assert sign(database_url, new, beside(place, "last")) == 302
    with connect(database_url) as conn:
        assert all(verify_chain(conn, trusted=TrustedCheckpoints(Trust((key.verifier,)))).ok for key in (old, new))


def test_a_leader_notices_a_rotation(database_url: str, place: Path) -> None:
    """A signer that leads already goes on after another key's rotation, and not after one of its own key."""
    old, new = keys.read(place), key_for(database_url)
    with signing(database_url, old, beside(place, "last")) as signer:
        assert signer.step() is None
        asyncio.run(command._record(database_url, new, key_for(database_url), None))  # another key's
        signed = signer.step()
        assert signed is not None
        assert signed.size == 301
        asyncio.run(command._record(database_url, old, new, None))
        with pytest.raises(KeyReplaced):
            signer.step()
    assert [size for size, _ in notes(database_url)] == [300, 301]


def test_a_new_key_on_record_is_never_lost(database_url: str, place: Path, recorded: Path) -> None:
    """Readable by others, damaged, gone or another one, it is not made again: that would be a second rotation."""
    old, raw = keys.read(place), recorded.read_bytes()
    recorded.chmod(0o640)
    with pytest.raises(KeyUnusable, match="chmod 600"):
        rotate(database_url, place)
    assert recorded.read_bytes() == raw
    recorded.chmod(0o600)
    for other in (b"PRIVATE+KEY+led", key_for(database_url).reveal().encode()):
        recorded.write_bytes(other)
        with pytest.raises(KeyUnusable, match="is recorded"):
            rotate(database_url, place)
        assert recorded.read_bytes() == other
    recorded.unlink()
    with pytest.raises(KeyUnusable, match="is recorded"):
        rotate(database_url, place)
    assert not recorded.exists()
    recorded.write_bytes(raw)
    recorded.chmod(0o600)
    rotate(database_url, place)
    check_rotated(database_url, place, old)


def test_a_new_key_that_others_can_read_stays(database_url: str, place: Path) -> None:
    """Before anything is on record as well: who could read the file has to decide, not the program."""
    made = keys.generate(keys.read(place).verifier.name, beside(place, "new"))
    beside(place, "new").chmod(0o640)
    with pytest.raises(KeyUnusable, match="chmod 600"):
        rotate(database_url, place)
    assert beside(place, "new").read_text() == made.reveal() + "\n"


def test_a_signer_ends_the_last_step(database_url: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the key before this one signed is taken where that rotation is on record, and signed anew."""
    old = keys.read(place)
    with monkeypatch.context() as patch:
        patch.setattr(rotation, "finish", lambda *_: False)
        rotate(database_url, place)
    new, path = keys.read(place), beside(place, "last")
    with pytest.raises(StateDamaged):
        StateFile(path, new.verifier.name, [new.verifier]).read()
    check_rotated(database_url, place, old)
    assert StateFile(path, new.verifier.name, [new.verifier]).read() is not None


def test_a_file_of_a_stranger_is_refused(database_url: str, place: Path) -> None:
    """Without a rotation on record that both keys signed, a file that another key signed is damaged."""
    stranger = key_for(database_url)
    with signing(database_url, stranger, beside(place, "last")) as signer, pytest.raises(StateDamaged):
        signer.step()


def test_nobody_signs_meanwhile(database_url: str, place: Path) -> None:
    """While somebody leads, a rotation is refused before anything is done."""
    before = sorted(found.name for found in place.parent.iterdir())
    with (
        signing(database_url, keys.read(place), beside(place, "last")),
        pytest.raises(CannotRun, match="another process signs"),
    ):
        rotate(database_url, place)
    assert sorted(found.name for found in place.parent.iterdir()) == before

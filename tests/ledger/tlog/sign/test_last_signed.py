"""What was signed last is in two places: either of them stops a signer whose database does not continue it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.proof.tlog.checkpoint import open_checkpoint
from ledger.tlog.sign import rotate
from ledger.tlog.sign.errors import RolledBack, StateDamaged, StateTaken
from ledger.tlog.sign.last_signed import LastSigned, check_continues, copy_path
from ledger.tlog.sign.signer import Signer
from ledger.tlog.sign.state_file import StateFile
from ledger.tlog.signing_keys import SigningKey
from tests.ledger.tlog.logs import fill, key_for
from tests.support import connect


class Died(Exception):
    """The process ends at this step."""


@pytest.fixture
def key(database_url: str) -> SigningKey:
    """A key for the test's ledger."""
    return key_for(database_url)


class Places:
    """The state file of one ledger, and the folder of its copy."""

    def __init__(self, url: str, key: SigningKey, folder: Path) -> None:
        self.url, self.key = url, key
        self.file = folder / "data" / "log.key.last"
        self.copies = folder / "state"
        self.copy = copy_path(self.copies, key.verifier)

    @contextlib.contextmanager
    def signing(self) -> Iterator[Signer]:
        """A signer that holds both files, while the block runs."""
        files = LastSigned(self.file, self.copies, self.key.verifier)
        with connect(self.url, "signer") as conn, files.held():
            yield Signer(conn, self.key, files)

    def sign(self) -> None:
        """Sign all there is."""
        with self.signing() as signer:
            while signer.step() is not None:
                pass

    def sizes(self) -> list[int]:
        """The size of the checkpoint in the copy, and that in the file; 0 for none."""
        keys = [self.key.verifier]
        found = [StateFile(path, self.key.verifier.name, keys).read() for path in (self.copy, self.file)]
        return [0 if signed is None else signed.size for signed in found]


@pytest.fixture
def places(database_url: str, key: SigningKey, tmp_path: Path) -> Places:
    """A ledger of 20 events, signed at 10 and at 20."""
    found = Places(database_url, key, tmp_path)
    for _ in range(2):
        fill(database_url, 10)
        found.sign()
    return found


def test_both_files_have_each_checkpoint(places: Places) -> None:
    """They are the same, and nobody else can read them."""
    assert places.sizes() == [20, 20]
    assert places.file.read_bytes() == places.copy.read_bytes()
    assert [path.stat().st_mode & 0o777 for path in (places.file, places.copy)] == [0o600, 0o600]
    assert places.copies.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("nth", [0, 1])
def test_a_signer_that_dies_between_the_files(
    places: Places, monkeypatch: pytest.MonkeyPatch, nth: int, late: bool
) -> None:
    """Before and after each of the two is written: the next signer goes on, and the file is never ahead of the copy."""
    fill(places.url, 5)
    target = (places.copy, places.file)[nth]
    original = StateFile.write

    def dies(self: StateFile, signed: object) -> None:
        if self.path == target:
            if late:
                original(self, signed)  # type: ignore[arg-type]
            raise Died
        original(self, signed)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, places.signing() as signer:
        patch.setattr(StateFile, "write", dies)
        with pytest.raises(Died):
            signer.step()
    assert (
        places.sizes()
        == {(0, False): [20, 20], (0, True): [25, 20], (1, False): [25, 20], (1, True): [25, 25]}[nth, late]
    )
    fill(places.url, 1)
    places.sign()
    assert places.sizes() == [26, 26]
    with connect(places.url) as conn:
        notes = [note.encode() for (note,) in conn.execute("SELECT note FROM checkpoints ORDER BY size").fetchall()]
    signed = [open_checkpoint(note, places.key.verifier.name, [places.key.verifier]).checkpoint for note in notes]
    assert [one.size for one in signed] == ([10, 20, 26] if (nth, late) == (0, False) else [10, 20, 25, 26])


@pytest.mark.parametrize("lost", ["copy", "file"])
def test_a_lost_file_is_written_again_from_the_other(
    places: Places, lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    """On a new machine, or if one of the two is lost: the other is trusted, and the log says so."""
    path: Path = getattr(places, lost)
    path.unlink()
    fill(places.url, 1)
    with caplog.at_level(logging.WARNING, "ledger.tlog.sign.last_signed"):
        places.sign()
    assert f"{path} is not there" in caplog.text
    assert "over 20 events" in caplog.text
    assert places.sizes() == [21, 21]


@pytest.mark.parametrize("older", ["copy", "file"])
def test_the_file_that_is_behind_is_brought_up(places: Places, older: str) -> None:
    """An older state of one of the two is no reason to sign anything again: the other knows more."""
    path: Path = getattr(places, older)
    kept = path.read_bytes()
    fill(places.url, 5)
    places.sign()
    path.write_bytes(kept)
    assert sorted(places.sizes()) == [20, 25]
    with places.signing() as signer:
        assert signer.step() is None
    assert places.sizes() == [25, 25]


@pytest.mark.parametrize("damaged", ["copy", "file"])
def test_a_damaged_file_is_named(places: Places, damaged: str) -> None:
    """It may have a larger checkpoint than the other, so nothing is signed."""
    path: Path = getattr(places, damaged)
    path.write_bytes(path.read_bytes()[:-9])
    with places.signing() as signer, pytest.raises(StateDamaged, match=str(path).replace("+", "[+]")):
        signer.step()


def test_a_copy_of_the_folder_cannot_sign_beside_it(places: Places, tmp_path: Path) -> None:
    """Whoever has another state file, and the same key, waits for the copy that both share."""
    other = Places(places.url, places.key, tmp_path)
    other.file = tmp_path / "other.last"
    with places.signing(), pytest.raises(StateTaken, match="state"), other.signing():
        pass


def test_what_is_known_is_compared_with_the_database(places: Places) -> None:
    """Each file counts, not the newest alone."""
    known = LastSigned(places.file, places.copies, places.key.verifier).read()
    assert [signed.size for signed in known] == [20, 20]
    with connect(places.url, "reader") as conn:
        check_continues(conn, 20, known)
        with pytest.raises(RolledBack, match="19 events"):
            check_continues(conn, 19, known)


def test_a_rotated_key_has_its_own_copy(places: Places) -> None:
    """The old key's copy stays, so that a folder from before the rotation is refused as well."""
    new = SigningKey.generate(places.key.verifier.name)
    with pytest.MonkeyPatch.context() as patch, connect(places.url) as conn:
        patch.setattr(rotate, "rotations", lambda *_: [(places.key.verifier, new.verifier)])
        assert rotate.finish(conn, new, places.file, places.copies)
    for path in (places.file, copy_path(places.copies, new.verifier)):
        signed = StateFile(path, new.verifier.name, [new.verifier]).read()
        assert signed is not None
        assert signed.size == 20
    assert LastSigned(places.copies / "none", places.copies, places.key.verifier).newest()[1].size == 20

"""A damaged state file does not allow to give up a checkpoint without naming it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from api.cli import sign as command
from ledger.proof.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.store.envelope import Actor
from ledger.tlog.sign.adoption import Adoption
from ledger.tlog.sign.errors import RolledBack
from ledger.tlog.sign.rotate import beside
from ledger.tlog.sign.signer_thread import SigningConfig
from ledger.tlog.signing_keys import SigningKey
from tests.ledger.tlog.logs import fill, key_for, sign, signing
from tests.support import connect
from tests.tampering import tamper

DECISIONS = """
    SELECT e.body::json, s.fields FROM events e JOIN sealed_fields s USING (position)
    WHERE e.type = 'log-checkpoint.adopted' ORDER BY position
"""


def checkpoint_of(url: str, key: SigningKey) -> Checkpoint:
    """The newest."""
    with connect(url) as conn:
        [(note,)] = conn.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchall()
    return open_checkpoint(note.encode(), key.verifier.name, [key.verifier]).checkpoint


def recorded(url: str) -> list[dict[str, Any]]:
    """The decisions on record: actor, data and reason of each."""
    with connect(url) as conn:
        rows = conn.execute(DECISIONS).fetchall()
    return [{"actor": body["actor"]["id"], **body["data"], **fields} for body, fields in rows]


def adoption(checkpoint: Checkpoint, **how: Any) -> Adoption:
    """A person's decision for this checkpoint."""
    return Adoption(checkpoint, Actor("cli:olga", "human", "operator"), "the disk was lost", **how)


def adopt(url: str, key: SigningKey, path: Path, checkpoint: Checkpoint, **how: Any) -> int:
    """Adopt as the command does; return the size."""
    with connect(url, "signer") as conn:
        signed = command._once(conn, SigningConfig(key, path), adoption(checkpoint, **how), lambda *_: None)
    assert signed is not None
    return signed.size


def test_the_newest_checkpoint_is_adopted_when_the_state_file_is_lost(database_url: str, tmp_path: Path) -> None:
    """Where nothing is beside the key the newest published checkpoint is adopted, and the file is what it was."""
    key, path = key_for(database_url), tmp_path / "last"
    fill(database_url, 300)
    sign(database_url, key, path)
    newest, kept = checkpoint_of(database_url, key), path.read_bytes()
    path.unlink()
    fill(database_url, 1)
    assert adopt(database_url, key, path, newest) == 300
    assert path.read_bytes() == kept
    assert sign(database_url, key, path) == 302  # with the event that records it


@pytest.mark.tampers
def test_a_damaged_file_is_given_up_by_name(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a byte changed in the file that knows of 20, a database of 10 is adopted only where that is asked for."""
    key, path = key_for(database_url), tmp_path / "last"
    fill(database_url, 10)
    sign(database_url, key, path)
    ten = checkpoint_of(database_url, key)
    fill(database_url, 10)
    sign(database_url, key, path)
    tamper(
        database_url,
        "DELETE FROM checkpoints WHERE size > 10",
        "DELETE FROM events WHERE position > 10",
        "UPDATE head SET position = 10, hash = (SELECT hash FROM events WHERE position = 10)",
    )
    with signing(database_url, key, path) as signer, pytest.raises(RolledBack, match="--give-up 20"):
        signer.adopt(adoption(ten, replace_damaged=True), lambda *_: None)  # this file is not damaged
    damaged = path.read_bytes().replace(b'"event"', b'"Event"')
    path.write_bytes(damaged)
    with pytest.raises(typer.Exit):
        adopt(database_url, key, path, ten)
    assert "--replace-damaged" in capsys.readouterr().err
    assert path.read_bytes() == damaged
    assert adopt(database_url, key, path, ten, replace_damaged=True) == 10
    assert beside(path, "damaged").read_bytes() == damaged
    assert recorded(database_url) == [
        {"actor": "cli:olga", "size": 10, "root": ten.root.hex(), "reason": "the disk was lost"}
    ]
    fill(database_url, 1)
    assert sign(database_url, key, path) == 12

"""The same attacks as an auditor sees them: a bundle of the tampered database, the program, and an older checkpoint.

The auditor has `advice-ledger-verify` in a process of its own, the log's key, and the checkpoint of ten events. Who
attacks is a superuser of a real database with 300; where it is signed anew, with the log's key as well.
"""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path

import pytest
from psycopg import sql

from api.witness.store import WitnessStore, make_store
from api.witness.witness import Witness
from ledger.export.log_parts import CannotExport
from ledger.proof.bundle.manifest import CHECKPOINT
from ledger.proof.bundle.selection import Selection
from ledger.proof.tlog.checkpoint import open_checkpoint
from ledger.proof.tlog.note import Note as Signed
from ledger.proof.tlog.note import Signature
from ledger.tlog.add_checkpoint import AddCheckpoint
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey, sign_checkpoint
from tests.api.witness.logs import logs_of
from tests.conftest import Template, ledger_copy
from tests.faults.attacks import (
    CUT,
    REHASH,
    REWRITE,
    SET_HEAD,
    Log,
    cosign,
    log_at,
    replace_note,
    restored,
)
from tests.ledger.cases import positions
from tests.ledger.proof.bundle.bundles import Ran, program

pytestmark = pytest.mark.tampers

RANGE = positions(11, 20)
REQUEST = Selection("request", request=13)


@pytest.fixture
def log(database_url: str, tmp_path: Path) -> Log:
    """An empty ledger."""
    return log_at(database_url, tmp_path / "last")


def two_checkpoints(log: Log) -> bytes:
    """300 events, so that one tile is full; the checkpoint of ten, which the auditor keeps."""
    log.record(10)
    kept = log.sign()
    log.record(290)
    log.sign()
    return kept


class Auditor:
    """An auditor with the program, a key, and a checkpoint."""

    def __init__(self, folder: Path, log: Log, kept: bytes) -> None:
        self.folder = folder
        self.key = log.key.verifier.text
        (folder / "kept").write_bytes(kept)
        self.kept = kept

    def keep(self, note: bytes) -> None:
        """Keep a newer checkpoint instead."""
        (self.folder / "kept").write_bytes(note)
        self.kept = note

    def check(self, log: Log, selection: Selection = RANGE, *more: object, proof: bool = True) -> Ran:
        """Export a bundle, if possible with the proof that it extends the kept checkpoint, and check it."""
        (self.folder / "case.zip").write_bytes(log.bundle(selection, self.kept if proof else None))
        given = ("--json", "--key", self.key, "--since", self.folder / "kept")
        ran = program(self.folder / "case.zip", *given, *more)
        assert ran.code == (1 if ran.found else 0), ran
        return ran


@pytest.fixture
def auditor(log: Log, tmp_path: Path) -> Auditor:
    """An auditor with the checkpoint of ten events; the log has 300."""
    return Auditor(tmp_path, log, two_checkpoints(log))


def test_an_honest_ledger_passes_the_audit(log: Log, auditor: Auditor) -> None:
    """Bundles of the untouched ledger, of a range and of one request, have no finding."""
    for selection in (RANGE, REQUEST):
        ran = auditor.check(log, selection)
        assert (ran.found, ran.json["trusted"]) == ([], True)


def test_a_rewritten_suffix_is_found(log: Log, auditor: Auditor) -> None:
    """With correct hashes it is not what was signed; signed anew, it still does not extend what the auditor kept."""
    auditor.keep(log.newest())
    log.tamper(REWRITE, REHASH.format(at=13), SET_HEAD)
    ran = auditor.check(log)
    assert ("edited", 13) in ran.found
    assert ran.json["first_bad_position"] == 13
    log.sign_anew()
    assert auditor.check(log).found == [("forked", 0)]


def test_a_cut_tail_is_found(log: Log, auditor: Auditor) -> None:
    """A signed checkpoint cannot be proven any more. Signed anew, the log has fewer events than before."""
    auditor.keep(log.newest())
    log.tamper(CUT, SET_HEAD)
    with pytest.raises(CannotExport, match="the transparency log lacks"):
        auditor.check(log)
    log.sign_anew()
    assert auditor.check(log, positions(1, 15), proof=False).found == [("rolled-back", 16)]


def test_a_database_of_yesterday(log: Log, server_url: str, template_database: Template, tmp_path: Path) -> None:
    """Restored, it has fewer events than were signed; written on and signed, another history."""
    log.record(10)
    log.sign()
    with restored(server_url, template_database, log) as yesterday:
        log.record(10)
        auditor = Auditor(tmp_path, log, log.sign())
        assert auditor.check(yesterday, positions(1, 10), proof=False).found == [("rolled-back", 11)]
        yesterday.record(15)
        yesterday.sign()
        assert auditor.check(yesterday).found == [("forked", 0)]


def test_another_ledger_in_place_of_ours_is_found(
    log: Log, auditor: Auditor, server_url: str, template_database: Template, tmp_path: Path
) -> None:
    """By its own name it is another ledger; with our name, and signed by our key, another history."""
    with ledger_copy(server_url, template_database, verify=False) as url:
        rename = "UPDATE head SET origin = {0}, hash = genesis_hash({0})"
        other = log_at(url, tmp_path / "other")
        other.tamper(sql.SQL(rename).format("another.example/log").as_string(None))
        other = log_at(url, tmp_path / "other")
        other.record(20)
        other.sign()
        assert ("other-ledger", 0) in auditor.check(other, proof=False).found
        other.tamper(sql.SQL("UPDATE head SET origin = {}").format(log.key.verifier.name).as_string(None))
        other.tamper(REHASH.format(at=1), SET_HEAD)
        other.key = log.key
        other.sign_anew()
        assert auditor.check(other).found == [("forked", 0)]


def test_two_histories_for_two_auditors_are_found(
    log: Log, auditor: Auditor, server_url: str, template_database: Template
) -> None:
    """Shown to two auditors who kept what is common: the witness cosigned one, and refuses to cosign the other."""
    key = WitnessSigningKey.generate("witness.example/w1")
    place = auditor.folder / "witness"
    make_store(place, key.verifier.text)
    state = WitnessStore(place, key.verifier.text)
    witness = Witness(key, logs_of(log.key.verifier), state)
    wanted = ("--witness", key.verifier.text)
    with contextlib.closing(state), restored(server_url, template_database, log) as theirs:
        theirs.tamper(REWRITE, REHASH.format(at=13), SET_HEAD)
        theirs.sign_anew()
        replies = [witness.add_checkpoint(AddCheckpoint(0, (), one.newest()).encode()) for one in (log, theirs)]
        assert [reply.status for reply in replies] == [200, 409]
        cosign(log, replies[0].body)
        assert auditor.check(log, RANGE, *wanted).found == []
        # Each auditor's old checkpoint is extended by what is shown; only the cosignature tells.
        assert auditor.check(theirs).found == []
        assert auditor.check(theirs, RANGE, *wanted).found == [("too-few-witnesses", 0)]


def test_a_checkpoint_by_another_key_is_found(log: Log, auditor: Auditor) -> None:
    """The checkpoint signed again by a key of the same name; and under the number of the key that is trusted."""
    mine = open_checkpoint(log.newest(), log.key.verifier.name, [log.key.verifier]).checkpoint
    forged = sign_checkpoint(mine, SigningKey.generate(log.key.verifier.name))
    # The export prefers a checkpoint that the key signed, so the attacker leaves none.
    log.tamper("DELETE FROM checkpoints WHERE size < (SELECT max(size) FROM checkpoints)")
    replace_note(log, forged.encode())
    assert auditor.check(log).found == [("untrusted-key", 0)]
    (signature,) = forged.signatures
    posing = Signed(forged.text, (Signature(signature.name, log.key.verifier.key_id, signature.blob),))
    replace_note(log, posing.encode())
    assert auditor.check(log).found == [("bad-signature", 0)]


def test_a_proof_for_another_position_is_found(log: Log, auditor: Auditor) -> None:
    """Tiles of the log changed places: what leads to the root is not what stands for these events."""
    log.record(600)
    log.sign()
    assert auditor.check(log, positions(300, 310)).found == []
    log.tamper(
        "UPDATE tiles SET number = number + 1000 WHERE number < 2",
        "UPDATE tiles SET number = 1001 - number WHERE number >= 1000",
    )
    ran = auditor.check(log, positions(300, 310), proof=False)
    assert {kind for kind, _ in ran.found} == {"proof-mismatch"}
    assert ran.json["first_bad_position"] == 257


# The last of the range goes, those from position 13 on stand one further, and one is put in, made from the one before.
INSERT = """
    DELETE FROM events WHERE position = 20;
    DELETE FROM sealed_fields WHERE position = 20;
    UPDATE events SET position = position + 1000 WHERE position BETWEEN 13 AND 19;
    UPDATE events SET position = position - 999 WHERE position > 1000;
    UPDATE sealed_fields SET position = position + 1000 WHERE position BETWEEN 13 AND 19;
    UPDATE sealed_fields SET position = position - 999 WHERE position > 1000;
    INSERT INTO events
    SELECT (jsonb_populate_record(e, jsonb_build_object(
        'position', 13, 'id', i.id, 'stream', 'request-999',
        'body', replace(replace(e.body, e.id::text, i.id::text), e.stream, 'request-999')))).*
    FROM events e, (SELECT gen_random_uuid() AS id) i WHERE e.position = 12;
    UPDATE events e
    SET prev_hash = p.hash, hash = event_hash(
        p.hash, 13, e.version, (extract(epoch FROM e.recorded_at) * 1000000)::bigint, e.body)
    FROM events p WHERE e.position = 13 AND p.position = 12
"""
SWAP = """
    UPDATE {table} SET position = 1000 + position WHERE position IN (13, 15);
    UPDATE {table} SET position = 1028 - position WHERE position > 1000
"""
DROP = "DELETE FROM {} WHERE position = 13"
SWAP_VALUES = """
    UPDATE sealed_fields one SET fields = other.fields, salts = other.salts
    FROM sealed_fields other WHERE (one.position, other.position) IN ((13, 15), (15, 13))
"""
SALT = "UPDATE sealed_fields SET salts = translate(salts::text, '0123456789', '1234567890')::json WHERE position = 13"
VALUE = "UPDATE sealed_fields SET fields = replace(fields::text, 'client-', 'Client-')::json WHERE position = 13"
EDITED_WITH_HASH = """
    UPDATE events SET body = replace(body, '1000.00', '9000.00'), hash = event_hash(prev_hash, position, version,
        (extract(epoch FROM recorded_at) * 1000000)::bigint, replace(body, '1000.00', '9000.00'))
    WHERE position = 13
"""
ON_EVENTS = {
    "dropped": ([DROP.format("events"), DROP.format("sealed_fields")], [("deleted", 13)]),
    "edited": ([REWRITE], [("edited", 13)]),
    "edited, hash recomputed": ([EDITED_WITH_HASH], [("edited", 13)]),
    "added": ([INSERT], [("inserted", 13)]),
    "reordered": ([SWAP.format(table="events"), SWAP.format(table="sealed_fields")], [("reordered", 13)]),
    "sealed values swapped": ([SWAP_VALUES], [("commitment-mismatch", 13), ("commitment-mismatch", 15)]),
    "salt changed": ([SALT], [("commitment-mismatch", 13)]),
    "sealed value edited": ([VALUE], [("commitment-mismatch", 13)]),
}


@pytest.mark.parametrize(("statements", "expected"), ON_EVENTS.values(), ids=ON_EVENTS)
def test_events_of_a_bundle(log: Log, auditor: Auditor, statements: list[str], expected: list[tuple[str, int]]) -> None:
    """A change of an event or its values in the database is named, at its position, in the bundle."""
    log.tamper(*statements)
    ran = auditor.check(log)
    assert ran.found == expected, ran.out
    assert ran.json["first_bad_position"] == 13
    assert (ran.json["checkpoint"]["size"], ran.json["trusted"]) == (300, True)


def test_each_erasure_leaves_a_good_bundle(log: Log, auditor: Auditor) -> None:
    """Sealed values erased one after the other: nothing is wrong, and what is gone is listed as erased."""
    for count, position in enumerate((20, 11, 15, 13), 1):
        log.tamper(sql.SQL("DELETE FROM sealed_fields WHERE position = {}").format(position).as_string(None))
        ran = auditor.check(log)
        assert ran.found == []
        [absent] = ran.json["absent"]
        assert (absent["state"], sum(last - first + 1 for first, last in absent["positions"])) == ("erased", count)
    with zipfile.ZipFile(auditor.folder / "case.zip") as archive:
        assert archive.read(CHECKPOINT) == log.newest()

"""Attacks of a database's owner on a real database, and the findings of an auditor who kept an older checkpoint.

Each attack is by a superuser with the triggers out of the way, and leaves a chain whose hashes all fit: without a
checkpoint kept elsewhere nobody would notice.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from api.witness.store import WitnessStore, make_store
from api.witness.witness import Witness
from ledger.proof.bundle.selection import Selection
from ledger.proof.findings import Verdict
from ledger.proof.tlog.checkpoint import open_checkpoint
from ledger.proof.tlog.note import Note as Signed
from ledger.proof.tlog.note import Signature
from ledger.proof.tlog.trust import Trust
from ledger.tlog.add_checkpoint import AddCheckpoint
from ledger.tlog.sign.recorded_rotations import STREAM
from ledger.tlog.sign.rotate import rotated
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey, sign_checkpoint
from ledger.verify.database import verify_chain
from ledger.verify.scan import ChainBroken, Scan
from ledger.verify.trusted_checkpoints import TrustedCheckpoints
from schema.events import LogKeyRotated
from tests.api.program import cli
from tests.api.witness.logs import logs_of
from tests.conftest import Template, ledger_copy
from tests.faults.attacks import (
    CUT,
    FORGET,
    REHASH,
    REWRITE,
    SET_HEAD,
    Log,
    cosign,
    found,
    log_at,
    rename,
    replace_note,
    restored,
    small,
)
from tests.ledger.proof.bundle.bundles import program
from tests.support import append, connect, new

pytestmark = pytest.mark.tampers


@pytest.fixture
def log(database_url: str, tmp_path: Path) -> Log:
    """An empty ledger."""
    return log_at(database_url, tmp_path / "last")


def test_a_clean_ledger_passes(log: Log) -> None:
    """With checkpoints of any age; the report says how far somebody else's reaches, and what is beyond it."""
    log.record(10)
    first = log.sign()
    log.record(10)
    second = log.sign()
    log.record(5)
    report = log.audit(first)
    assert report.ok
    assert report.covered is not None
    assert (report.covered.trusted, report.covered.signed) == (10, 20)
    assert report.verdict is Verdict.VERIFIED_IN_PART
    assert "positions 21 to 25" in report.not_proven[0]
    report = log.audit(first, second)
    assert report.covered is not None
    assert report.covered.trusted == 20
    last = log.sign()
    report = log.audit(first)
    assert (report.verdict, report.checkpoints) == (Verdict.VERIFIED, 3)
    assert "after position 10" in report.not_proven[0]
    assert "witnesses" in log.audit(last).not_proven[0]


def test_a_rewritten_suffix_with_correct_hashes_is_forked(log: Log) -> None:
    """The chain fits, but a checkpoint covers other events; a smaller one that holds narrows the place."""
    log.record(10)
    first = log.sign()
    log.record(10)
    second = log.sign()
    log.tamper(REWRITE, REHASH.format(at=13), SET_HEAD)
    with connect(log.url, "verifier") as conn:
        assert found(verify_chain(conn)) == [("forked", 11, 20)], "the database's own checkpoints contradict it"
    assert found(log.audit(second)) == [("forked", 1, 20)]
    assert found(log.audit(first, second)) == [("forked", 11, 20)]
    # Without what the database itself remembers of the log, all the same.
    log.tamper("DELETE FROM checkpoints", "DELETE FROM tiles")
    gone = ("no-checkpoint", 0, 0)
    assert found(log.audit(first, second)) == [gone, ("forked", 11, 20)]
    assert found(log.audit(first)) == [gone]
    with connect(log.url, "verifier") as conn:
        report = verify_chain(conn)
    assert (report.ok, report.verdict) == (True, Verdict.NOT_SIGNED), "nothing is left that contradicts it"


def test_a_tail_cut_after_a_checkpoint_is_truncated(log: Log) -> None:
    """Events are gone that the database's own checkpoints know of."""
    log.record(20)
    kept = log.sign()
    log.tamper(CUT, SET_HEAD)
    with connect(log.url, "verifier") as conn:
        assert found(verify_chain(conn)) == [("truncated", 16, 20)]
    assert found(log.audit(kept)) == [("truncated", 16, 20)]
    assert found(log.audit()) == [("truncated", 16, 20)]
    # With these gone as well, only the auditor knows.
    log.tamper(FORGET)
    assert found(log.audit()) == [("no-checkpoint", 0, 0)]
    assert found(log.audit(kept)) == [("no-checkpoint", 0, 0), ("rolled-back", 16, 20)]


def test_a_database_of_yesterday_is_rolled_back(log: Log, server_url: str, template_database: Template) -> None:
    """A backup in place of the ledger lacks what was signed since; written on until it is as long, it is forked."""
    log.record(10)
    log.sign()
    with restored(server_url, template_database, log) as yesterday:
        early = yesterday.newest()
        log.record(10)
        today = log.sign()
        assert found(yesterday.audit(today)) == [("rolled-back", 11, 20)]
        yesterday.record(15)
        assert found(yesterday.audit(early, today)) == [("forked", 11, 20)]
        # What it signs from then on is of its own history, and narrows nothing.
        yesterday.sign()
        assert found(yesterday.audit(early, today)) == [("forked", 11, 20)]
        assert found(yesterday.audit(today)) == [("forked", 1, 20)]


def test_another_ledger_is_another_ledger(
    log: Log, server_url: str, template_database: Template, tmp_path: Path
) -> None:
    """A genuine chain of another origin; with the origin renamed; and with that and every hash made to fit."""
    log.record(20)
    kept = log.sign()
    with ledger_copy(server_url, template_database, verify=False) as url:
        other = Log(url, log.key, tmp_path / "other")
        other.tamper("UPDATE head SET origin = 'another.example/log', hash = genesis_hash('another.example/log')")
        other.record(25)
        gone = ("no-checkpoint", 0, 0)
        assert found(other.audit(kept)) == [gone, ("other-ledger", 0, 0)]
        other.tamper(rename(log.key.verifier.name))
        assert found(other.audit(kept)) == [gone, ("genesis-mismatch", 1, 1), ("forked", 1, 20)]
        other.tamper(REHASH.format(at=1), SET_HEAD)
        assert found(other.audit(kept)) == [gone, ("forked", 1, 20)]


def test_two_histories_are_caught_by_a_witness(
    log: Log, server_url: str, template_database: Template, tmp_path: Path
) -> None:
    """Both are signed by the log's own key; the witness cosigns one, and to the other auditor cosignatures are missing.

    The witness keeps what it refused: two signed notes that no honest log would have made.
    """
    witness_key = WitnessSigningKey.generate("witness.example/w1")
    make_store(tmp_path / "witness", witness_key.verifier.text)
    state = WitnessStore(tmp_path / "witness", witness_key.verifier.text)
    witness = Witness(witness_key, logs_of(log.key.verifier), state)
    log.record(10)
    log.sign()
    with contextlib.closing(state), restored(server_url, template_database, log) as shown_to_other:
        for history in (log, shown_to_other):
            history.record(10)
        mine, theirs = log.sign(), shown_to_other.sign()
        answers = [witness.add_checkpoint(AddCheckpoint(0, (), note).encode()) for note in (mine, theirs)]
        assert [answer.status for answer in answers] == [200, 409]
        cosign(log, answers[0].body)
        report = log.audit(witnesses=(witness_key,))
        assert report.ok
        assert report.covered is not None
        assert report.covered.trusted == 20
        lacking = shown_to_other.audit(witnesses=(witness_key,))
        assert found(lacking) == [("too-few-witnesses", 0, 0)]
        # The cosignature is on the other text.
        cosign(shown_to_other, answers[0].body)
        assert {kind for kind, *_ in found(shown_to_other.audit(witnesses=(witness_key,)))} == {
            "bad-signature",
            "too-few-witnesses",
        }
        # Two auditors who meet see it without a witness.
        assert found(shown_to_other.audit(mine)) == [("forked", 1, 20)]
        assert [kept.note for kept in state.refused_notes()] == [theirs]


def test_a_checkpoint_by_another_key_is_named(log: Log) -> None:
    """Signed anew by a key of the same name, and under the name and number of the trusted key."""
    log.record(20)
    kept = log.sign()
    log.tamper(REWRITE, REHASH.format(at=13), SET_HEAD)
    mine = open_checkpoint(kept, log.key.verifier.name, [log.key.verifier]).checkpoint
    forger = SigningKey.generate(log.key.verifier.name)
    forged = sign_checkpoint(mine, forger)
    replace_note(log, forged.encode())
    assert found(log.audit()) == [("untrusted-key", 0, 0)]
    assert found(log.audit(kept)) == [("untrusted-key", 0, 0), ("forked", 1, 20)]
    (signature,) = forged.signatures
    posing = Signed(forged.text, (Signature(signature.name, log.key.verifier.key_id, signature.blob),))
    replace_note(log, posing.encode())
    assert found(log.audit()) == [("bad-signature", 0, 0)]
    # Handed to the auditor as if it were an older one.
    assert sorted(found(log.audit(forged.encode()))) == [("bad-signature", 0, 0), ("untrusted-key", 0, 0)]
    replace_note(log, b"not a note")
    assert found(log.audit()) == [("damaged", 0, 0)]


def test_what_the_chain_names_is_not_said_again(log: Log) -> None:
    """An edit that breaks the chain is that edit, and no second finding because of the root it changes."""
    log.record(20)
    kept = log.sign()
    log.tamper(REWRITE)
    assert found(log.audit(kept)) == [("edited", 13, 13)]
    log.tamper("DELETE FROM events WHERE position = 5")
    report = log.audit(kept)
    assert [kind for kind, *_ in found(report)] == ["deleted", "edited"]
    assert report.covered is not None
    assert report.covered.trusted == 0


def test_deleted_values_change_no_root(log: Log) -> None:
    """Sealed values deleted, one after the other: each is named, and the events are covered as before."""
    log.record(20)
    kept = log.sign()
    for position in range(1, 21):
        log.tamper(
            sql.SQL("DELETE FROM sealed_fields WHERE position = {}").format(position).as_string(None),
            sql.SQL("DELETE FROM stream_clients WHERE stream = {}").format(f"request-{position}").as_string(None),
        )
        report = log.audit(kept)
        assert found(report) == [("sealed-missing", gone, gone) for gone in range(1, position + 1)]
        assert report.covered is not None
        assert report.covered.trusted == 20


@pytest.mark.slow
def test_a_hundred_thousand_events_pass(log: Log, tmp_path: Path) -> None:
    """Sealed in several steps, with an auditor's checkpoint from somewhere in between; and a bundle of all of them."""
    kept = []
    with connect(log.url) as conn:
        for batch in range(100):
            append(conn, *(small(batch, number) for number in range(1000)))
            if batch in {36, 99}:
                kept.append(log.sign())
    report = log.audit(*kept)
    assert report.ok
    assert report.covered is not None
    assert (report.events, report.covered.trusted) == (100_000, 100_000)
    everything = Selection("positions", first_position=1, last_position=100_000)
    (tmp_path / "case.zip").write_bytes(log.bundle(everything, kept[0]))
    (tmp_path / "kept").write_bytes(kept[0])
    ran = program(tmp_path / "case.zip", "--json", "--key", log.key.verifier.text, "--since", tmp_path / "kept")
    assert (ran.code, ran.found, ran.json["proven"]) == (0, [], 100_000)


def rotate(log: Log, event: LogKeyRotated) -> int:
    """Records a rotation, or what claims to be one; its position."""
    with connect(log.url) as conn:
        return int(append(conn, new(STREAM, event))[0].position)


def test_rotations_on_record_are_followed(log: Log) -> None:
    """With an earlier or a later key, the ledger's checkpoints, kept or its own, are signed by the log.

    An earlier key counts for what it signed before it gave way, and not for what a thief signs with it later.
    """
    log.record(10)
    kept = log.sign()
    first, second = log.key, SigningKey.generate(log.key.verifier.name)
    at = rotate(log, rotated(first, second))
    assert log.audit(kept).ok, "the newest checkpoint is still by the old key"
    log.key = second
    for key in (first, second):
        report = audited(log, key, kept)
        assert report == ([], 10)
        with connect(log.url, "verifier") as conn:
            assert Scan([key.verifier]).take(conn, 100) == 11
    log.record(10)
    log.sign()
    for key in (first, second):
        assert audited(log, key, kept) == ([], 21)
    # The old key is stolen, and signs the log as it is: with a tree over the rotation, and so too late.
    newest = open_checkpoint(log.newest(), second.verifier.name, [second.verifier]).checkpoint
    stolen = sign_checkpoint(newest, first).encode()
    assert audited(log, second, stolen) == ([("untrusted-key", 0)], 21)
    log.tamper("DELETE FROM checkpoints WHERE size > 10")
    with connect(log.url) as conn:
        conn.execute("INSERT INTO checkpoints (size, note) VALUES (21, %s)", [stolen.decode()])
    assert at < 21
    assert audited(log, second)[0] == [("untrusted-key", 0)]
    with connect(log.url, "verifier") as conn, pytest.raises(ChainBroken, match="gave way"):
        Scan([second.verifier]).take(conn, 100)


def audited(log: Log, key: SigningKey, *held: bytes) -> tuple[list[tuple[str, int]], int]:
    """Verify with this key; return the findings, and how many events the signed checkpoints cover."""
    before, log.key = log.key, key
    report = log.audit(*held)
    log.key = before
    assert report.covered is not None
    return [(kind, position) for kind, position, _ in found(report)], report.covered.signed


def test_rotations_that_lead_nowhere(log: Log) -> None:
    """By one key alone, of another log, or from a key that nobody trusts: what the new key signs is untrusted."""
    log.record(10)
    kept = log.sign()
    mine, thief, other = log.key, *(SigningKey.generate(log.key.verifier.name) for _ in range(2))
    claimed, genuine = rotated(mine, thief), rotated(other, thief)
    elsewhere = rotated(*(SigningKey.generate("elsewhere.example/log") for _ in range(2)))
    for event in (
        claimed.model_copy(update={"old_signature": genuine.new_signature}),
        claimed.model_copy(update={"old_signature": genuine.old_signature}),
        genuine.model_copy(update={"old": mine.verifier.text}),
        genuine,
        elsewhere,
    ):
        rotate(log, event)
    log.key = thief
    log.sign_anew()
    assert audited(log, mine) == ([("untrusted-key", 0)], 0)
    assert audited(log, mine, kept) == ([("untrusted-key", 0)], 10)
    with connect(log.url, "verifier") as conn, pytest.raises(ChainBroken, match="not signed by a known key"):
        Scan([mine.verifier]).take(conn, 100)


@pytest.mark.slow
def test_the_command_says_so(log: Log, tmp_path: Path) -> None:
    """`verify` with --since and --key: exit 0 and how far it reaches; exit 1, name and place; exit 2 without a key."""
    log.record(20)
    (tmp_path / "kept").write_bytes(log.sign())
    log.record(5)
    asked = ("verify", "--since", str(tmp_path / "kept"), "--key", log.key.verifier.text, "--database-url", log.url)
    ran = cli(*asked)
    assert ran.code == 0, ran
    assert "10. signed checkpoints are of these events: holds\n" in ran.out
    assert "a trusted checkpoint covers 20 events, one signed with the ledger's key covers 20" in ran.out
    assert "covers positions 21 to 25: a rewrite of these" in ran.out
    later = SigningKey.generate(log.key.verifier.name)
    rotate(log, rotated(log.key, later))
    result = cli(*asked, "--json").json()
    assert (result["covered_by_checkpoint"], result["followed_keys"]) == (
        {"trusted": 20, "signed": 20},
        [later.verifier.text],
    )
    log.tamper(REWRITE, REHASH.format(at=13), SET_HEAD)
    ran = cli(*asked)
    assert ran.code == 1
    assert "forked at positions 1 to 20: " in ran.out
    assert f"by the recorded rotations also: {later.verifier.text}" in ran.out
    assert cli("verify", "--since", str(tmp_path / "kept"), "--database-url", log.url).failed_with("--key")
    assert cli(*asked, "--since", str(tmp_path / "none")).failed_with("none", "No such file")


def test_a_verifier_without_rights_or_ledger_raises(log: Log, server_url: str) -> None:
    """A database that cannot be read is an error and not a good report."""
    with connect(log.url, "writer") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        verify_chain(conn, trusted=TrustedCheckpoints(Trust((log.key.verifier,))))

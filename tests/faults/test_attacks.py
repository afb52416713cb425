"""What a database's owner could do, done on a real database, and what an auditor sees who kept an older checkpoint.

Each attack is by a superuser with the triggers out of the way, and leaves a chain whose hashes all fit: without a
checkpoint kept elsewhere nobody would notice.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from api.witness.state import FileState, make_file
from api.witness.witness import Witness
from ledger.envelope import NewEvent
from ledger.log.sealer import Sealer
from ledger.log.state import StateFile
from ledger.proof.checkpoint import open_checkpoint, sign_checkpoint
from ledger.proof.cosignature import AddCheckpoint, WitnessSigningKey
from ledger.proof.findings import ChainReport
from ledger.proof.held import Held, Note
from ledger.proof.note import Note as Signed
from ledger.proof.note import Signature, SigningKey
from ledger.proof.trust import Trust
from ledger.verify import verify_chain
from tests.api.program import cli
from tests.conftest import Template, ledger_copy
from tests.support import Connection, append, connect, failed, new, requested

pytestmark = pytest.mark.tampers

TABLES = ("events", "head", "sealed_fields", "stream_clients", "stream_numbers", "tiles", "checkpoints", "cosignatures")

# From position `at` on, each event with the hash that it has after what stands before it; and the head after the last.
REHASH = """
    DO $$
    DECLARE
        link bytea;
        one  events;
    BEGIN
        FOR one IN SELECT * FROM events WHERE position >= {at} ORDER BY position LOOP
            SELECT coalesce((SELECT hash FROM events WHERE position = one.position - 1), genesis_hash(h.origin))
            INTO link FROM head h;
            UPDATE events
            SET prev_hash = link, hash = event_hash(
                link, position, version, (extract(epoch FROM recorded_at) * 1000000)::bigint, body)
            WHERE position = one.position;
        END LOOP;
    END
    $$
"""
SET_HEAD = """
    UPDATE head SET (position, hash, recorded_at) =
        (SELECT position, hash, recorded_at FROM events ORDER BY position DESC LIMIT 1)
"""
CUT = """
    DELETE FROM stream_clients WHERE stream IN (SELECT stream FROM events WHERE position > 15 AND version = 1);
    DELETE FROM sealed_fields WHERE position > 15;
    DELETE FROM events WHERE position > 15;
    UPDATE stream_numbers SET last = (SELECT max(split_part(stream, '-', 2)::bigint) FROM events)
"""
FORGET = "DELETE FROM checkpoints WHERE size > 15"
REWRITE = "UPDATE events SET body = replace(body, '1000.00', '9000.00') WHERE position = 13"


@dataclass
class Log:
    """A ledger, the key that signs it, and the sealer's file."""

    url: str
    key: SigningKey
    path: Path

    def record(self, count: int) -> None:
        """Appends so many requests, with sealed values."""
        with connect(self.url) as conn:
            append(conn, *(new("request-", requested(f"client-{number}")) for number in range(count)))

    def seal(self) -> bytes:
        """Signs what there is; the newest checkpoint, as an auditor would keep it."""
        file = StateFile(self.path, self.key.verifier.name, [self.key.verifier])
        with connect(self.url, "sealer") as conn, file.held():
            sealer = Sealer(conn, self.key, file)
            while sealer.step() is not None:
                pass
        return self.newest()

    def newest(self) -> bytes:
        """The note of the newest checkpoint."""
        with connect(self.url) as conn:
            row = conn.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        assert row is not None
        return bytes(row[0], "utf-8")

    def tamper(self, *statements: str) -> None:
        """As a superuser with triggers disabled."""
        with superuser(self.url) as conn:
            for statement in statements:
                conn.execute(statement.encode())

    def audit(self, *held: bytes, witnesses: tuple[WitnessSigningKey, ...] = ()) -> ChainReport:
        """What the verifier says to somebody who has the log's key and these checkpoints."""
        trusted = Trust((self.key.verifier,), tuple(key.verifier for key in witnesses), len(witnesses))  # type: ignore[misc]
        kept = [Note(f"checkpoint {number}", data) for number, data in enumerate(held, 1)]
        with connect(self.url, "verifier") as conn:
            return verify_chain(conn, held=Held(trusted, kept))


@contextlib.contextmanager
def superuser(url: str) -> Iterator[Connection]:
    """A connection that may do anything, with no trigger in its way."""
    with connect(url) as conn:
        for table in TABLES:
            conn.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER ALL").format(sql.Identifier(table)))
        yield conn


def log_at(url: str, path: Path) -> Log:
    """The log of a ledger, with a new key."""
    with connect(url) as conn:
        row = conn.execute("SELECT origin FROM head").fetchone()
    assert row is not None
    return Log(url, SigningKey.generate(row[0]), path)


@pytest.fixture
def log(database_url: str, tmp_path: Path) -> Log:
    """An empty ledger."""
    return log_at(database_url, tmp_path / "last")


@contextlib.contextmanager
def restored(server_url: str, template: Template, log: Log) -> Iterator[Log]:
    """A copy of the log's database as it is now, served in its place later."""
    name = str(conninfo_to_dict(log.url)["dbname"])
    with ledger_copy(server_url, Template(name, template.search_path), verify=False) as url:
        copied = log.path.with_name("copied")
        copied.write_bytes(log.path.read_bytes())
        yield Log(url, log.key, copied)


def found(report: ChainReport) -> list[tuple[str, int, int]]:
    """Kind and range of positions of each finding."""
    return [(one.kind.value, one.position, one.last_position) for one in report.findings]


def test_a_clean_ledger_passes(log: Log) -> None:
    """With checkpoints of any age; the report says how far somebody else's reaches, and what is beyond it."""
    log.record(10)
    first = log.seal()
    log.record(10)
    second = log.seal()
    log.record(5)
    report = log.audit(first)
    assert report.ok
    assert report.covered is not None
    assert (report.covered.held, report.covered.signed) == (10, 20)
    assert "positions 11 to 25" in report.not_proven
    report = log.audit(first, second)
    assert report.covered is not None
    assert report.covered.held == 20
    last = log.seal()
    assert "witnesses" in log.audit(last).not_proven


def test_a_rewritten_suffix_with_correct_hashes_is_forked(log: Log) -> None:
    """The chain fits, and the kept checkpoint is of other events; a smaller one that holds says where from."""
    log.record(10)
    first = log.seal()
    log.record(10)
    second = log.seal()
    log.tamper(REWRITE, REHASH.format(at=13), SET_HEAD)
    with connect(log.url, "verifier") as conn:
        assert verify_chain(conn).ok, "the chain alone does not show it"
    report = log.audit(second)
    assert found(report) == [("forked", 1, 20)]
    assert found(log.audit(first, second)) == [("forked", 11, 20)]
    # Without what the database itself remembers of the log, all the same.
    log.tamper("DELETE FROM checkpoints", "DELETE FROM tiles")
    assert found(log.audit(first, second)) == [("forked", 11, 20)]
    report = log.audit(first)
    assert report.ok
    assert report.covered is not None
    assert report.covered.held == 10


def test_a_tail_cut_after_a_checkpoint_is_truncated(log: Log) -> None:
    """Events are gone that the database's own checkpoints know of."""
    log.record(20)
    kept = log.seal()
    log.tamper(CUT, SET_HEAD)
    with connect(log.url, "verifier") as conn:
        assert verify_chain(conn).ok, "the chain alone does not show it"
    assert found(log.audit(kept)) == [("truncated", 16, 20)]
    assert found(log.audit()) == [("truncated", 16, 20)]
    # With these gone as well, only the auditor knows.
    log.tamper(FORGET)
    assert log.audit().ok
    assert found(log.audit(kept)) == [("rolled-back", 16, 20)]


def test_a_database_of_yesterday_is_rolled_back(log: Log, server_url: str, template_database: Template) -> None:
    """A backup in place of the ledger lacks what was signed since; written on until it is as long, it is forked."""
    log.record(10)
    log.seal()
    with restored(server_url, template_database, log) as yesterday:
        early = yesterday.newest()
        log.record(10)
        today = log.seal()
        assert found(yesterday.audit(today)) == [("rolled-back", 11, 20)]
        yesterday.record(15)
        assert found(yesterday.audit(early, today)) == [("forked", 11, 20)]
        # What it signs from then on is of its own history, and narrows nothing.
        yesterday.seal()
        assert found(yesterday.audit(early, today)) == [("forked", 11, 20)]
        assert found(yesterday.audit(today)) == [("forked", 1, 20)]


def test_another_ledger_is_another_ledger(
    log: Log, server_url: str, template_database: Template, tmp_path: Path
) -> None:
    """A genuine chain of another origin; with the origin renamed; and with that and every hash made to fit."""
    log.record(20)
    kept = log.seal()
    with ledger_copy(server_url, template_database, verify=False) as url:
        other = Log(url, log.key, tmp_path / "other")
        other.tamper("UPDATE head SET origin = 'another.example/log', hash = genesis_hash('another.example/log')")
        other.record(25)
        assert found(other.audit(kept)) == [("other-ledger", 0, 0)]
        other.tamper(rename(log.key.verifier.name))
        assert found(other.audit(kept)) == [("genesis-mismatch", 1, 1), ("forked", 1, 20)]
        other.tamper(REHASH.format(at=1), SET_HEAD)
        assert found(other.audit(kept)) == [("forked", 1, 20)]


def rename(origin: str) -> str:
    """The statement that gives a ledger another name."""
    return sql.SQL("UPDATE head SET origin = {}").format(origin).as_string(None)


def test_two_histories_are_caught_by_a_witness(
    log: Log, server_url: str, template_database: Template, tmp_path: Path
) -> None:
    """Both are signed by the log's own key; the witness cosigns one, and to the other auditor cosignatures are missing.

    The witness keeps what it refused: two signed notes that no honest log would have made.
    """
    witness_key = WitnessSigningKey.generate("witness.example/w1")
    make_file(tmp_path / "witness", witness_key.verifier.text)
    state = FileState(tmp_path / "witness", witness_key.verifier.text)
    witness = Witness(witness_key, [log.key.verifier], state)
    log.record(10)
    log.seal()
    with contextlib.closing(state), restored(server_url, template_database, log) as shown_to_other:
        for history in (log, shown_to_other):
            history.record(10)
        mine, theirs = log.seal(), shown_to_other.seal()
        answers = [witness.add_checkpoint(AddCheckpoint(0, (), note).encode()) for note in (mine, theirs)]
        assert [answer.status for answer in answers] == [200, 409]
        cosign(log, answers[0].body)
        report = log.audit(witnesses=(witness_key,))
        assert report.ok
        assert report.covered is not None
        assert report.covered.held == 20
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
        assert [kept.note for kept in state.kept()] == [theirs]


def cosign(log: Log, line: str) -> None:
    """Stores a witness's answer beside the newest checkpoint."""
    with superuser(log.url) as conn:
        conn.execute("INSERT INTO cosignatures (size, witness, line) VALUES (20, 'w1', %s)", [line])


def test_a_checkpoint_by_another_key_is_named(log: Log) -> None:
    """Signed anew by a key of the same name, and under the name and number of the trusted key."""
    log.record(20)
    kept = log.seal()
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


def replace_note(log: Log, note: bytes) -> None:
    """Puts another note in the place of the newest checkpoint."""
    with superuser(log.url) as conn:
        conn.execute("UPDATE checkpoints SET note = %s WHERE size = 20", [note.decode()])


def test_what_the_chain_names_is_not_said_again(log: Log) -> None:
    """An edit that breaks the chain is that edit, and no second finding because of the root it changes."""
    log.record(20)
    kept = log.seal()
    log.tamper(REWRITE)
    assert found(log.audit(kept)) == [("edited", 13, 13)]
    log.tamper("DELETE FROM events WHERE position = 5")
    report = log.audit(kept)
    assert [kind for kind, *_ in found(report)] == ["deleted", "edited"]
    assert report.covered is not None
    assert report.covered.held == 0


def test_erased_values_change_no_root(log: Log) -> None:
    """All sealed values of clients erased, one after the other: each time the ledger passes, covered as before."""
    log.record(20)
    kept = log.seal()
    for position in range(1, 21):
        log.tamper(
            sql.SQL("DELETE FROM sealed_fields WHERE position = {}").format(position).as_string(None),
            sql.SQL("DELETE FROM stream_clients WHERE stream = {}").format(f"request-{position}").as_string(None),
        )
        report = log.audit(kept)
        assert report.ok
        assert report.erased == position
        assert report.covered is not None
        assert report.covered.held == 20


@pytest.mark.slow
def test_a_hundred_thousand_events_pass(log: Log) -> None:
    """Sealed in several steps, with an auditor's checkpoint from somewhere in between."""
    kept = []
    with connect(log.url) as conn:
        for batch in range(100):
            append(conn, *(small(batch, number) for number in range(1000)))
            if batch in {36, 99}:
                kept.append(log.seal())
    report = log.audit(*kept)
    assert report.ok
    assert report.covered is not None
    assert (report.events, report.covered.held) == (100_000, 100_000)


def small(batch: int, number: int) -> NewEvent:
    """An event of a stream that has ten."""
    return new(f"s{batch}x{number % 100}", failed())


def test_the_command_says_so(log: Log, tmp_path: Path) -> None:
    """`verify` with --since and --key: exit 0 and how far it reaches; exit 1, name and place; exit 2 without a key."""
    log.record(20)
    (tmp_path / "kept").write_bytes(log.seal())
    log.record(5)
    asked = ("verify", "--since", str(tmp_path / "kept"), "--key", log.key.verifier.text, "--database-url", log.url)
    ran = cli(*asked)
    assert ran.code == 0, ran
    assert "10. signed checkpoints are of these events: holds" in ran.out
    assert "a checkpoint that someone else holds covers 20 events, one that the log's key signed 20" in ran.out
    assert "covers positions 21 to 25: a rewrite of these" in ran.out
    assert cli(*asked, "--json").json()["covered_by_checkpoint"] == {"held": 20, "signed": 20}
    log.tamper(REWRITE, REHASH.format(at=13), SET_HEAD)
    ran = cli(*asked)
    assert ran.code == 1
    assert "forked at positions 1 to 20: " in ran.out
    assert cli("verify", "--since", str(tmp_path / "kept"), "--database-url", log.url).failed_with("--key")
    assert cli(*asked, "--since", str(tmp_path / "none")).failed_with("none", "No such file")


def test_a_verifier_without_rights_or_ledger_raises(log: Log, server_url: str) -> None:
    """A database that cannot be read is an error and not a good report."""
    with connect(log.url, "writer") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        verify_chain(conn, held=Held(Trust((log.key.verifier,))))

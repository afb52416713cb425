"""`verify --only-new`: the events behind a trusted checkpoint in full, and what stands before by the tree alone.

What it finds behind the checkpoint is what the whole verification finds there. Before it, an edited body is passed
over, and the report says so; another tree, or one that is odd, leads to the whole verification.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from api.cli.shared import CannotRun
from api.cli.trusted import trusted_checkpoints
from api.settings import Settings
from ledger.database import Connection, conninfo
from ledger.proof.findings import Verdict
from ledger.proof.format.canonical import canonical
from ledger.proof.tlog.trust import Trust
from ledger.store.envelope import Line, SealedValue
from ledger.tlog.signing_keys import SigningKey
from ledger.verify.database import verify_chain
from ledger.verify.helpers import Helpers
from ledger.verify.report import ChainReport
from ledger.verify.trusted_checkpoints import NamedNote, TrustedCheckpoints
from tests.api.program import cli
from tests.conftest import Template, ledger_copy
from tests.faults.attacks import REHASH, SET_HEAD, Log, found, log_at
from tests.ledger.proof.acts.chain import SALT, act
from tests.ledger.proof.acts.signing import FileKey, registration, signed
from tests.support import append_lines, connect

# A checkpoint that somebody kept covers three full tiles and a part of the next; others are smaller and larger.
SMALL, KEPT, FULL, SIGNED, LAST = 300, 800, 768, 1100, 1150
REGISTERED = 21
EDIT = "UPDATE events SET body = replace(body, '1000.00', '9000.00') WHERE position = {}"
TOO_FEW = "DELETE FROM events WHERE position > 778;" + SET_HEAD  # noqa: S608 - no parameters
BEHIND = {
    "edited": EDIT.format(1001),
    "edited and read again": EDIT.format(FULL + 1),
    "hash recomputed": EDIT.format(900) + ";" + REHASH.format(at=900) + ";" + SET_HEAD,
    "deleted": "DELETE FROM events WHERE position = 1000",
    "cut": "DELETE FROM events WHERE position > 1120",
    "version": "UPDATE events SET version = 7 WHERE position = 1005",
    "sealed": 'UPDATE sealed_fields SET fields = \'{"client_id":"x"}\' WHERE position = 1001',
    "stray": "INSERT INTO sealed_fields VALUES (2000, '{}', '{}')",
    "client": "UPDATE stream_clients SET client_id = 'x' WHERE"
    " stream = (SELECT e.stream FROM events e WHERE e.position = 1003)",
    "tile": "UPDATE tiles SET hashes = substr(hashes, 1, 8160) || sha256(hashes) WHERE level = 0 AND number = 3",
    "edge": "UPDATE partial_tiles SET hashes = set_byte(hashes, 120, 255 - get_byte(hashes, 120)) WHERE level = 1",
    "checkpoint": "UPDATE checkpoints SET note = replace(note, E'\\n1100\\n', E'\\n1099\\n') WHERE size = 1100",
    "head": "UPDATE head SET hash = sha256('x')",
}


@pytest.fixture(scope="module")
def ledger(server_url: str, template_database: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    """A ledger with checkpoints at SMALL, KEPT and SIGNED, and a key of signed acts among its first events."""
    with ledger_copy(server_url, template_database) as url:
        log = log_at(url, tmp_path_factory.mktemp("log") / "state")
        key = FileKey()
        with connect(url) as conn:
            log.record(REGISTERED - 1)
            take(conn, registration(key, "ada", ledger=log.key.verifier.name))
            log.record(SMALL - REGISTERED)
            small = log.sign()
            log.record(KEPT - SMALL)
            kept = log.sign()
            log.record(100)
            take(conn, signed(act(3), key, ledger=log.key.verifier.name))
            log.record(SIGNED - KEPT - 101)
            log.sign()
            log.record(LAST - SIGNED)
        log.path.with_name("small").write_bytes(small)
        log.path.with_name("kept").write_bytes(kept)
        yield log


@pytest.fixture
def copy(server_url: str, template_database: Template, ledger: Log) -> Iterator[Log]:
    """A copy of it to tamper with."""
    template = Template(ledger.url.partition("dbname=")[2].split()[0], template_database.search_path)
    with ledger_copy(server_url, template, verify=False) as url:
        yield replace(ledger, url=url)


def take(conn: Connection, body: dict[str, Any]) -> None:
    """Record an event with this body."""
    head = canonical({name: body[name] for name in ("actor", "data")}).decode()[:-1]
    sealed = (SealedValue("rationale", bytes.fromhex(SALT), '"why"'),) if "sealed" in body else ()
    signature = canonical(body["signature"]).decode() if "signature" in body else None
    names = body["stream"], body["type"], body["schema"]
    append_lines(conn, [Line(head, UUID(body["id"]), *names, "any", None, sealed, signature, 1)])


def verified(log: Log, *, only_new: bool, key: SigningKey | None = None, helpers: Helpers | None = None) -> ChainReport:
    """Verify with both checkpoints that were kept."""
    names = ("small", "kept")
    notes = [NamedNote(name, log.path.with_name(name).read_bytes(), begin=only_new) for name in names]
    trusted = TrustedCheckpoints(Trust(((key or log.key).verifier,)), notes)
    with connect(log.url, "verifier") as conn:
        return verify_chain(conn, trusted=trusted, helpers=helpers)


def test_events_behind_the_checkpoint_are_read_alone(ledger: Log) -> None:
    """The report says which, and that the rest was not read; the signed act finds its key among the others."""
    report, whole = verified(ledger, only_new=True), verified(ledger, only_new=False)
    assert report.ok
    assert (report.by_tree, report.first_position, report.events) == (FULL, FULL + 1, LAST - FULL)
    assert (report.last_position, report.head_hash) == (whole.last_position, whole.head_hash)
    assert (report.covered, report.acts.signed) == (whole.covered, 1)
    assert (report.verdict, whole.verdict) == (Verdict.VERIFIED_IN_PART, Verdict.VERIFIED_IN_PART)
    assert any(f"up to position {FULL}: they were not read" in claim for claim in report.not_proven)
    assert not any("not read" in claim for claim in whole.not_proven)
    assert (report.checkpoints, report.tiles) == (2, 1), "of those behind the position alone"


def test_processes_begin_there_too(ledger: Log) -> None:
    """With helpers the report is the same."""
    helpers = Helpers(conninfo(ledger.url, "verifier"), 2, 100, fewest=0)
    report = verified(ledger, only_new=True, helpers=helpers)
    assert report == verified(ledger, only_new=True)


@pytest.mark.parametrize("attack", BEHIND.values(), ids=BEHIND.keys())
def test_an_attack_behind_the_checkpoint_is_named_as_ever(copy: Log, attack: str) -> None:
    """The findings are those of the whole verification."""
    copy.tamper(attack)
    whole = verified(copy, only_new=False)
    assert not whole.ok
    report = verified(copy, only_new=True)
    assert (found(report), report.by_tree) == (found(whole), FULL)


def test_an_edit_before_the_checkpoint_is_passed_over_and_the_report_says_so(copy: Log) -> None:
    """That is what is not read. The whole verification names it."""
    copy.tamper(EDIT.format(100))
    report = verified(copy, only_new=True)
    assert report.ok
    assert report.verdict is Verdict.VERIFIED_IN_PART
    assert found(verified(copy, only_new=False)) == [("edited", 100, 100)]


@pytest.mark.parametrize(
    "attack",
    [
        EDIT.format(500) + ";" + REHASH.format(at=500) + ";" + SET_HEAD,
        "UPDATE partial_tiles SET hashes = set_byte(hashes, 40, 255 - get_byte(hashes, 40)) WHERE level = 1",
        "DELETE FROM partial_tiles",
        "DELETE FROM events WHERE position = 769",
        "UPDATE events SET body = replace(body, '\"ada\"', '\"eve\"') WHERE position = 21",
        TOO_FEW,
    ],
    ids=["another history", "a wrong hash in the tree", "no tree", "an event is gone", "another key", "too few events"],
)
def test_if_the_tree_is_odd_everything_is_read(copy: Log, attack: str) -> None:
    """Nothing is passed over then, so the findings are those of the whole verification."""
    copy.tamper(attack)
    report = verified(copy, only_new=True)
    assert (report.by_tree, report.first_position) == (0, 1)
    assert found(report) == found(verified(copy, only_new=False)) != []


def test_a_checkpoint_that_no_trusted_key_signed_lets_nothing_be_passed_over(copy: Log) -> None:
    """Its finding is there, and every event is read."""
    copy.tamper(EDIT.format(100))
    report = verified(copy, only_new=True, key=SigningKey.generate(copy.key.verifier.name))
    assert report.by_tree == 0
    assert ("edited", 100, 100) in found(report)


def test_the_command_says_what_it_did_not_read(ledger: Log) -> None:
    """On its first lines, under not proven, and in the verdict; the JSON has the position."""
    trusted = ("--since", str(ledger.path.with_name("kept")), "--key", ledger.key.verifier.text)
    asked = ("verify", "--only-new", "--no-projections", *trusted, "--database-url", ledger.url)
    ran = cli(*asked)
    assert ran.code == 0, ran
    assert f"positions 1 to {FULL}: the tree is that of the trusted checkpoint; the events are NOT READ" in ran.out
    assert ran.out.endswith(
        f"verified from position {FULL + 1} up to position {SIGNED}; CONSISTENT, NOT SIGNED: positions {SIGNED + 1} to"
        f" {LAST}; BY THE TREE ALONE: positions 1 to {FULL}\n"
    )
    result = cli(*asked, "--json").json()
    assert (result["by_tree"], result["events"], result["verdict"]) == (FULL, LAST - FULL, "verified in part")


def test_new_means_behind_a_checkpoint_that_was_given(tmp_path: Path) -> None:
    """The state file of this installation is no such checkpoint: with it, nothing would be new."""
    with pytest.raises(CannotRun, match="--since"):
        trusted_checkpoints(Settings(data_dir=tmp_path), (), (), (), None, only_new=True)

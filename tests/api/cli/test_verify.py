"""`verify` says no more than it checked.

By default it trusts this installation's own key and state file. It reads files as other machines save them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from api.cli.shared import CannotRun
from api.cli.trusted import trusted_checkpoints
from api.settings import Settings
from ledger.proof.findings import Verdict
from ledger.tlog.sign.errors import KeyUnusable
from ledger.tlog.signing_keys import SigningKey
from ledger.verify.database import verify_chain
from ledger.verify.report import ChainReport
from tests.api.program import cli
from tests.faults.attacks import CUT, REHASH, REWRITE, SET_HEAD, UNSIGN, Log, found, log_at
from tests.support import connect, login_role

SAVED_BY_OTHERS: dict[str, Callable[[str], bytes]] = {
    "as it was": lambda text: text.encode(),
    "with a byte order mark": lambda text: text.encode("utf-8-sig"),
    "in UTF-16, as PowerShell writes": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
    "with CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "without its last newline": lambda text: text.rstrip("\n").encode(),
}


@pytest.fixture
def log(database_url: str, tmp_path: Path) -> Log:
    """An empty ledger, whose key is in a file; the state file is beside it."""
    log = log_at(database_url, tmp_path / "log.key.last")
    path = tmp_path / "log.key"
    path.write_text(log.key.reveal())
    path.chmod(0o600)
    return log


def own(log: Log) -> Settings:
    """The settings of this installation."""
    return Settings(database_url=log.url, key_file=log.path.with_name("log.key"))


def check(log: Log, settings: Settings | None = None, *since: Path, key: tuple[str, ...] = ()) -> ChainReport:
    """Verify as the command does, with its default trust."""
    trusted = trusted_checkpoints(settings or own(log), [str(path) for path in since], key, (), None)
    with connect(log.url, "verifier") as conn:
        return verify_chain(conn, trusted=trusted)


def test_the_verdict_says_what_a_trusted_key_signed(log: Log) -> None:
    """Nothing recorded, nothing signed, all signed, a part signed; and signed by a key that was not given."""
    assert check(log).verdict is Verdict.NOT_SIGNED
    log.record(20)
    assert check(log).verdict is Verdict.NOT_SIGNED
    log.sign()
    report = check(log)
    assert report.verdict is Verdict.VERIFIED
    assert report.covered is not None
    assert (report.covered.trusted, report.covered.signed) == (20, 20), "the state file is outside the database"
    log.record(5)
    report = check(log)
    assert report.verdict is Verdict.VERIFIED_IN_PART
    assert "21 to 25" in report.not_proven[0]
    report = check(log, Settings(database_url=log.url))
    assert (report.verdict, report.checkpoints, report.covered) == (Verdict.SIGNER_UNKNOWN, 1, None)
    assert all("in any name" in reports.not_proven[-1] for reports in (check(log), report))


@pytest.mark.tampers
def test_the_state_file_shows_what_the_database_forgot(log: Log) -> None:
    """A tail cut off with all its checkpoints passes only where nothing outside the database knows of it."""
    log.record(20)
    log.sign()
    log.tamper(CUT, SET_HEAD, UNSIGN)
    assert found(check(log)) == [("no-checkpoint", 0, 0), ("rolled-back", 16, 20)]
    assert check(log, Settings(database_url=log.url)).verdict is Verdict.NOT_SIGNED
    assert found(check(log, Settings(database_url=log.url), key=(log.key.verifier.text,))) == [("no-checkpoint", 0, 0)]


@pytest.mark.tampers
def test_a_given_key_does_not_make_it_weaker(log: Log) -> None:
    """The state file counts with --key too, also if nobody may read the signing key; not that of another ledger."""
    given = (log.key.verifier.text,)
    for _ in range(2):
        log.record(20)
        log.sign()
    log.tamper("DELETE FROM events WHERE position > 20", SET_HEAD, "DELETE FROM checkpoints WHERE size > 20")
    named = found(check(log))
    assert ("rolled-back", 21, 40) in named
    assert found(check(log, key=given)) == named
    log.path.with_name("log.key").unlink()
    assert found(check(log, key=given)) == named
    state = json.loads(log.path.read_text())
    log.path.write_text(json.dumps(state | {"note": state["note"].replace(log.key.verifier.name, "another.example")}))
    assert ("rolled-back", 21, 40) not in found(check(log, key=given))


@pytest.mark.tampers
def test_a_log_signed_anew_by_another_key_is_named(log: Log) -> None:
    """Own key and state file contradict it; without a key nothing does, and the verdict says so."""
    log.record(20)
    log.sign()
    log.tamper(REWRITE, REHASH.format(at=13), SET_HEAD, UNSIGN)
    Log(log.url, SigningKey.generate(log.key.verifier.name), log.path.with_name("forged.last")).sign()
    assert check(log, Settings(database_url=log.url)).verdict is Verdict.SIGNER_UNKNOWN
    assert found(check(log)) == [("untrusted-key", 0, 0), ("forked", 1, 20)]
    assert found(check(log, key=(log.key.verifier.text,))) == [("untrusted-key", 0, 0), ("forked", 1, 20)]


@pytest.mark.parametrize("saved", SAVED_BY_OTHERS.values(), ids=SAVED_BY_OTHERS.keys())
def test_files_from_other_machines_are_read(log: Log, tmp_path: Path, saved: Callable[[str], bytes]) -> None:
    """Keys, a policy and a kept checkpoint, however an editor or a shell saved them."""
    log.record(10)
    kept, firm, policy = tmp_path / "kept", tmp_path / "firm.key", tmp_path / "policy"
    kept.write_bytes(saved(log.sign().decode()))
    firm.write_bytes(saved(f"# the firm\n{log.key.verifier.text}\n"))
    policy.write_bytes(saved(f'{{"log": ["{log.key.verifier.text}"]}}\n'))
    anybody = Settings(database_url=log.url)
    assert check(log, anybody, kept, key=(str(firm),)).verdict is Verdict.VERIFIED
    assert trusted_checkpoints(anybody, (), (), (), str(policy)).trusted.log == (log.key.verifier,)


@pytest.mark.parametrize(
    "data", [b"", b"not a checkpoint\n", b"\xff\xfe\x00", b"\x00\x01\x02", "kept".encode("utf-16-le")]
)
def test_a_file_that_is_no_checkpoint_is_no_finding(log: Log, tmp_path: Path, data: bytes) -> None:
    """It says nothing about the ledger, so the command cannot run, and says which file it is."""
    (tmp_path / "kept").write_bytes(data)
    with pytest.raises(CannotRun, match="kept"):
        check(log, None, tmp_path / "kept", key=(log.key.verifier.text,))


def test_a_key_that_cannot_be_read_is_no_finding(log: Log) -> None:
    """A configured key that is gone or damaged stops the command; one that nobody configured is not missed."""
    log.record(1)
    log.path.with_name("log.key").unlink()
    with pytest.raises(KeyUnusable, match=r"log\.key"):
        check(log)
    log.path.with_name("log.key").write_text("nothing")
    with pytest.raises(KeyUnusable):
        check(log)


def test_the_command_uses_the_key_of_its_settings(log: Log) -> None:
    """The verdict is its last line and in its JSON; without a key the exit code is 0 as well, as nothing is wrong."""
    log.record(3)
    key = {"ADVICE_LEDGER_KEY_FILE": str(log.path.with_name("log.key"))}
    ran = cli("verify", "--database-url", log.url, env=key)
    assert (ran.code, ran.out.splitlines()[-1].partition(":")[0]) == (0, "CONSISTENT, NOT SIGNED")
    log.sign()
    ran = cli("verify", "--database-url", log.url, env=key)
    assert ran.out.splitlines()[-1] == "verified: all of the above holds, and a trusted key signed all events"
    log.record(1)
    ran = cli("verify", "--database-url", log.url, env=key)
    assert (ran.code, ran.out.splitlines()[-1]) == (
        0,
        "verified up to position 3; CONSISTENT, NOT SIGNED: positions 4 to 4",
    )
    result = cli("verify", "--database-url", log.url, "--json").json()
    assert (result["ok"], result["verdict"], result["checkpoints"]) == (True, "consistent, signer unknown", 1)
    with login_role(log.url, member_of="ledger_owner") as member:
        unproven = cli("verify", "--database-url", log.url, "--json").json()["not_proven"]
    assert f"{member!a} (owner)" in unproven[-1]
    log.path.write_text("{}")
    assert cli("verify", "--database-url", log.url, env=key).failed_with("log.key.last")


@pytest.mark.tampers
def test_a_disabled_trigger_is_named_by_verify_and_status(log: Log) -> None:
    """Exit code 1 and the name of the trigger, although the chain holds; in the JSON it is a finding of step 12."""
    log.record(3)
    with connect(log.url) as conn:
        conn.execute("ALTER TABLE events DISABLE TRIGGER refuse_change")
    ran = cli("verify", "--database-url", log.url)
    assert ran.code == 1
    assert "schema-mismatch: trigger events.refuse_change differs" in ran.out
    assert ran.out.endswith("FAILED: the chain holds, but objects of the database are not of this version: 1\n")
    result = cli("verify", "--database-url", log.url, "--json").json()
    assert [(found["step"], found["kind"]) for found in result["findings"]] == [(12, "schema-mismatch")]
    assert (result["ok"], result["verdict"]) == (False, "failed")
    ran = cli("status", "--database-url", log.url)
    assert ran.code == 1
    assert "objects  1 are not of this version: trigger events.refuse_change differs" in ran.out
    with connect(log.url) as conn:
        conn.execute("COMMENT ON SCHEMA ledger IS 'another version'")
    ran = cli("verify", "--database-url", log.url)
    assert ran.code == 1
    assert "12. functions, triggers, grants, tables and views are those of this version: FAILS, 2 findings" in ran.out
    assert "schema-mismatch: trigger events.refuse_change differs" in ran.out
    assert "other-version: the database says that another version of advice-ledger migrated it" in ran.out

"""Attacks of a database's owner, each named and placed by `verify` as it is without options, on its own installation.

The owner is a superuser with the triggers out of the way. The signing key and the state file are on the machine that
verifies. tests/ledger/verify/attacks.sql has the attacks that the chain alone shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from api.cli.trusted import trusted_checkpoints
from api.settings import Settings
from ledger.proof.findings import Verdict
from ledger.tlog.signing_keys import SigningKey
from ledger.verify.database import verify_chain
from ledger.verify.report import ChainReport
from tests.faults.attacks import REHASH, SET_HEAD, UNSIGN, Log, found, log_at
from tests.support import append_text, connect, line, new

EVENTS = 600
AT = 400

EDIT = f"UPDATE events SET body = replace(body, '1000.00', '9000.00') WHERE position = {AT}"  # noqa: S608 - a number
REWRITE = (EDIT, REHASH.format(at=AT), SET_HEAD)
CUT = (
    f"DELETE FROM stream_clients WHERE stream IN (SELECT stream FROM events WHERE position > {AT} AND version = 1)",  # noqa: S608
    f"DELETE FROM sealed_fields WHERE position > {AT}",  # noqa: S608
    f"DELETE FROM events WHERE position > {AT}",  # noqa: S608
    f"UPDATE stream_numbers SET last = {AT}",  # noqa: S608
    SET_HEAD,
)
COPY_EVENT = f"""
    INSERT INTO events
    SELECT {AT}, '01890000-0000-7000-8000-000000000001', 'x-1', 1, type, recorded_at,
           replace(replace(body, id::text, '01890000-0000-7000-8000-000000000001'), stream, 'x-1'), prev_hash, hash
    FROM events
    WHERE position = {AT - 1}
"""  # noqa: S608
# A copy of an event at its own place, with all events after it renumbered.
INSERT = (
    f"UPDATE events SET position = position + 10000 WHERE position >= {AT}",  # noqa: S608
    "UPDATE events SET position = position - 9999 WHERE position > 10000",
    f"UPDATE sealed_fields SET position = position + 10000 WHERE position >= {AT}",  # noqa: S608
    "UPDATE sealed_fields SET position = position - 9999 WHERE position > 10000",
    COPY_EVENT,
    f"INSERT INTO sealed_fields SELECT {AT}, salts, fields FROM sealed_fields WHERE position = {AT - 1}",  # noqa: S608
    f"INSERT INTO stream_clients SELECT 'x-1', client_id FROM stream_clients WHERE stream = 'request-{AT - 1}'",  # noqa: S608
    REHASH.format(at=AT),
    SET_HEAD,
)
FORGET = ("DELETE FROM cosignatures", "DELETE FROM checkpoint_timestamps", "DELETE FROM checkpoints")


@dataclass(frozen=True)
class Attack:
    """What the owner does, and the findings that must come of it."""

    name: str
    statements: tuple[str, ...]
    findings: tuple[tuple[str, int, int], ...]


GONE = ("no-checkpoint", 0, 0)
ATTACKS = (
    Attack("a rewritten suffix", REWRITE, (("forked", AT, EVENTS),)),
    Attack("a rewritten suffix, checkpoints deleted", (*REWRITE, *FORGET), (GONE, ("forked", AT, EVENTS))),
    Attack("a rewritten suffix, the log deleted", (*REWRITE, UNSIGN), (GONE, ("forked", 1, EVENTS))),
    Attack(
        "a rewritten suffix, the newest checkpoint deleted",
        (*REWRITE, "DELETE FROM checkpoints WHERE size = 600"),
        (("forked", AT, EVENTS),),
    ),
    Attack("an event inserted, all renumbered", INSERT, (("forked", AT, EVENTS),)),
    Attack("a tail cut off", CUT, (("truncated", AT + 1, EVENTS),)),
    Attack("a tail cut off, checkpoints deleted", (*CUT, UNSIGN), (GONE, ("rolled-back", AT + 1, EVENTS))),
    Attack("a checkpoint edited", ("UPDATE checkpoints SET note = 'x' WHERE size = 300",), (("damaged", 0, 0),)),
    Attack(
        "a checkpoint of another size",
        ("UPDATE checkpoints SET size = 299 WHERE size = 300",),
        (("damaged", 0, 0),),
    ),
    Attack(
        "a bogus checkpoint",
        ("INSERT INTO checkpoints (size, note) VALUES (9000000000000000000, 'x')",),
        (("damaged", 0, 0),),
    ),
)


@pytest.fixture
def log(database_url: str, tmp_path: Path) -> Log:
    """A ledger that was signed at 300 and at 600 events, with the key and the state file of its installation."""
    log = log_at(database_url, tmp_path / "log.key.last")
    log.path.with_name("log.key").write_text(log.key.reveal())
    log.path.with_name("log.key").chmod(0o600)
    for _ in range(2):
        log.record(EVENTS // 2)
        log.sign()
    return log


def verified(log: Log) -> ChainReport:
    """Verify without options."""
    settings = Settings(database_url=log.url, key_file=log.path.with_name("log.key"))
    with connect(log.url, "verifier") as conn:
        return verify_chain(conn, trusted=trusted_checkpoints(settings, (), (), (), None))


@pytest.mark.tampers
@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_an_attack_is_named_and_placed(log: Log, attack: Attack) -> None:
    """By kind and position, by `verify` without options."""
    assert verified(log).verdict is Verdict.VERIFIED
    log.tamper(*attack.statements)
    assert found(verified(log)) == list(attack.findings)


@pytest.mark.tampers
def test_a_short_chain_that_goes_on_is_named(log: Log) -> None:
    """A tail is cut off, and genuine events take its place: until there are as many, and after that."""
    log.tamper(*CUT, UNSIGN)
    log.record(50)
    assert found(verified(log)) == [GONE, ("rolled-back", AT + 51, EVENTS)]
    log.record(200)
    assert found(verified(log)) == [GONE, ("forked", 1, EVENTS)]


@pytest.mark.tampers
def test_a_log_signed_anew_by_another_key_is_named(log: Log) -> None:
    """The events are rewritten, and the log has checkpoints and tiles of a key of the same name."""
    log.tamper(*REWRITE, UNSIGN)
    Log(log.url, SigningKey.generate(log.key.verifier.name), log.path.with_name("forged.last")).sign()
    assert found(verified(log)) == [("untrusted-key", 0, 0), ("forked", 1, EVENTS)]


def test_a_proper_event_in_the_name_of_another_is_not_noticed(log: Log) -> None:
    """Who may append can append in any name: `verify` passes, and says that it does not prove who acted."""
    forged = line(new("request-1")).replace('"clerk"', '"another"')
    with connect(log.url, "writer") as conn:
        append_text(conn, forged)
    log.sign()
    report = verified(log)
    assert report.verdict is Verdict.VERIFIED
    assert "in any name" in report.not_proven[-1]

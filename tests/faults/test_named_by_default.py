"""Attacks of a database's owner, each named and placed by `verify` as it is without options, on its own installation.

The owner is a superuser with the triggers out of the way. The signing key and the state file are on the machine that
verifies. tests/ledger/verify/attacks.sql has the attacks that the chain alone shows.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.cli.trusted import trusted_checkpoints
from api.settings import Settings
from ledger.proof.findings import Verdict
from ledger.tlog.signing_keys import SigningKey
from ledger.verify.database import verify_chain
from ledger.verify.report import ANYBODY, ChainReport
from projections.objects import changed_objects, objects_as_seen, setting_warnings
from tests.faults.attacks import REHASH, SET_HEAD, UNSIGN, Log, found, log_at
from tests.ledger.recording import FORGE, AttestedLedger
from tests.support import append_text, connect, line, login_role, new, refused

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
    f"INSERT INTO stream_clients SELECT 'x-1', client_id, {AT} FROM stream_clients WHERE stream = 'request-{AT - 1}'",  # noqa: S608
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


# What the owner adds or changes beside the events, and what `verify` says of it. DATABASE is the ledger's.
ADDED = {
    "CREATE FUNCTION help() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'": "function help() is additional",
    "CREATE PROCEDURE help() LANGUAGE sql AS 'SELECT 1'": "function help() is additional",
    "CREATE FUNCTION public.fire() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
    " CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION public.fire()": (
        "event trigger watch is additional"
    ),
    "INSERT INTO event_types (type, version) VALUES ('request.made-up', 1)": (
        "event type request.made-up, version 1 is additional"
    ),
    "SET LOCAL session_replication_role = replica; ALTER TABLE event_types DISABLE TRIGGER refuse_change;"
    " UPDATE event_types SET version = 2 WHERE type = 'request.failed';"
    " ALTER TABLE event_types ENABLE ALWAYS TRIGGER refuse_change": (
        "event type request.failed, version 1 is missing, event type request.failed, version 2 is additional"
    ),
    "ALTER ROLE ledger_signer SET search_path = public": "setting search_path of role signer is additional",
    "ALTER ROLE ledger_writer SET idle_in_transaction_session_timeout = 0": (
        "setting idle_in_transaction_session_timeout of role writer differs"
    ),
    "ALTER ROLE ledger_writer IN DATABASE DATABASE SET work_mem = '64kB'": (
        "setting work_mem of role writer in the database is additional"
    ),
    "ALTER ROLE LOGIN SET row_security = off; ALTER ROLE LOGIN SET search_path = public": (
        "setting row_security of role 'LOGIN' is additional"
    ),
    "ALTER DATABASE DATABASE SET session_replication_role = replica": (
        "setting session_replication_role of the database is additional"
    ),
    "ALTER DATABASE DATABASE SET search_path = evil, ledger": "setting search_path of the database is additional",
    "GRANT CONNECT ON DATABASE DATABASE TO PUBLIC": "grant on database to PUBLIC is additional",
    "GRANT TEMP ON DATABASE DATABASE TO PUBLIC": "grant on database to PUBLIC is additional",
    "GRANT CREATE ON DATABASE DATABASE TO ledger_writer": "grant on database to writer differs",
}
# Settings that each connection of ours replaces: a warning, and no finding.
WITHOUT_EFFECT = {
    "ALTER ROLE ledger_writer IN DATABASE DATABASE SET jit = on": "setting jit of role writer in the database",
    "ALTER ROLE LOGIN SET datestyle = 'German'": "setting DateStyle of role 'LOGIN'",
    "ALTER DATABASE DATABASE SET client_encoding = 'LATIN1'": "setting client_encoding of the database",
    "ALTER ROLE ledger_reader SET statement_timeout = '1ms'": "setting statement_timeout of role reader",
}
# What other programs of the same database have, and what an operator may set.
HARMLESS = (
    "CREATE SCHEMA other; CREATE FUNCTION other.help() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
    "GRANT CONNECT ON DATABASE DATABASE TO LOGIN; ALTER ROLE LOGIN SET role = ledger_reader",
    "ALTER DATABASE DATABASE SET search_path = public",
    "ALTER DATABASE DATABASE RESET search_path",
    "ALTER DATABASE DATABASE OWNER TO ledger_owner",
)


def test_what_is_added_beside_the_events_is_named(database_url: str) -> None:
    """Functions, event triggers, types of events, settings and rights of PUBLIC; and nothing of other programs."""
    named: dict[str, str] = {}
    with connect(database_url, "reader") as reader, connect(database_url, "verifier") as verifier:
        assert changed_objects(reader) == changed_objects(verifier) == []
    with login_role(database_url, member_of="ledger_reader") as login, connect(database_url) as conn:
        for statement in (*ADDED, *HARMLESS):
            text = statement.replace("DATABASE DATABASE", f'DATABASE "{conn.info.dbname}"').replace("LOGIN", login)
            with conn.transaction(force_rollback=True):
                conn.execute(text.encode())
                named[statement] = ", ".join(objects_as_seen(conn)).replace(login, "LOGIN")
                assert setting_warnings(conn) == []
    assert named == ADDED | dict.fromkeys(HARMLESS, "")


def test_a_setting_that_our_sessions_replace_is_a_warning(database_url: str) -> None:
    """It cannot change a result, so it accuses nobody."""
    with login_role(database_url, member_of="ledger_reader") as login, connect(database_url) as conn:
        for statement, name in WITHOUT_EFFECT.items():
            text = statement.replace("DATABASE DATABASE", f'DATABASE "{conn.info.dbname}"').replace("LOGIN", login)
            with conn.transaction(force_rollback=True):
                conn.execute(text.encode())
                assert objects_as_seen(conn) == []
                [warning] = setting_warnings(conn)
                assert warning.startswith(f"{name.replace('LOGIN', login)} has no effect here")


@pytest.mark.tampers
def test_a_changed_signature_on_an_older_checkpoint_is_named(log: Log) -> None:
    """Each byte counts: of the signature, and of the key's id before it. Several by other keys are one finding."""
    log.record(1)
    log.sign()
    with connect(log.url) as conn:
        kept = dict(conn.execute("SELECT size, note FROM checkpoints").fetchall())
    for size, at, kind in ((300, 4, "bad-signature"), (600, 67, "bad-signature"), (300, 0, "untrusted-key")):
        _change_signature(log, kept[size], size, at)
        report = verified(log)
        assert found(report) == [(kind, 0, 0)]
        assert f"the checkpoint of size {size} in the database" in report.findings[0].message
        _set_note(log, size, kept[size])
        assert verified(log).verdict is Verdict.VERIFIED
    for size in (300, 600):
        _change_signature(log, kept[size], size, 3)
    [finding] = verified(log).findings
    assert "2 checkpoints of sizes 300 to 600" in finding.message


def _change_signature(log: Log, note: str, size: int, at: int) -> None:
    """Flip one bit of key id (bytes 0 to 3) and signature (bytes 4 to 67) of a stored checkpoint."""
    head, _, encoded = note.rstrip().rpartition(" ")
    raw = bytearray(base64.b64decode(encoded))
    raw[at] ^= 1
    _set_note(log, size, f"{head} {base64.b64encode(raw).decode()}\n")


def _set_note(log: Log, size: int, note: str) -> None:
    log.tamper(f"UPDATE checkpoints SET note = '{note}' WHERE size = {size}")  # noqa: S608 - made by the test


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


def in_the_name_of_another() -> str:
    """A proper event, with an actor who did nothing."""
    return line(new("request-1")).replace('"clerk"', '"another"')


def test_a_proper_event_in_the_name_of_another_is_not_noticed(log: Log) -> None:
    """Without recording keys, who may append can append in any name: `verify` passes, and says what it leaves open."""
    with connect(log.url, "writer") as conn:
        append_text(conn, in_the_name_of_another())
    log.sign()
    report = verified(log)
    assert report.verdict is Verdict.VERIFIED
    assert ANYBODY in report.not_proven
    assert "in any name" in ANYBODY


@pytest.mark.tampers
def test_an_event_that_no_recording_key_attests_is_named(log: Log) -> None:
    """With a recording key, append() takes no such event, and one that the owner adds is named and placed."""
    with connect(log.url) as conn, connect(log.url, "writer") as writer:
        ledger = AttestedLedger.of(log.url, conn, writer)
        ledger.append(new("request-1"))
        with refused("AL011"):
            append_text(writer, in_the_name_of_another())
    log.sign()
    assert verified(log).verdict is Verdict.VERIFIED
    log.tamper(FORGE)
    assert found(verified(log)) == [("not-attested", EVENTS + 3, EVENTS + 3)]

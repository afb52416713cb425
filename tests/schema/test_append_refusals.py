"""append(): what it refuses, by which name, and that a refused batch leaves nothing."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest

from ledger.database import Connection
from ledger.errors import BY_SQLSTATE, CommitmentMismatch, InvalidEvent, UnknownEventType
from ledger.store.envelope import uuid7
from tests.support import append, append_text, edited, failed, line, new, refused, requested

# Commitments


MISMATCHES: dict[str, dict[str, Any]] = {
    "another salt": {"salts": lambda salts: {**salts, "notes": "00" * 32}},
    "a short salt": {"salts": lambda salts: {**salts, "notes": salts["notes"][:62]}},
    "no salt": {"salts": lambda salts: {"client_id": salts["client_id"]}},
    "null salt": {"salts": lambda salts: {**salts, "notes": None}},
    "no salts": {"salts": None},
    "swapped salts": {"salts": lambda salts: {"client_id": salts["notes"], "notes": salts["client_id"]}},
    "another value": {"fields": lambda fields: {**fields, "notes": "other"}},
    "no value": {"fields": lambda fields: {"client_id": fields["client_id"]}},
    "one value more": {"fields": lambda fields: {**fields, "prompt": "x"}},
    "another name": {"fields": lambda fields: {"client_id": fields["client_id"], "detail": fields["notes"]}},
    "no values": {"fields": {}},
    "null commitment": {"body": lambda body: {**body, "sealed": {**body["sealed"], "notes": None}}},
    "one commitment more": {"body": lambda body: {**body, "sealed": {**body["sealed"], "prompt": "00" * 32}}},
    "one commitment less": {"body": lambda body: {**body, "sealed": {"notes": body["sealed"]["notes"]}}},
    "upper case": {"body": lambda body: {**body, "sealed": {n: c.upper() for n, c in body["sealed"].items()}}},
}


@pytest.mark.parametrize("mismatch", MISMATCHES)
def test_commitments_must_open(writer: Connection, nothing_recorded: None, mismatch: str) -> None:
    """A wrong, missing or additional salt, value or commitment raises AL004, though another field opens."""
    event = new("opens", requested("client-o", notes="note"))
    with refused("AL004") as refusal:
        append_text(writer, line(new("innocent")) + "\n" + edited(event, **MISMATCHES[mismatch]))
    assert (refusal.detail["line"], refusal.detail["id"]) == (2, str(event.id))


@pytest.mark.parametrize(
    ("name", "salt"), [("notes", bytes(31)), ("notes", b""), ("Notes", bytes(32)), ('a","b', bytes(32))]
)
def test_salts_and_names_have_one_form(writer: Connection, nothing_recorded: None, name: str, salt: bytes) -> None:
    """A commitment that does open is refused with AL004 when its salt is not 32 bytes or its name not plain."""
    event, value = new("form"), "v"
    commitment = sha256(b"advice-ledger/sealed/v1\n" + salt + f'["{name}","{value}"]'.encode()).hexdigest()
    with refused("AL004"):
        append_text(
            writer,
            edited(
                event,
                body=lambda body: {**body, "sealed": {name: commitment}},
                salts={name: salt.hex()},
                fields={name: value},
            ),
        )


def test_a_value_twice_does_not_stand_for_two(writer: Connection, nothing_recorded: None) -> None:
    """A repeated field does not replace a missing field: AL004."""
    event = new("opens", requested("client-o", notes="note"))
    found = json.loads(line(event))
    doubled = '{"client_id":"client-o","client_id":"client-o"}'
    rest = json.dumps({name: found[name] for name in ("body", "expected", "salts")})
    with refused("AL004"):
        append_text(writer, f'{rest[:-1]},"fields":{doubled}}}')


def test_a_replay_must_open_too(writer: Connection) -> None:
    """A recorded event again, with values that do not open, is refused with AL004 and not taken for a replay."""
    event = new("opens", requested("client-o", notes="note"))
    append(writer, event)
    with refused("AL004"):
        append_text(writer, edited(event, **MISMATCHES["another value"]))


# A stream belongs to one client


def test_a_stream_keeps_its_client(writer: Connection, superuser: Connection) -> None:
    """An event with another client than the stream's raises AL005 and records nothing; the same one is welcome."""
    append(writer, new("client", requested("ann")), new("client", requested("ann")), new("client", failed()))
    before = superuser.execute("SELECT position FROM head").fetchone()
    with refused("AL005") as refusal:
        append(writer, new("innocent"), new("client", requested("bob")))
    assert refusal.detail == {"stream": "client"}
    assert superuser.execute("SELECT position FROM head").fetchone() == before
    assert superuser.execute("SELECT client_id FROM stream_clients WHERE stream = 'client'").fetchall() == [("ann",)]


def test_two_clients_do_not_share_a_new_stream(writer: Connection, nothing_recorded: None) -> None:
    """Two clients for one stream in its very first batch raise AL005 as well."""
    with refused("AL005"):
        append(writer, new("both", requested("ann")), new("both", requested("bob")))


# Malformed lines


TYPED = '"id":"<id>","schema":1,"stream":"s","type":"request.failed"'
MALFORMED = {
    "not JSON": ("22P02", "{"),
    "empty line": ("22P02", "\n"),
    "an array": ("22023", "[1]"),
    "a number": ("22023", "1"),
    "no body": ("AL001", '{"expected":"any"}'),
    "a body that is a string": ("22023", '{"body":"x","expected":"any"}'),
    "a body that is an array": ("22023", '{"body":[],"expected":"any"}'),
    "no id": ("AL001", '{"body":{"stream":"s","type":"t"},"expected":"any"}'),
    "no stream": ("AL001", '{"body":{"id":"<id>","type":"t"},"expected":"any"}'),
    "no type": ("AL001", '{"body":{"id":"<id>","stream":"s"},"expected":"any"}'),
    "no expected": ("AL001", '{"body":{"id":"<id>","stream":"s","type":"t"}}'),
    "a malformed id": ("22P02", '{"body":{"id":"x","stream":"s","type":"t"},"expected":"any"}'),
    "values without commitments": (
        "AL001",
        '{"body":{"id":"<id>","stream":"s","type":"t"},"expected":"any","fields":{"a":1},"salts":{}}',
    ),
    "commitments without values": (
        "AL001",
        '{"body":{"id":"<id>","sealed":{"a":"00"},"stream":"s","type":"t"},"expected":"any"}',
    ),
    "commitments in an array": (
        "AL004",
        '{"body":{"id":"<id>","sealed":[],"stream":"s","type":"t"},"expected":"any","fields":{"a":1},"salts":{}}',
    ),
    "a salt that is not hex": (
        "22023",
        '{"body":{"id":"<id>","sealed":{"a":""},"stream":"s","type":"t"},"expected":"any","fields":{"a":1},'
        '"salts":{"a":"' + "x" * 64 + '"}}',
    ),
    "U+0000": ("22P05", '{"body":{"id":"<id>","stream":"\\u0000","type":"t"},"expected":"any"}'),
    "U+0000 in the data": (
        "22P05",
        '{"body":{"data":"\\u0000",<typed>},"expected":"any"}',
    ),
    "a number without end": (
        "22003",
        '{"body":{"data":1e200000,<typed>},"expected":"any"}',
    ),
    "a lone surrogate": ("22P02", '{"body":{"id":"<id>","stream":"\\ud800","type":"t"},"expected":"any"}'),
    "an empty stream": (
        "23514",
        '{"body":{"actor":{},"data":{},"id":"<id>","schema":1,"stream":"","type":"request.failed"},"expected":"any"}',
    ),
    "a long stream": (
        "23514",
        '{"body":{"actor":{},"data":{},"id":"<id>","schema":1,"stream":"'
        + "é" * 101
        + '","type":"request.failed"},"expected":"any"}',
    ),
    "an empty type": ("AL009", '{"body":{"id":"<id>","stream":"s","type":""},"expected":"any"}'),
    "a long body": (
        "23514",
        '{"body":{"actor":{},"data":"' + "x" * 1024 * 1024 + '",<typed>},"expected":"any"}',
    ),
}


@pytest.mark.parametrize("malformed", MALFORMED)
def test_a_malformed_line_is_refused(writer: Connection, nothing_recorded: None, malformed: str) -> None:
    """Each kind of malformed line has an SQLSTATE that ledger.errors knows, and refuses the whole batch."""
    sqlstate, text = MALFORMED[malformed]
    with refused(sqlstate) as refusal:
        append_text(writer, line(new("innocent")) + "\n" + text.replace("<typed>", TYPED).replace("<id>", str(uuid7())))
    assert BY_SQLSTATE[sqlstate] in {InvalidEvent, CommitmentMismatch, UnknownEventType}
    if sqlstate.startswith("AL"):
        assert refusal.detail["line"] == 2


# All or nothing


def test_a_failing_line_takes_its_batch_with_it(writer: Connection, nothing_recorded: None) -> None:
    """Wherever in a batch the refused line stands, no table keeps anything of the batch."""
    innocent = [new("all-", requested("client-a")), new("all", requested("client-b"))]
    for at in range(3):
        batch = [*innocent[:at], new("all-x", expected=9), *innocent[at:]]
        with refused("AL003"):
            append(writer, *batch)


def test_a_rolled_back_append_leaves_nothing(writer: Connection, nothing_recorded: None) -> None:
    """append() is part of its caller's transaction."""
    with writer.transaction(force_rollback=True):
        append(writer, new("rolled-", requested("client-x")))

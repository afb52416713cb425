"""Nine edits by the owner of the database that an audit trail should notice: noticed by who kept a checkpoint.

The ledger attests what it records. The owner has all rights in the database, and neither the key that signs the log nor
a recording key. Whoever verifies kept a checkpoint of 20 events; 5 more were recorded after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ledger.store.envelope import Actor
from tests.faults.attacks import REHASH, SET_HEAD, UNSIGN, Log, found, log_at
from tests.ledger.recording import FORGE, AttestedLedger
from tests.support import append_text, connect, line, new, refused, requested

pytestmark = pytest.mark.tampers

KEPT, END = 20, 25
EDIT = "UPDATE events SET body = replace(body, '1000.00', '9000.00') WHERE position = 13"
DELETE = "DELETE FROM sealed_fields WHERE position = {0}; DELETE FROM events WHERE position = {0}"
SWAP = """
    ALTER TABLE events DROP CONSTRAINT events_id_key, DROP CONSTRAINT events_stream_version_key;
    UPDATE events e
    SET id = o.id, stream = o.stream, version = o.version, type = o.type, recorded_at = o.recorded_at, body = o.body
    FROM events o
    WHERE (e.position, o.position) IN ((9, 14), (14, 9))
"""
CUT = """
    DELETE FROM stream_clients WHERE position > {0};
    DELETE FROM sealed_fields WHERE position > {0};
    DELETE FROM attestations WHERE last > {0};
    DELETE FROM events WHERE position > {0};
    UPDATE stream_numbers SET last = {0} - 1
"""
# A copy of the event at 12 becomes another one at 13, and all that follows moves.
INSERT = """
    UPDATE events SET position = position + 1000 WHERE position >= 13;
    UPDATE events SET position = position - 999 WHERE position > 1000;
    UPDATE sealed_fields SET position = position + 1000 WHERE position >= 13;
    UPDATE sealed_fields SET position = position - 999 WHERE position > 1000;
    INSERT INTO events
    SELECT 13, '01890000-0000-7000-8000-000000000001', 'x-1', 1, type, recorded_at,
           replace(replace(body, id::text, '01890000-0000-7000-8000-000000000001'), stream, 'x-1'), prev_hash, hash
    FROM events WHERE position = 12;
    INSERT INTO sealed_fields SELECT 13, salts, fields FROM sealed_fields WHERE position = 12
"""
ACTOR = """
    UPDATE events SET body = replace(body, '"actor":{"id":"', '"actor":{"id":"somebody-else-') WHERE position = 13
"""


@dataclass(frozen=True)
class Edit:
    """What the owner does, and a finding that must come of it: its kind and first position."""

    name: str
    statements: tuple[str, ...]
    kind: str
    position: int


EDITS = (
    Edit("an event changed", (EDIT,), "edited", 13),
    Edit("an event deleted", (DELETE.format(13),), "deleted", 13),
    Edit("two events swapped", (SWAP,), "reordered", 9),
    Edit("the end cut off", (CUT.format(15), SET_HEAD, "DELETE FROM checkpoints WHERE size > 15"), "rolled-back", 16),
    Edit("an event forged at the end", (FORGE,), "not-attested", END + 1),
    Edit("an event inserted, and all that follows hashed anew", (INSERT, REHASH.format(at=13), SET_HEAD), "forked", 1),
    Edit("an event changed, and all that follows hashed anew", (EDIT, REHASH.format(at=13), SET_HEAD), "forked", 1),
    Edit("an act put in another's name, and hashed anew", (ACTOR, REHASH.format(at=13), SET_HEAD), "forked", 1),
    Edit(
        "the whole history hashed anew, and all signatures deleted",
        (EDIT.replace("13", "2"), REHASH.format(at=1), SET_HEAD, UNSIGN),
        "forked",
        1,
    ),
)


@dataclass
class Kept:
    """A ledger that attests, its log, and the checkpoint that was kept."""

    ledger: AttestedLedger
    log: Log
    checkpoint: bytes

    def findings(self) -> dict[str, int]:
        """The first position of each kind of finding, for who has the checkpoint and the log's key."""
        report = self.log.audit(self.checkpoint)
        assert report.ok == (not report.findings)
        return {kind: first for kind, first, _ in reversed(found(report))}


@pytest.fixture
def kept(database_url: str, tmp_path: Path) -> Iterator[Kept]:
    """The registration of the key, 24 requests, and the checkpoint."""
    with connect(database_url) as conn, connect(database_url, "writer") as writer:
        ledger = AttestedLedger.of(database_url, conn, writer)
        log = log_at(database_url, tmp_path / "last")
        record(ledger, 2, KEPT)
        checkpoint = log.sign()
        record(ledger, KEPT + 1, END)
        yield Kept(ledger, log, checkpoint)


def record(ledger: AttestedLedger, first: int, last: int) -> None:
    """A request at each of these positions."""
    for position in range(first, last + 1):
        ledger.append(new("request-", requested(f"client-{position}")))


@pytest.mark.parametrize("edit", EDITS, ids=[edit.name for edit in EDITS])
def test_each_edit_is_noticed(kept: Kept, edit: Edit) -> None:
    """By kind and position; without it, all holds, and every event is attested."""
    assert kept.findings() == {}
    kept.log.tamper("ALTER TABLE attestations DISABLE TRIGGER ALL", *edit.statements)
    findings = kept.findings()
    assert findings.get(edit.kind) == edit.position, findings


def test_a_cut_that_honest_events_cover_is_noticed(kept: Kept) -> None:
    """The end is cut off, and recording goes on until the ledger is as long as before: the checkpoint still tells."""
    kept.log.tamper("ALTER TABLE attestations DISABLE TRIGGER ALL", CUT.format(15), SET_HEAD)
    record(kept.ledger, 16, END + 1)
    assert "forked" in kept.findings()


def test_the_login_that_writes_cannot_confirm_in_another_name(kept: Kept) -> None:
    """An event as somebody else, written with the writer's own login and without a recording key, is refused."""
    event = replace(new("request-1"), actor=Actor("compliance", "human", "compliance"))
    with connect(kept.log.url, "writer") as writer, refused("AL011"):
        append_text(writer, line(event))
    assert kept.findings() == {}

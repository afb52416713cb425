"""Attested recording: who has the database alone cannot add an event, nor move, copy or drop an attestation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.proof.findings import Kind
from ledger.store.envelope import Actor, Line, encode
from ledger.store.recorder import Recorder
from ledger.tlog import recording_keys
from ledger.tlog.signing_keys import RecordingKey
from ledger.verify.database import verify_chain
from tests.ledger.recording import AttestedLedger
from tests.support import append, connect, new, refused, requested

OPERATOR = Actor("cli:olga", "human", "operator")
INVALID, LACKING = Kind.ATTESTATION_INVALID, Kind.NOT_ATTESTED


@pytest.fixture
def ledger(database_url: str) -> Iterator[AttestedLedger]:
    """A ledger with a recording key; its registration is the event at position 1."""
    with connect(database_url) as conn, connect(database_url, "writer") as writer:
        yield AttestedLedger.of(database_url, conn, writer)


def another_key(ledger: AttestedLedger) -> RecordingKey:
    """A key for the same ledger that nobody registered."""
    return RecordingKey.generate(ledger.origin + recording_keys.ENDING)


def test_every_group_is_attested(ledger: AttestedLedger) -> None:
    """Single events, many, numbered streams, sealed values and replays among new events: all attestations hold."""
    first = encode(new("request-", requested(notes="n")))
    ledger.append(first, new("request-", requested()), new("a"))
    again = ledger.append(new("b"), first, new("b"), new("request-", requested()))
    assert [receipt.replayed for receipt in again] == [False, True, False, False]
    assert [receipt.replayed for receipt in ledger.append(first)] == [True]
    assert ledger.faults() == []
    assert ledger.conn.execute("SELECT count(*), max(last) FROM attestations").fetchone() == (3, ledger.last)


# A stream, whether the event has sealed values, and which of the events before it is sent again in its place.
Drawn = tuple[str, bool, int | None]
EVENTS = st.lists(
    st.tuples(st.sampled_from(["a", "é", "b-", "request-"]), st.booleans(), st.sampled_from([None, 0, 1, 2, 3])),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(batches=st.lists(EVENTS, min_size=1, max_size=5), data=st.data())
def check_example(ledger: AttestedLedger, batches: list[list[Drawn]], data: st.DataObject) -> None:
    """Append groups by two sessions in turn, with replays of earlier lines; look at any part of them."""
    sessions = [ledger.recorder, ledger.recorder.another()]
    known: list[Line] = []
    for batch in batches:
        lines = []
        for stream, sealed, replayed in batch:
            if replayed is not None and replayed < len(known) and known[replayed] not in lines:
                lines.append(known[replayed])
            else:
                lines.append(encode(new(stream, requested(notes=stream) if sealed else None)))
        if lines:
            ledger.append(*lines, recorder=data.draw(st.sampled_from(sessions)))
            known += [line for line in lines if line not in known]
    assert ledger.faults() == []
    after, upto = (data.draw(st.integers(0, 10**6)) % (ledger.last + 1) for _ in range(2))
    assert ledger.first_fault(min(after, upto), max(after, upto)) is None


def test_attestations_hold_for_any_groups(ledger: AttestedLedger) -> None:
    """For any groups, sessions and replays, every attestation holds, in verify and in any range for the signer."""
    check_example(ledger)


@pytest.mark.tampers
def test_a_forged_event_at_the_end_is_not_attested(ledger: AttestedLedger) -> None:
    """The owner adds an event with the right hash: verify and the signer name its position; the chain alone is good."""
    ledger.append(new("a"), new("b"))
    assert verify_chain(ledger.conn).ok
    position = ledger.forge()
    assert ledger.faults() == [(LACKING, position, position)]
    assert ledger.first_fault() == ledger.first_fault(position - 1) == (LACKING, position, position)
    [finding] = verify_chain(ledger.conn).findings
    assert (finding.kind, finding.position) == (LACKING, position)
    # Honest events after it change nothing.
    ledger.conn.execute("ALTER TABLE head ENABLE ALWAYS TRIGGER check_head")
    ledger.append(new("c"))
    assert ledger.faults() == [(LACKING, position, position)]


ATTACKS = {
    # After groups at positions 2, 3 and 4 to 5.
    "deleted": ("DELETE FROM attestations WHERE first = 3", [(LACKING, 3, 3)]),
    "all deleted": ("DELETE FROM attestations", [(LACKING, 1, 1)]),
    "swapped": (
        "UPDATE attestations SET first = 5 - first, last = 5 - last WHERE first IN (2, 3)",
        [(INVALID, 2, 2), (INVALID, 3, 3)],
    ),
    "signatures swapped": (
        "UPDATE attestations a SET signature = b.signature FROM attestations b WHERE (a.first, b.first) = (3, 2)",
        [(INVALID, 3, 3)],
    ),
    "another serial": ("UPDATE attestations SET serial = 7 WHERE first = 4", [(INVALID, 4, 5)]),
    "another session": ("UPDATE attestations SET session = repeat('x', 16)::bytea WHERE first = 4", [(INVALID, 4, 5)]),
    "another key": ("UPDATE attestations SET key = repeat('x', 32)::bytea WHERE first = 4", [(INVALID, 4, 5)]),
    "another signature": (
        "UPDATE attestations SET signature = repeat('x', 64)::bytea WHERE first = 4",
        [(INVALID, 4, 5)],
    ),
    "another number": ("UPDATE attestations SET numbered = '{2}' WHERE first = 4", [(INVALID, 4, 5)]),
    "a replay more": (
        "UPDATE attestations SET replayed = '{3}', digests = repeat('x', 32)::bytea WHERE first = 4",
        [(INVALID, 4, 5)],
    ),
    "longer": ("UPDATE attestations SET last = 6 WHERE first = 4", [(INVALID, 4, 6)]),
    "shorter": ("UPDATE attestations SET last = 4 WHERE first = 4", [(INVALID, 4, 4), (LACKING, 5, 5)]),
    "beyond the end": (
        "INSERT INTO attestations SELECT 9, 9, key, session, 99, signature, '{}', '{}', '' FROM attestations LIMIT 1",
        [(INVALID, 9, 9)],
    ),
}


@pytest.mark.tampers
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_done_to_attestations_is_named(ledger: AttestedLedger, attack: str) -> None:
    """Attestations that are deleted, moved, swapped or edited are findings at the positions of their events."""
    for group in (["a"], ["b"], ["c", "request-7"]):
        ledger.append(*map(new, group))
    statement, expected = ATTACKS[attack]
    ledger.owner("ALTER TABLE attestations DROP CONSTRAINT attestations_pkey", statement)
    assert ledger.faults() == expected
    if attack != "beyond the end":
        first = ledger.first_fault()
        assert first is not None
        assert first[:2] == expected[0][:2]


# The event at position 2 once more, at position 4.
COPY_OF_2 = """
    INSERT INTO events
    SELECT 4, e.id, e.stream, 2, e.type, l.recorded_at, e.body, l.hash,
           event_hash(l.hash, 4, 2, (extract(epoch FROM l.recorded_at) * 1000000)::bigint, e.body)
    FROM events e, events l WHERE e.position = 2 AND l.position = 3
"""


@pytest.mark.tampers
def test_a_copy_of_a_group_is_a_repetition(ledger: AttestedLedger) -> None:
    """The owner appends an attested event once more, id, body and attestation alike: its serial was there before."""
    ledger.append(new("a"))
    ledger.append(new("b"))
    ledger.owner(
        "ALTER TABLE events DROP CONSTRAINT events_id_key, DROP CONSTRAINT events_stream_version_key",
        "ALTER TABLE attestations DROP CONSTRAINT attestations_key_session_serial_key",
        COPY_OF_2,
        "UPDATE head h SET position = 4, hash = e.hash FROM events e WHERE e.position = 4",
        "INSERT INTO attestations SELECT 4, 4, key, session, serial, signature, numbered, replayed, digests"
        " FROM attestations WHERE first = 2",
    )
    assert ledger.faults() == [(INVALID, 4, 4)]
    assert ledger.first_fault(3) == (INVALID, 4, 4)


@pytest.mark.tampers
def test_a_group_of_another_ledger_does_not_hold(ledger: AttestedLedger) -> None:
    """What a key signs for another ledger does not hold in this one."""
    ledger.append(new("a"), recorder=Recorder("other.example", ledger.key.verifier.public, ledger.key.attest))
    assert ledger.faults() == [(INVALID, 2, 2)]


def test_a_ledger_takes_attested_events_only(ledger: AttestedLedger) -> None:
    """Once a key is registered, append() refuses a batch without an attestation, and one by a key not in use: AL011."""
    with refused("AL011"):
        append(ledger.writer, new("a"))
    with refused("AL011"):
        ledger.append(new("a"), recorder=recording_keys.recorder(another_key(ledger)))
    assert ledger.last == 1


def test_a_ledger_from_before_needs_none(database_url: str) -> None:
    """Events up to the first registration need no attestation; those after it do."""
    with connect(database_url) as conn, connect(database_url, "writer") as writer:
        append(writer, new("a"), new("b"))
        ledger = AttestedLedger.of(database_url, conn, writer)
        ledger.append(new("c"))
        assert ledger.faults() == []
        assert [ledger.first_fault(after) for after in range(5)] == [None] * 5


def test_each_process_has_its_key(ledger: AttestedLedger) -> None:
    """A key that a registered one registers attests from then on, and both go on."""
    other = another_key(ledger)
    recording_keys.register(ledger.writer, ledger.key, other.verifier, OPERATOR)
    ledger.append(new("a"), recorder=recording_keys.recorder(other))
    ledger.append(new("b"))
    assert ledger.faults() == []


@pytest.mark.tampers
def test_a_replaced_key_attests_no_more(ledger: AttestedLedger) -> None:
    """After a rotation the old key is refused by append(), and by verification where somebody else stored it."""
    other = another_key(ledger)
    ledger.append(new("a"))
    recording_keys.register(ledger.writer, ledger.key, other.verifier, OPERATOR, replaces=True)
    with refused("AL011"):
        ledger.append(new("b"))
    ledger.append(new("b"), recorder=recording_keys.recorder(other))
    assert ledger.faults() == []
    ledger.owner("UPDATE recording_keys SET replaced = NULL")
    ledger.append(new("c"))
    assert ledger.faults() == [(INVALID, 5, 5)]


@pytest.mark.tampers
def test_nobody_registers_himself(ledger: AttestedLedger) -> None:
    """A registration that no registered key attests is none: neither it nor what its key attests holds."""
    intruder = another_key(ledger)
    ledger.owner("DELETE FROM recording_keys")
    recording_keys.register(ledger.writer, intruder, intruder.verifier, OPERATOR)
    ledger.append(new("a"), recorder=recording_keys.recorder(intruder))
    assert ledger.faults() == [(INVALID, 2, 2), (INVALID, 3, 3)]


@pytest.mark.tampers
def test_a_changed_index_of_keys_is_named(ledger: AttestedLedger) -> None:
    """`verify` names a key that the owner adds, deletes or brings back, also before anything is recorded with it."""
    other = another_key(ledger)
    recording_keys.register(ledger.writer, ledger.key, other.verifier, OPERATOR, replaces=True)
    # The registrations are at positions 1 and 2.
    changes = {
        "DELETE FROM recording_keys": [1, 2],
        "DELETE FROM recording_keys WHERE replaced IS NOT NULL": [1],
        "UPDATE recording_keys SET replaced = NULL": [1],
        "UPDATE recording_keys SET replaced = 2 WHERE replaced IS NULL": [2],
        "INSERT INTO recording_keys VALUES (repeat('x', 32)::bytea, 9, NULL)": [0],
    }
    for statement, positions in changes.items():
        with ledger.conn.transaction(force_rollback=True):
            ledger.owner(statement)
            faults = sorted(ledger.faults())
        assert faults == [(Kind.RECORDING_KEY_MISMATCH, at, at) for at in positions]
    assert ledger.faults() == []
    ledger.owner("DELETE FROM recording_keys")
    findings = verify_chain(ledger.conn).findings
    assert [(found.step, found.kind, found.position) for found in findings] == [
        (9, Kind.RECORDING_KEY_MISMATCH, 1),
        (9, Kind.RECORDING_KEY_MISMATCH, 2),
    ]


def test_events_and_attestation_commit_together(ledger: AttestedLedger) -> None:
    """A group that is rolled back leaves neither."""
    before = ledger.conn.execute("SELECT count(*) FROM attestations").fetchone()
    with ledger.writer.transaction(force_rollback=True):
        ledger.append(new("a"))
    assert ledger.conn.execute("SELECT count(*) FROM attestations").fetchone() == before
    assert ledger.faults() == []

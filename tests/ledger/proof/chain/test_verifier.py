"""The verifier, given values: every attack is named and located, nothing raises, and memory stays flat."""

from __future__ import annotations

import dataclasses

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.proof.findings import BUNDLE, CHAIN, MOST_FINDINGS, Kind
from ledger.proof.format.events import EventRow, Head
from ledger.verify.ledger_verifier import LedgerVerifier
from ledger.verify.report import ANYBODY, NO_KEY
from tests.ledger.proof.chain import tampering
from tests.ledger.proof.chains import (
    ORIGIN,
    START_US,
    body_of,
    chain_of,
    found,
    head_of,
    rehashed,
    verify,
)

LENGTH = 300


@pytest.fixture
def events() -> list[EventRow]:
    """A genuine chain."""
    return list(chain_of(LENGTH))


@pytest.mark.parametrize("length", [0, 1, 2, 3, LENGTH])
def test_a_genuine_chain_is_good(length: int) -> None:
    """A chain of any length passes, and the report counts what was seen."""
    events = list(chain_of(length))
    report = verify(head_of(events), events)
    assert report.ok
    assert (report.events, report.last_position, report.origin) == (length, length, ORIGIN)
    assert report.first_position == min(length, 1)
    assert report.opened == length + length // 3
    assert report.erased == 0
    assert report.head_hash == (events[-1].hash if events else None)


def test_the_report_says_what_it_does_not_prove(events: list[EventRow]) -> None:
    """A suffix that was rewritten with its hashes passes, so the report of every good chain says that it would."""
    events[200] = rehashed(events[200]._replace(body=body_of(201, events[200].stream)))
    events[200] = events[200]._replace(salts=None, fields=None)
    for index in range(201, LENGTH):
        events[index] = rehashed(events[index]._replace(prev_hash=events[index - 1].hash))
    report = verify(head_of(events), events)
    assert report.ok
    assert report.not_proven == (NO_KEY, ANYBODY)
    assert "rewrite" in NO_KEY


def test_each_kind_belongs_to_a_step() -> None:
    """Every kind of finding breaks a step of one document or of both, and every step of a chain can be broken."""
    assert CHAIN.step_of.keys() | BUNDLE.step_of.keys() == set(Kind)
    assert set(CHAIN.step_of.values()) == CHAIN.steps.keys()


@pytest.mark.parametrize("attack", tampering.ATTACKS, ids=[attack.name for attack in tampering.ATTACKS])
def test_an_attack_is_named_and_located(attack: tampering.Attack, events: list[EventRow]) -> None:
    """Each attack yields exactly one finding, of the right kind, at the first bad position."""
    head = attack.tamper(events, head_of(events))
    report = verify(head, events)
    assert not report.ok
    assert found(report) == [(attack.kind.value, attack.position)]


@pytest.mark.parametrize("attack", tampering.ATTACKS, ids=[attack.name for attack in tampering.ATTACKS])
def test_an_attack_does_not_hide_another(attack: tampering.Attack, events: list[EventRow]) -> None:
    """A type edited far from any other attack is still found, as a second finding or as a part of the first."""
    events[279] = events[279]._replace(type="x")
    head = attack.tamper(events, head_of(events))
    report = verify(head, events)
    assert (attack.kind.value, attack.position) in found(report)
    # Renumbering moves it by up to three.
    assert any(one.position <= 281 and one.last_position >= 277 for one in report.findings)


@pytest.mark.parametrize("column", ["id", "stream", "type", "version", "recorded_at_us", "prev_hash", "hash", "body"])
@pytest.mark.parametrize("position", [1, 2, 150, LENGTH])
def test_every_column_counts(column: str, position: int, events: list[EventRow]) -> None:
    """Changing any one column of any one row is one finding, at that row."""
    old = getattr(events[position - 1], column)
    new = {int: lambda: old + 1, str: lambda: old + "x", bytes: lambda: old[:-1] + bytes([old[-1] ^ 1])}[type(old)]()
    events[position - 1] = events[position - 1]._replace(**{column: new})
    head = head_of(list(chain_of(LENGTH)))
    kind = "column-mismatch" if column in {"id", "stream", "type"} else "edited"
    assert found(verify(head, events)) == [(kind, position)]


@given(st.data())
def test_any_flipped_bit_is_found_at_its_row(data: st.DataObject) -> None:
    """One bit flipped in any byte column of any row: one finding, at that row."""
    events = list(chain_of(20))
    head = head_of(events)
    position = data.draw(st.integers(1, 20))
    column = data.draw(st.sampled_from(["prev_hash", "hash", "body", "fields", "salts"]))
    old = getattr(events[position - 1], column)
    bit = data.draw(st.integers(0, 8 * len(old) - 1))
    new = old[: bit // 8] + bytes([old[bit // 8] ^ 1 << bit % 8]) + old[bit // 8 + 1 :]
    events[position - 1] = events[position - 1]._replace(**{column: new})
    report = verify(head, events)
    if column == "salts" and _same_salts(old, new):
        assert report.ok
    else:
        kind = "commitment-mismatch" if column in {"fields", "salts"} else "edited"
        assert found(report) == [(kind, position)]


def _same_salts(old: bytes, new: bytes) -> bool:
    """True if these are the same salts, with a digit in upper case."""
    try:
        found = orjson.loads(new)
    except ValueError:
        return False
    lower = {name: salt.lower() for name, salt in found.items()}
    return bool(lower == orjson.loads(old))


def test_several_changes_are_several_findings(events: list[EventRow]) -> None:
    """Independent changes are all found, each once, in order of position."""
    head = head_of(events)
    events[49] = events[49]._replace(body=events[49].body + b" ")
    events[79] = events[79]._replace(type="y")
    events[99] = events[99]._replace(fields=b'{"client_id":"other"}')
    del events[119]
    report = verify(head, events)
    assert found(report) == [("edited", 50), ("column-mismatch", 80), ("commitment-mismatch", 100), ("deleted", 120)]
    assert [one.step for one in report.findings] == [3, 4, 7, 1]


def test_findings_are_bounded(events: list[EventRow]) -> None:
    """With every row edited, the first hundred are reported and the rest counted."""
    head = head_of(events)
    edited = [event._replace(body=event.body.replace(b"clerk", b"thief")) for event in events]
    report = verify(head, edited)
    assert found(report) == [("edited", position) for position in range(1, MOST_FINDINGS + 1)]
    assert report.more >= LENGTH - MOST_FINDINGS
    assert not report.ok


def test_a_run_of_missing_events_is_one_finding(events: list[EventRow]) -> None:
    """The finding for a gap reaches from its first to its last position."""
    head = head_of(events)
    del events[49:60]
    (finding,) = verify(head, events).findings
    assert (finding.kind, finding.position, finding.last_position) == (Kind.DELETED, 50, 60)


HOSTILE_BODIES = {
    "empty": b"",
    "not JSON": b"not json",
    "not UTF-8": b'"\xff"',
    "an array": b"[]",
    "a number": b"1",
    "null": b"null",
    "100,000 deep": b"[" * 100_000,
    "100,000 deep and closed": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "300 deep": b'{"a":' + b"[" * 300 + b"]" * 300 + b"}",
    "a huge number": b'{"n":' + b"9" * 5000 + b"}",
    "a number beyond doubles": b'{"n":1e999}',
    "white space": b'{"a": 1}',
    "a name twice": b'{"id":"a","id":"b"}',
    "out of order": b'{"b":1,"a":1}',
    "a lone surrogate": b'{"a":"\\ud800"}',
    "a line break": b"{}\n",
}


@pytest.mark.parametrize("body", HOSTILE_BODIES.values(), ids=HOSTILE_BODIES)
def test_a_hostile_body_is_malformed(body: bytes) -> None:
    """A body that was recorded and hashed but is no canonical JSON object is malformed, at its position."""
    events = list(chain_of(5))
    events[4] = rehashed(events[4]._replace(body=body, salts=None, fields=None))
    assert found(verify(head_of(events), events)) == [("malformed", 5)]


def test_a_body_without_members_is_a_column_mismatch() -> None:
    """A recorded body that lacks id, stream and type disagrees with the columns."""
    events = list(chain_of(5))
    events[4] = rehashed(events[4]._replace(body=b"{}", salts=None, fields=None))
    report = verify(head_of(events), events)
    assert found(report) == [("column-mismatch", 5)]
    assert "id, stream, type" in report.findings[0].message


def hostile_rows() -> st.SearchStrategy[EventRow]:
    """Rows of the right types, with anything in them."""
    numbers = st.integers(-3, 12) | st.integers(-(2**70), 2**70)
    octets = st.binary(max_size=40) | st.just(bytes(32)) | st.sampled_from([b"{}", b'{"sealed":{"a":1}}', b'{"id":1}'])
    return st.builds(
        EventRow, numbers, st.text(max_size=5), st.text(max_size=5), numbers, st.text(max_size=5), numbers,
        octets, octets, octets, st.none() | octets, st.none() | octets,
    )  # fmt: skip


@given(st.lists(hostile_rows(), max_size=8), st.booleans(), st.data())
def test_any_rows_end_in_a_report(rows: list[EventRow], genuine: bool, data: st.DataObject) -> None:
    """Any rows at all, alone or among genuine ones, in any order, with any head, end in a report that is not ok."""
    events = list(chain_of(6)) if genuine else []
    head = head_of(events) if genuine else Head(ORIGIN, data.draw(st.integers(-5, 20)), bytes(32), START_US)
    verifier = LedgerVerifier(data.draw(st.sampled_from([head, None])))
    mixed = data.draw(st.permutations([*events, *rows]))
    verifier.feed(mixed)
    verifier.finish()
    ends = data.draw(st.lists(st.tuples(st.text(max_size=5), st.integers(-5, 2**70)), max_size=5))
    verifier.check_streams(ends, {"request-": 3})
    verifier.report_versions([(5, "s", 2, 0, 0), (1, "s", 1, 2, 5)])
    verifier.check_strays([-1, 0, 3, 2**62])
    report = verifier.report()
    assert not report.ok
    assert all(one.kind in Kind and one.message for one in report.findings)


def test_stray_sealed_values_are_found_unless_their_event_is_missing(events: list[EventRow]) -> None:
    """Sealed values without an event are a finding of their own just if no finding says that the event is missing."""
    head = head_of(events)
    del events[99]
    verifier = LedgerVerifier(head)
    verifier.feed(events)
    verifier.finish()
    verifier.check_strays([0, 100, 301])
    assert found(verifier.report()) == [("stray-sealed", 0), ("deleted", 100), ("stray-sealed", 301)]


def test_times_may_stand_still_and_must_not_go_back(events: list[EventRow]) -> None:
    """Equal times are good; a sound chain with one event earlier than the last is found there and only there."""
    changed = list(chain_of(100))
    changed[99] = rehashed(changed[99]._replace(recorded_at_us=START_US - 1))
    assert found(verify(head_of(changed), changed)) == [("time-decreasing", 100)]


def test_a_finding_is_a_value(events: list[EventRow]) -> None:
    """Reports and findings are frozen, so that what was found cannot be altered on the way."""
    report = verify(None, events)
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.findings[0].position = 1  # type: ignore[misc]

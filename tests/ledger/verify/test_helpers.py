"""With helpers, a verification finds what it finds alone: the same kinds, positions, messages and counts, in order."""

from __future__ import annotations

import contextlib
import logging
import struct
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.database import conninfo
from ledger.proof.acts import checker
from ledger.proof.acts.checker import ACTS, ActsReport
from ledger.proof.findings import Kind
from ledger.proof.format.events import EventRow, Head
from ledger.proof.tlog.trust import Trust
from ledger.tlog.signing_keys import SigningKey
from ledger.verify import helper_process, verified_part
from ledger.verify import helpers as module
from ledger.verify.database import verify_chain
from ledger.verify.helpers import Helpers
from ledger.verify.ledger_verifier import LedgerVerifier
from ledger.verify.parts import PartVerifier
from ledger.verify.report import ChainReport
from ledger.verify.stream_versions import StreamVersions
from ledger.verify.trusted_checkpoints import TrustedCheckpoints
from ledger.verify.verified_part import Part
from tests.ledger.proof.acts.chain import act, rows
from tests.ledger.proof.acts.signing import Device, FileKey, registration, revocation, signed
from tests.ledger.proof.chain import tampering
from tests.ledger.proof.chains import START_US, chain_of, head_of, rehashed
from tests.ledger.verify.test_database import ATTACKS, LENGTH, TOOLS, fill, superuser
from tests.ledger.verify.verifying import sign
from tests.support import connect, eventually
from tests.tampering import tamper

# A verification that waits after its first part.
KILLED = """
import sys, time
from ledger.database import connect
from ledger.verify.database import verify_chain
from ledger.verify.helpers import Helpers
def wait(*_):
    print("one part verified", flush=True)
    time.sleep(600)
with connect(sys.argv[1]) as conn:
    verify_chain(conn, on_progress=wait, helpers=Helpers(sys.argv[1], 2, 1, fewest=0))
"""
CHAIN = tuple(chain_of(300))
ANY_ATTACK = st.sampled_from(tampering.ATTACKS)


def same(one: ChainReport, other: ChainReport) -> bool:
    """Return whether two reports are equal in every member."""
    acts = [replace(report, acts=ActsReport()) for report in (one, other)]
    texts = [(report.acts.as_json(), report.acts.lines()) for report in (one, other)]
    return acts[0] == acts[1] and texts[0] == texts[1]


def finished(verifier: LedgerVerifier, events: list[EventRow]) -> ChainReport:
    """Finish a verification, with the streams of these events as the index has them."""
    verifier.finish()
    ends: dict[str, int] = {}
    for event in events:
        ends[event.stream] = max(event.version, ends.get(event.stream, event.version))
    if not verifier.check_streams(ends.items(), {}):
        verifier.report_versions([])
    return verifier.report()


def alone(head: Head | None, events: list[EventRow]) -> ChainReport:
    """Verify all events one by one."""
    verifier = LedgerVerifier(head)
    verifier.feed(events)
    return finished(verifier, events)


def taken(verifier: PartVerifier, events: list[EventRow]) -> Iterator[EventRow]:
    """Verify events and yield each."""
    for event in events:
        verifier.take(event)
        yield event


def position_of(event: EventRow) -> int:
    """The order of events in the table."""
    return event.position


def part_of(key: bytes, events: list[EventRow], after: int, upto: int) -> Part | None:
    """Verify the part in (after, upto] as a helper does; the first part begins with whatever stands there."""
    verifier = PartVerifier(StreamVersions(key))
    first = bisect_right(events, after, key=position_of) if after else 0
    mine = events[first : bisect_right(events, upto, key=position_of)]
    return verifier.part(after, upto, taken(verifier, mine))


def helped(head: Head | None, events: list[EventRow], size: int) -> tuple[ChainReport, int]:
    """Verify in parts of this size up to an odd one, then one by one. Return also how far the parts went."""
    verifier, upto = LedgerVerifier(head), 0 if head is None else head.position
    for after in range(0, upto, size):
        part = part_of(verifier.versions_key, events, after, min(after + size, upto))
        if part is None or not verifier.take_part(part):
            break
    before = verifier.position
    verifier.feed(event for event in events if event.position > before or not before)
    return finished(verifier, events), before


@given(st.lists(ANY_ATTACK, max_size=3), st.integers(1, 400))
def test_parts_find_what_one_by_one_finds_in_tampered_chains(attacks: list[tampering.Attack], size: int) -> None:
    """For any attacks, also several at once, and any size of parts, the two reports are equal in every member."""
    events, head = list(CHAIN), head_of(list(CHAIN))
    changed: Head | None = head
    for attack in attacks:
        if len(events) == len(CHAIN):  # an attack names positions of the whole chain
            with contextlib.suppress(struct.error):  # a number beyond 64 bits, by an attack before, has no hash
                changed = attack.tamper(events, changed or head)
    events.sort(key=lambda event: event.position)
    report, before = helped(changed, events, size)
    assert same(report, alone(changed, events))
    assert before <= len(CHAIN)
    if not attacks:
        assert (before, report.ok) == (len(CHAIN), True)


@pytest.mark.parametrize("attack", tampering.ATTACKS, ids=[attack.name for attack in tampering.ATTACKS])
def test_what_is_odd_between_two_parts_is_found(attack: tampering.Attack) -> None:
    """With parts of one event, each oddity of two neighbours lies between two parts."""
    events = list(CHAIN)
    head = attack.tamper(events, head_of(list(CHAIN)))
    events.sort(key=lambda event: event.position)
    report, _ = helped(head, events, 1)
    assert same(report, alone(head, events))
    assert not report.ok


@pytest.mark.parametrize("size", [1, 50, 99, 100])
def test_a_time_that_goes_back_between_two_parts_is_found(size: int) -> None:
    """A sound chain with a last event earlier than the one before."""
    events = list(CHAIN[:100])
    events[99] = rehashed(events[99]._replace(recorded_at_us=START_US - 1))
    report, _ = helped(head_of(events), events, size)
    assert same(report, alone(head_of(events), events))
    assert [finding.kind for finding in report.findings] == [Kind.TIME_DECREASING]


@given(st.integers(1, 8))
def test_signed_acts_are_judged_across_parts(size: int) -> None:
    """A signature is checked with the keys of earlier parts; statements that stand twice and revoked keys are found."""
    key, device = FileKey(), Device(flags=0x1D)
    good = signed(act(3), key)
    events = rows(
        registration(key, "ada"),
        registration(device, "bob"),
        good,
        act(4),
        signed(act(5, subject="bob"), device),
        good | {"stream": "request-9"},
        revocation("ada", 2),
        signed(act(8), key),
    )
    report, before = helped(head_of(events), events, size)
    assert same(report, alone(head_of(events), events))
    assert [finding.kind for finding in report.findings] == [Kind.SIGNATURE_REPEATED, Kind.SIGNATURE_KEY]
    assert before == len(events)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(sorted(ACTS))), min_size=1), st.integers(1, 8))
def test_unsigned_acts_are_counted_across_parts(acts: list[tuple[str, str]], size: int) -> None:
    """Parts give the counts, first positions and order of all acts, also of actors beyond those that are named."""
    bodies = [act(number, subject=name) | {"type": kind} for number, (name, kind) in enumerate(acts, 1)]
    events = rows(registration(FileKey(), "ada"), *bodies)
    with mock.patch.multiple(checker, MOST_ACTORS=2, MOST_PLACES=2), mock.patch.object(verified_part, "MOST_PLACES", 2):
        report, before = helped(head_of(events), events, size)
        assert same(report, alone(head_of(events), events))
    assert len(report.acts.actors) == min(3, len({name for name, _ in acts}))
    assert before == len(events)


def compare(url: str, trusted: TrustedCheckpoints | None = None, *, part: int = 3, processes: int = 2) -> ChainReport:
    """Verify alone and with helpers; assert that the reports are equal; return it."""
    helpers = Helpers(conninfo(url, "verifier"), processes, part, fewest=0)
    with connect(url, "verifier") as conn:
        first = verify_chain(conn, trusted=trusted and TrustedCheckpoints(trusted.trusted))
        second = verify_chain(conn, trusted=trusted and TrustedCheckpoints(trusted.trusted), helpers=helpers)
    assert same(first, second)
    return second


@pytest.mark.slow
@pytest.mark.tampers
@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.partition(":")[0] for attack in ATTACKS])
def test_processes_find_what_one_finds_in_a_tampered_ledger(attack: str, database_url: str) -> None:
    """Each attack on the tables gives the same report."""
    with superuser(database_url) as conn:
        fill(conn)
        conn.execute(TOOLS.partition("\n")[2].encode())
        conn.execute(attack.partition("\n")[2].encode())
    assert not compare(database_url).ok


def test_progress_of_processes_adds_up(database_url: str) -> None:
    """A genuine ledger is verified by helpers to its end, part by part in order."""
    told: list[tuple[int, int]] = []
    helpers = Helpers(conninfo(database_url, "verifier"), 2, 5, fewest=0)
    with connect(database_url) as conn:
        fill(conn)
        report = verify_chain(conn, on_progress=lambda *done: told.append(done), helpers=helpers)
    assert report.ok
    assert told == [(5, LENGTH), (10, LENGTH), (LENGTH, LENGTH), (LENGTH, LENGTH)]


@pytest.mark.tampers
def test_stored_checkpoints_are_compared_with_the_events_of_parts(database_url: str, tmp_path: Path) -> None:
    """The same checkpoints match, before and after a suffix is rewritten; a trusted key covers as much."""
    with connect(database_url) as conn:
        (origin,) = conn.execute("SELECT origin FROM head").fetchone() or ("",)
    key = SigningKey.generate(origin)
    trusted = TrustedCheckpoints(Trust((key.verifier,)))
    with superuser(database_url) as conn:
        for _ in range(2):
            fill(conn)
            sign(database_url, key, tmp_path / "state")
        report = compare(database_url, trusted, part=4)
        assert report.ok
        assert report.covered is not None
        assert (report.covered.signed, report.checkpoints) == (2 * LENGTH, 2)
    tamper(database_url, "UPDATE checkpoints SET note = replace(note, E'\\n12\\n', E'\\n11\\n') WHERE size = 12")
    assert not compare(database_url, trusted, part=4).ok


def children() -> list[psutil.Process]:
    """Return the helpers of this process, and those whose parent is gone."""
    mine = [child for child in psutil.Process().children(recursive=True) if helper_process.__name__ in child.cmdline()]
    return [child for child in mine if child.status() != psutil.STATUS_ZOMBIE]


def test_helpers_end_with_a_killed_verifier(database_url: str) -> None:
    """If the verifier is killed with -9 while its helpers work, each helper ends, and so does its snapshot."""
    with connect(database_url) as conn:
        fill(conn)
        verifying = "backend_xmin IS NOT NULL AND application_name = 'verifying, to be killed'"
        count = f"SELECT count(*) FROM pg_stat_activity WHERE {verifying}"  # noqa: S608
        verifier_url = conninfo(database_url, "verifier", application="verifying, to be killed")
        program = [sys.executable, "-c", KILLED, verifier_url]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as verifier:
            assert verifier.stdout is not None
            assert verifier.stdout.readline() == "one part verified\n"
            helpers = psutil.Process(verifier.pid).children()
            assert len(helpers) == 2
            verifier.kill()
        eventually("the helpers have ended", lambda: not any(helper.is_running() for helper in helpers))
        eventually("their snapshots have ended", lambda: conn.execute(count).fetchone() == (0,))


@pytest.mark.parametrize("at", [0, 1])
def test_a_helper_that_dies_leaves_the_work_to_the_rest(
    database_url: str, caplog: pytest.LogCaptureFixture, at: int
) -> None:
    """If a helper is killed, before its first part or later, the report is the same, and a warning says so."""
    with connect(database_url) as conn:
        fill(conn)
    answer = module._Helper.answer
    asked = 0

    def killed(self: module._Helper) -> Part | None:
        nonlocal asked
        asked += 1
        if asked == at + 1:
            self._process.kill()
            self._process.wait()
        return answer(self)

    with mock.patch.object(module._Helper, "answer", killed):
        assert compare(database_url, part=1, processes=2).ok
    assert [(record.levelno, "has ended" in record.message) for record in caplog.records] == [(logging.WARNING, True)]
    assert not children()


def test_a_helper_that_cannot_connect_is_no_finding(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A login that the server refuses stops no verification."""
    with connect(database_url, "verifier") as conn:
        with connect(database_url) as writer:
            fill(writer)
        helpers = Helpers(conninfo(database_url, "verifier").replace("user=", "user=nobody_"), 2, 5, fewest=0)
        assert verify_chain(conn, helpers=helpers).ok
    assert "has ended" in caplog.text

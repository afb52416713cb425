"""Bundles show who recorded their events: attestations of recording keys, and an attacker's changes to them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from ledger.export.bundle import Disclosure, write_bundle
from ledger.proof.auditor.__main__ import run
from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.auditor.contents import Audit
from ledger.proof.auditor.report import as_text
from ledger.proof.bundle.manifest import ATTESTATIONS, RECORDING_KEYS
from ledger.proof.bundle.selection import Selection
from ledger.proof.tlog.trust import Trust
from ledger.store import events as store
from ledger.store.envelope import Actor, encode
from ledger.tlog.recording_keys import ENDING, recorder, register
from ledger.tlog.signing_keys import RecordingKey, SigningKey
from ledger.verify.database import verify_chain
from projections.rebuild import rebuild_outdated
from schema.migrate import migrate
from tests.ledger.cases import positions
from tests.ledger.proof.bundle.bundles import Case
from tests.ledger.recording import AttestedLedger
from tests.ledger.tlog.logs import key_for, sign
from tests.support import connect, new, requested, scratch_database

OPERATOR = Actor("cli:olga", "human", "operator")
REQUEST = Selection("request", request=2)
INVALID, LACKING = "attestation-invalid", "not-attested"

Line = dict[str, Any]


@dataclass(frozen=True)
class Attested:
    """A signed ledger with two recording keys; `end` is the position of its last event."""

    url: str
    key: SigningKey
    end: int

    def bundle(self, selection: Selection = REQUEST) -> bytes:
        """A bundle of a part of it."""
        out = io.BytesIO()
        with connect(self.url, "verifier") as conn:
            write_bundle(conn, selection, Disclosure(everything=True), out)
        return out.getvalue()

    def audit(self, data: bytes) -> Audit:
        """The auditor's result for a bundle."""
        return audit_bundle(io.BytesIO(data), Trust((self.key.verifier,)))

    def needing(self, data: bytes, attested_from: int) -> list[tuple[int, str, int, int]]:
        """Step, kind and positions of each finding, for who needs attestations from a position on."""
        audit = audit_bundle(io.BytesIO(data), Trust((self.key.verifier,)), attested_from=attested_from)
        return [(one.step, one.kind, one.position, one.last_position) for one in audit.findings]

    def found(self, data: bytes) -> list[tuple[int, str, int]]:
        """Step, kind and position of each finding."""
        return [(one.step, one.kind, one.position) for one in self.audit(data).findings]


@pytest.fixture(scope="module")
def ledger(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attested]:
    """An event before the first key (1), the key (2), groups at 3 to 6 and 7 to 8, another key (9), one more (10)."""
    with scratch_database(server_url) as url, connect(url) as conn:
        migrate(conn)
        rebuild_outdated(url)
        with connect(url, "writer") as writer:
            early = [encode(new("early"))]
            with writer.cursor(binary=True) as cursor:
                cursor.execute(store.APPEND, store.parameters(early))
            made = AttestedLedger.of(url, conn, writer)
            again = encode(new("request-", requested(notes="n")))
            made.append(again, new("request-", requested("client-2")), new("other"), new("other"))
            made.append(new("other"), again, new("request-2"))
            second = RecordingKey.generate(made.origin + ENDING)
            register(writer, made.key, second.verifier, OPERATOR, replaces=True)
            made.append(new("request-2"), recorder=recorder(second))
            key = key_for(url)
            sign(url, key, tmp_path_factory.mktemp("key") / "last")
            yield Attested(url, key, made.last)


@pytest.mark.parametrize("selection", [REQUEST, positions(1, 10), positions(5, 7), positions(2, 2), positions(1, 1)])
def test_what_is_selected_is_attested(ledger: Attested, selection: Selection) -> None:
    """A request, the whole range and parts of groups: each event from the first key on is attested."""
    data = ledger.bundle(selection)
    audit = ledger.audit(data)
    assert audit.ok, audit.findings
    report = audit.recorded_by
    early = sum(line["position"] == 1 for line in Case.read(data).lines)
    assert (report.before, report.attested) == (early, audit.seen.proven - early)
    assert list(report.registered.values()) == [2, 9]
    assert ("no key took the place" in " ".join(audit.not_proven)) == (selection.first_position != 1)
    groups = [orjson.loads(line)["first"] for line in Case.read(data).files[ATTESTATIONS].splitlines()]
    assert groups == {REQUEST: [2, 3, 7, 9, 10], positions(1, 10): [2, 3, 7, 9, 10]}.get(selection, groups)


def test_the_report_says_which_key_attests(ledger: Attested) -> None:
    """The text of step 13 and the JSON name each key, where it was registered, and how many events it attests."""
    audit = ledger.audit(ledger.bundle())
    text = "\n".join(as_text(audit))
    assert (
        " 13. recording keys that the ledger registered attest the events, from the first registration on: holds"
        in text
    )
    assert [(key["registered_at"], key["events"]) for key in audit.recorded_by.as_json()["keys"]] == [(2, 2), (9, 1)]
    assert "2 events attested by " in text


def _groups(change: Callable[[list[Line]], list[Line]]) -> Callable[[Case], None]:
    def alter(case: Case) -> None:
        lines = change([orjson.loads(line) for line in case.files[ATTESTATIONS].splitlines()])
        case.files[ATTESTATIONS] = b"".join(
            orjson.dumps(line, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE) for line in lines
        )

    return alter


def _set(nth: int, **members: Any) -> Callable[[Case], None]:
    return _groups(lambda lines: [{**line, **(members if at == nth else {})} for at, line in enumerate(lines)])


def _swap(*names: str) -> Callable[[Case], None]:
    """Members of the attestations at 3 and 7 in each other's place."""

    def change(lines: list[Line]) -> list[Line]:
        one, other = lines[1], lines[2]
        for name in names:
            one[name], other[name] = other[name], one[name]
        return lines

    return _groups(change)


def _keys(change: Callable[[list[Line]], list[Line]]) -> Callable[[Case], None]:
    def alter(case: Case) -> None:
        events = change(orjson.loads(case.files[RECORDING_KEYS])["events"])
        case.files[RECORDING_KEYS] = orjson.dumps({"events": events}, option=orjson.OPT_SORT_KEYS)

    return alter


def _forge(case: Case) -> None:
    """An attacker with the whole log, and without a recording key, signs the last group with a key of their own."""
    thief = RecordingKey.generate("thief/recording")
    _set(4, key=thief.verifier.public.hex(), signature=thief.attest(b"anything").hex())(case)


# Of the whole ledger: attestations of 2, 3 to 6, 7 to 8, 9, and 10.
ATTACKS: dict[str, tuple[Callable[[Case], None], list[tuple[int, str, int]]]] = {
    "dropped": (_groups(lambda lines: lines[:-1]), [(13, LACKING, 10)]),
    "dropped in the middle": (_groups(lambda lines: [*lines[:2], *lines[3:]]), [(13, LACKING, 7), (13, LACKING, 8)]),
    "by a foreign key": (_forge, [(13, INVALID, 10)]),
    "signatures swapped": (_swap("signature"), [(13, INVALID, 3), (13, INVALID, 7)]),
    "a serial changed": (_set(1, serial=77), [(13, INVALID, 3)]),
    "a session changed": (_set(4, session="00" * 16), [(13, INVALID, 10)]),
    "lifted onto other events": (
        _groups(lambda lines: [*lines[:4], {**lines[3], "first": 10, "last": 10}]),
        [(13, INVALID, 10), (13, INVALID, 10)],
    ),
    "a number more": (_set(2, numbered=[3]), [(13, INVALID, 8)]),
    "the second key left out": (_keys(lambda keys: keys[:1]), [(13, LACKING, 9), (13, INVALID, 10)]),
    "the first key left out": (_keys(lambda keys: keys[1:]), [(13, INVALID, 2)]),
    "a key edited": (
        _keys(lambda keys: [{**keys[0], "event": {**keys[0]["event"], "recorded_at_us": 5}}, keys[1]]),
        [(13, INVALID, 2)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_done_to_attestations_is_named(ledger: Attested, attack: str) -> None:
    """A careful attacker's changes are findings of step 13 at the positions of the events; nothing else is accused."""
    change, expected = ATTACKS[attack]
    case = Case.read(ledger.bundle(positions(1, 10)))
    change(case)
    found = ledger.found(case.write())
    assert found[: len(expected)] == expected
    assert {step for step, _, _ in found} == {13}


def test_without_the_members_it_is_not_checked(ledger: Attested) -> None:
    """An older bundle has neither member: step 13 is not checked, and the report says what is not proven.

    With one of the two, or with an event that registers a key, leaving them out is a finding.
    """
    case = Case.read(ledger.bundle())
    del case.files[ATTESTATIONS]
    assert ledger.found(case.write()) == [(1, "damaged", 0)]
    del case.files[RECORDING_KEYS]
    audit = ledger.audit(case.write())
    assert (audit.ok, audit.recorded_by.shown, 13 in audit.done) == (True, False, False)
    assert "who recorded these events" in " ".join(audit.not_proven)
    whole = Case.read(ledger.bundle(positions(1, 10)))
    del whole.files[ATTESTATIONS], whole.files[RECORDING_KEYS]
    assert ledger.found(whole.write()) == [(13, LACKING, 2), (13, LACKING, 9)]


MALFORMED_ONES = {
    "out of order": _groups(lambda lines: [lines[1], lines[0], *lines[2:]]),
    "twice": _groups(lambda lines: [*lines, lines[-1]]),
    "a short key": _set(0, key="00"),
    "a serial that is text": _set(0, serial="1"),
    "position 0": _set(0, first=0),
    "a replay beyond the lines": _set(2, replayed=[9]),
    "a short digest": _set(2, digests="00"),
    "another member": _set(2, more=1),
}


@pytest.mark.parametrize("malformed", MALFORMED_ONES)
def test_malformed_attestations_are_refused(ledger: Attested, malformed: str) -> None:
    """A line that is not the one form of an attestation, or out of order, is damage by name."""
    case = Case.read(ledger.bundle(positions(1, 10)))
    MALFORMED_ONES[malformed](case)
    audit = ledger.audit(case.write())
    assert [one.kind for one in audit.findings][:1] == ["damaged"]
    assert "malformed attestation" in audit.findings[0].message


@pytest.mark.parametrize(
    ("selection", "needed", "expected"),
    [
        (positions(1, 10), 1, [(13, LACKING, 1, 1)]),
        (positions(1, 10), 2, []),
        (positions(2, 10), 1, []),
        (REQUEST, 1, []),
    ],
    ids=str,
)
def test_who_needs_attestations_is_told_what_has_none(
    ledger: Attested, selection: Selection, needed: int, expected: list[tuple[int, str, int, int]]
) -> None:
    """With the members, what is before the first key is one finding; without them, all events are."""
    data = ledger.bundle(selection)
    assert ledger.needing(data, needed) == expected
    case = Case.read(data)
    del case.files[ATTESTATIONS], case.files[RECORDING_KEYS]
    # A range shows the registrations, which cannot be hidden: each of these has a finding of its own.
    keys = {2, 9} if selection is not REQUEST else set()
    places = sorted({line["position"] for line in case.lines if line["position"] >= needed} - keys)
    found = ledger.needing(case.write(), needed)
    assert found == [(13, LACKING, *at) for at in sorted([(places[0], places[-1]), *((key, key) for key in keys)])]


def test_the_program_fails_where_attestations_are_needed(
    ledger: Attested, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--attested` is a finding of step 13 and exit code 1; from the position of the key on all holds."""
    file = tmp_path / "case.zip"
    file.write_bytes(ledger.bundle(positions(1, 10)))
    arguments = [str(file), "--key", ledger.key.verifier.text]
    assert run(arguments) == 0
    assert run([*arguments, "--attested-from", "2"]) == 0
    capsys.readouterr()
    assert run([*arguments, "--attested"]) == 1
    assert "13. recording keys" in (said := capsys.readouterr().out)
    assert "not-attested" in said
    for wrong in (["--attested", "--attested-from", "2"], ["--attested-from", "0"]):
        with pytest.raises(SystemExit) as ended:
            run([*arguments, *wrong])
        assert ended.value.code == 2
    assert run(["--log", "http://127.0.0.1:9", "--attested"]) == 2


def test_verify_fails_where_attestations_are_needed(ledger: Attested) -> None:
    """Of a whole ledger, what is before its first key is one finding; without keys, all of it is."""
    with connect(ledger.url, "verifier") as conn:
        assert verify_chain(conn, attested_from=2).ok
        [finding] = verify_chain(conn, attested_from=1).findings
    assert (finding.step, finding.kind, finding.position, finding.last_position) == (14, LACKING, 1, 1)


def test_a_ledger_without_keys_fails_as_a_whole(server_url: str) -> None:
    """No key, no attestation: one finding for all events, and none without the demand."""
    with scratch_database(server_url) as url, connect(url) as conn:
        migrate(conn)
        with connect(url, "writer") as writer, writer.cursor(binary=True) as cursor:
            cursor.execute(store.APPEND, store.parameters([encode(new("a")), encode(new("b"))]))
        with connect(url, "verifier") as reading:
            assert verify_chain(reading).ok
            [finding] = verify_chain(reading, attested_from=1).findings
            assert (finding.kind, finding.position, finding.last_position) == (LACKING, 1, 2)


def test_an_edited_event_is_named_once(ledger: Attested) -> None:
    """An event that was changed, or left out, is that finding alone: its attestation is not accused."""
    case = Case.read(ledger.bundle(positions(1, 10)))
    case.lines = [line for line in case.lines if line["position"] != 5]
    assert ledger.found(case.write()) == [(10, "deleted", 5)]


def test_an_attestation_that_the_owner_deleted_is_missing(server_url: str, tmp_path: Path) -> None:
    """The export writes what is there: of an event whose attestation is gone, the auditor's program says so."""
    with scratch_database(server_url) as url, connect(url) as conn:
        migrate(conn)
        rebuild_outdated(url)
        with connect(url, "writer") as writer:
            made = AttestedLedger.of(url, conn, writer)
            made.append(new("a"))
            made.append(new("b"))
        key = key_for(url)
        sign(url, key, tmp_path / "last")
        made.owner("DELETE FROM attestations WHERE first = 2")
        attested = Attested(url, key, made.last)
        assert attested.found(attested.bundle(positions(1, 3))) == [(13, LACKING, 2)]

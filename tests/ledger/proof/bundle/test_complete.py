"""A bundle is of what it says to be of, and promises nothing that the checkpoint does not cover: step 10."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import orjson
import pytest

from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.auditor.contents import Audit
from ledger.proof.auditor.report import outcomes
from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.complete import Completeness, Place
from ledger.proof.bundle.selection import Selection
from ledger.proof.bundle.shown_end import Needed
from ledger.proof.findings import BUNDLE, MOST_FINDINGS, Findings, Kind
from ledger.proof.format.events import EventLine
from ledger.proof.tlog.trust import Trust
from ledger.tlog.signing_keys import SigningKey
from tests.bundle_vectors_selection import Made, further, hidden, of, selection_vectors
from tests.ledger.proof.bundle.bundles import Case, make_bundle
from tests.ledger.proof.chains import ORIGIN, chain_of

KEY = SigningKey.generate(ORIGIN)
MADE = [*selection_vectors(KEY), *further(KEY)]
SIZE = 3


def audit(data: bytes) -> Audit:
    """Audit a bundle as somebody who trusts KEY."""
    return audit_bundle(io.BytesIO(data), Trust(log=(KEY.verifier,)))


@pytest.mark.parametrize("made", MADE, ids=[name for name, *_ in MADE])
def test_it_is_what_it_says(made: Made) -> None:
    """A fault is found where it begins; its consequences are not findings."""
    _, data, wrong, position = made
    found = audit(data).findings
    assert {one.kind for one in found} == (set() if wrong is None else {wrong})
    assert [one.position for one in found[:1]] == ([] if wrong is None else [position])


def step_10(found: Audit) -> str:
    """Its outcome as the program prints it."""
    return next(outcome for number, _, outcome in outcomes(found) if number == 10)


def test_streams_of_a_client_that_is_not_named() -> None:
    """Two clients whose ids are withheld pass for one, and so step 10 does not claim to hold and be done."""
    found = audit(make_bundle(SIZE, Selection("client"), KEY, of(2, 3), hidden))
    assert found.ok
    assert step_10(found) == "holds, but neither where these streams end nor that they are of one client is shown"
    assert "that these streams are of one client" in found.not_proven
    named = audit(make_bundle(SIZE, Selection("client", client="client-2"), KEY, of(2)))
    assert step_10(named) == "holds, but where these streams end is not shown"
    assert (found.complete, named.complete) == (None, None)


def note(position: int, stream: str, version: int, fields: bytes) -> tuple[EventLine, Place]:
    """An event that the log has at its position, with these sealed values."""
    return EventLine(position, version, 1, b"", b"", b"", fields, b"", ()), Place(stream=stream, event_type="note")


def test_a_client_id_within_another_value_is_not_the_sealed_one() -> None:
    """A member of a sealed value is not the sealed client_id: it neither shows the client nor contradicts it."""
    findings = Findings(BUNDLE)
    manifest = Case.read(make_bundle(SIZE, Selection("client", client="client-2"), KEY, of(2))).manifest
    complete = Completeness(manifest, findings)
    complete.add(*note(2, "request-2", 1, b'{"note":{"client_id":"client-9"}}'))
    assert not tuple(findings)
    complete.add(*note(3, "request-2", 2, b'{"client_id":"client-2"}'))
    complete.add(*note(4, "request-3", 1, b'{"note":{"client_id":"client-2"}}'))
    complete.finish()
    assert [(one.kind, one.position) for one in findings] == [(Kind.CLIENT_MISMATCH, 4)]


def test_a_range_is_complete_up_to_what_the_checkpoint_covers() -> None:
    """A whole range is; one that was cut, or of which the checkpoint covers a part, is not."""
    data = make_bundle(SIZE, Selection("positions", first_position=1, last_position=SIZE), KEY)
    assert audit(data).complete is True
    case = Case.read(data)
    case.lines = case.lines[:-1]
    assert audit(case.write()).complete is False
    in_part = next(data for name, data, *_ in MADE if name == "a range that the checkpoint covers in part")
    assert (audit(in_part).ok, audit(in_part).complete) == (True, False)


def needed(data: bytes) -> list[tuple[Kind, str]]:
    """The findings of somebody who needs the bundle to be complete."""
    found = audit_bundle(io.BytesIO(data), Trust(log=(KEY.verifier,)), needed=Needed()).findings
    return [(finding.kind, finding.message) for finding in found]


def test_a_bundle_that_must_be_complete_and_is_not_shown_to_be_fails() -> None:
    """It is a finding of its own, which says why; a bundle with another finding has that one alone."""
    assert needed(make_bundle(SIZE, Selection("positions", first_position=1, last_position=SIZE), KEY)) == []
    stream = make_bundle(SIZE, Selection("request", request=2), KEY, of(2))
    assert needed(stream) == [
        (Kind.NOT_SHOWN, "it is not shown that the bundle is complete: where these streams end is not shown")
    ]
    in_part = next(data for name, data, *_ in MADE if name == "a range that the checkpoint covers in part")
    ((kind, message),) = needed(in_part)
    assert kind is Kind.NOT_SHOWN
    assert "left out" in message
    case = Case.read(stream)
    case.lines = []
    assert [kind for kind, _ in needed(case.write())] == [Kind.DELETED]


def test_what_is_covered_is_told() -> None:
    """The report prints the end that the checkpoint covers, not the end that was asked for."""
    data = next(data for name, data, *_ in MADE if name == "a range that the checkpoint covers in part")
    assert audit(data).done[10][:2] == ["asked for: positions 3 to 9", "every position from 3 to 3"]


def test_the_words_are_of_the_selection() -> None:
    """The maker cannot put the selection into words of its own: no member holds them."""
    case = Case.read(make_bundle(SIZE, Selection("request", request=2), KEY, of(2)))
    assert b"request 2</td>" in case.files[bundle.PAGE]
    assert audit(case.write()).done[10][0] == "asked for: request 2"
    manifest = json.loads(case.files[bundle.MANIFEST])
    manifest["selection"]["asked"] = "everything of client-7"
    case.files[bundle.MANIFEST] = orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)
    assert [one.kind for one in audit(case.write(careful=False)).findings] == [Kind.DAMAGED]


def steps_of(work: Callable[[], object]) -> int:
    """Return how many lines of Python the work executes."""
    steps = 0

    def trace(_frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal steps
        steps += event == "line"
        return trace

    tracer_before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(tracer_before)
    return steps


def add_replaced(count: int) -> Findings:
    """Add replaced events of one stream, then as many unsound ones."""
    (first,) = chain_of(1)
    manifest = Case.read(make_bundle(1, Selection("client", client="client-1"), KEY)).manifest
    findings = Findings(BUNDLE)
    complete = Completeness(manifest, findings)
    line = EventLine(1, 1, 1, b"", b"", first.body, b"", b"", ())
    for version in range(1, count + 1):
        key = findings.add(Kind.EDITED, version, "")
        complete.add(line._replace(position=version, version=version), Place(replaced=key))
    for position in range(count + 1, 2 * count + 1):
        complete.add(line._replace(position=position, version=1 << 40), Place())
    return findings


def test_replaced_events_take_no_longer_the_more_there_are() -> None:
    """Many replaced events of one stream, then as many unsound ones: the cost of a line does not grow."""
    few, many, most = (steps_of(partial(add_replaced, count)) for count in (500, 1000, 1500))
    assert most - many <= 1.01 * (many - few)
    findings = add_replaced(20_000)
    assert (len(tuple(findings)), findings.more) == (MOST_FINDINGS, 20_000 - MOST_FINDINGS)

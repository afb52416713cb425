"""Lines of a bundle that were changed, or that a log signed although no log should have them: never taken as good."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings

from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.auditor.contents import Audit
from ledger.proof.bundle import manifest
from ledger.proof.bundle.selection import Selection
from ledger.proof.format.canonical import canonical
from ledger.proof.format.events import EventRow
from ledger.proof.format.hashes import commitment
from ledger.proof.tlog.trust import Trust
from ledger.tlog.signing_keys import SigningKey
from tests.ledger.proof.bundle import bundles
from tests.ledger.proof.bundle.bundles import Case, make_bundle
from tests.ledger.proof.chains import ORIGIN, body_of, chain_of, rehashed
from tests.ledger.proof.mutation import mutated

SIZE = 300
KEY = SigningKey.generate(ORIGIN)
TRUST = Trust(log=(KEY.verifier,))
RANGE = Selection("positions", first_position=200, last_position=280)
CLIENT = Selection("client", client="client-3")


def in_range(event: EventRow) -> bool:
    """True if RANGE has the event."""
    return 200 <= event.position <= 280


def of_client(event: EventRow) -> bool:
    """True if CLIENT has the event."""
    return event.stream == "request-3"


def withhold(name: str) -> bool:
    """One of the two names."""
    return name == "notes"


def audit(data: bytes) -> Audit:
    """Audit a bundle as somebody who trusts KEY."""
    return audit_bundle(io.BytesIO(data), TRUST)


def kinds(data: bytes) -> set[str]:
    """The kinds of what is found."""
    return {finding.kind.value for finding in audit(data).findings}


def linked(change: Callable[[EventRow], EventRow]) -> list[EventRow]:
    """The events of a ledger that recorded two wrong ones, at positions 250 and 270, and signed them."""
    events: list[EventRow] = []
    for event in chain_of(SIZE):
        link = events[-1].hash if events else event.prev_hash
        given_ = event._replace(prev_hash=link)
        events.append(rehashed(change(given_) if event.position in {250, 270} else given_))
    return events


def longer(event: EventRow, **members: Any) -> EventRow:
    """With other members of the body."""
    return event._replace(body=canonical({**orjson.loads(event.body), **members}))


Change = Callable[[EventRow], EventRow]
# The kinds that are found in a range, which shows no versions.
SIGNED: dict[str, tuple[Change, set[str]]] = {
    "time decreasing": (lambda event: event._replace(recorded_at_us=5), {"time-decreasing"}),
    "unlinked": (lambda event: event._replace(prev_hash=bytes(32)), {"unlinked"}),
    "body with white space": (lambda event: event._replace(body=event.body + b" "), {"malformed"}),
    "body with a member twice": (lambda event: event._replace(body=b'{"actor":1,' + event.body[1:]), {"malformed"}),
    "body without stream": (
        lambda event: event._replace(body=event.body.replace(b'"stream"', b'"straem"')),
        {"malformed"},
    ),
    "type that is a number": (lambda event: longer(event, type=7), {"malformed"}),
    "another spelling of a number": (lambda event: longer(event, data=0.00001), set()),
    "nothing sealed": (
        lambda event: event._replace(body=body_of(event.position, event.stream), fields=None, salts=None),
        set(),
    ),
    "erased": (lambda event: event._replace(fields=None, salts=None), set()),
    "malformed commitments": (lambda event: longer(event, sealed=[1]), {"commitment-mismatch"}),
    "another value": (
        lambda event: event._replace(fields=event.fields and event.fields.replace(b"client-", b"tneilc-")),
        {"commitment-mismatch"},
    ),
    "salt of another length": (
        lambda event: event._replace(salts=event.salts and event.salts.replace(b'"}', b'00"}')),
        {"commitment-mismatch"},
    ),
    "version left out": (lambda event: event._replace(version=event.version + 1), set()),
    "another stream": (
        lambda event: event._replace(body=event.body.replace(b'"request-', b'"request-9')),
        set(),
    ),
    "one name of another kind": (
        lambda event: longer(
            event._replace(fields=b'{"x":1}', salts=b'{"x":"%b"}' % (b"00" * 32)),
            sealed={"x": commitment("x", bytes(32), b"1")},
        ),
        set(),
    ),
}


@pytest.mark.parametrize("name", SIGNED)
def test_what_a_log_signed(name: str) -> None:
    """Links, times, bodies and values that the log itself has wrong are found, at the two events that have them."""
    change, expected = SIGNED[name]
    events = linked(change)
    found = audit(make_bundle(SIZE, RANGE, KEY, in_range, events=events)).findings
    assert {finding.kind.value for finding in found} == expected
    assert {finding.position for finding in found} <= {250, 251, 270, 271}


def test_a_version_that_a_log_left_out() -> None:
    """A stream shows it, where a range of positions does not."""
    events = linked(lambda event: event._replace(version=event.version + 1))
    stream = events[249].stream
    selection = Selection("request", request=int(stream.removeprefix("request-")))
    data = make_bundle(SIZE, selection, KEY, lambda event: event.stream == stream, events=events)
    assert "deleted" in kinds(data)


GOOD = {
    "range": Case.read(make_bundle(SIZE, RANGE, KEY, in_range)),
    "withheld": Case.read(make_bundle(SIZE, RANGE, KEY, in_range, withhold)),
    "client": Case.read(make_bundle(SIZE, CLIENT, KEY, of_client)),
}

Lines = list[dict[str, Any]]
TAMPERED: dict[str, Callable[[Lines], Lines]] = {
    "nothing": lambda lines: lines,
    "deleted": lambda lines: lines[:20] + lines[21:],
    "cut": lambda lines: lines[:20],
    "twice": lambda lines: lines[:20] + lines[19:],
    "swapped": lambda lines: [*lines[:20], lines[21], lines[20], *lines[22:]],
    "edited": lambda lines: [*lines[:20], {**lines[20], "version": 999}, *lines[21:]],
    "replaced": lambda lines: [*lines[:20], bundles.rehashed({**lines[20], "version": 999}), *lines[21:]],
    "renumbered": lambda lines: lines[:20] + [{**one, "position": one["position"] + 1} for one in lines[20:]],
    "closed": lambda lines: lines[:20] + [{**one, "position": one["position"] - 1} for one in lines[21:]],
    "beyond": lambda lines: [*lines, {**lines[-1], "position": SIZE + 1}],
    "upper case": lambda lines: [*lines[:20], {**lines[20], "hash": lines[20]["hash"].upper()}, *lines[21:]],
    "upper case link": lambda lines: [
        *lines[:20], {**lines[20], "prev_hash": lines[20]["prev_hash"].upper()}, *lines[21:]
    ],
    "short link": lambda lines: [*lines[:20], {**lines[20], "prev_hash": "00"}, *lines[21:]],
    "true": lambda lines: [*lines[:20], {**lines[20], "version": True}, *lines[21:]],
    "more": lambda lines: [*lines[:20], {**lines[20], "more": 1}, *lines[21:]],
    "two more": lambda lines: [*lines[:20], {**lines[20], "more": "", "other": ""}, *lines[21:]],
    "no values": lambda lines: [*lines[:20], {**lines[20], "fields": "", "salts": ""}, *lines[21:]],
    "less": lambda lines: [*lines[:20], {"position": lines[20]["position"]}, *lines[21:]],
    "withheld too": lambda lines: [*lines[:20], {**lines[20], "withheld": ["client_id"]}, *lines[21:]],
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
@pytest.mark.parametrize("name", TAMPERED)
def test_what_was_done_to_lines(name: str, case: str) -> None:
    """Dropped, changed, moved, of other members and types: found."""
    changed = Case(dict(GOOD[case].files))
    changed.lines = TAMPERED[name](changed.lines)
    assert audit(changed.write()).ok == (name == "nothing")


@pytest.mark.parametrize("case", GOOD)
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(mutated(GOOD["range"].files[manifest.EVENTS]))
def test_what_was_done_to_bytes(case: str, data: bytes) -> None:
    """Stretches of the lines replaced: found, unless nothing changed."""
    files = Case.read(Case(dict(GOOD[case].files)).write()).files
    assert audit(Case({**files, manifest.EVENTS: data}).write(careful=False)).ok == (data == files[manifest.EVENTS])


@pytest.mark.parametrize(
    "separator", [b"\n\n", b"", b" \n", b"\n ", b",", b",\n", b"\n,", b"\r\n", b'\n"x"\n', b"\n[]\n", b"\nnull\n"]
)
def test_how_lines_are_parted(separator: bytes) -> None:
    """Lines are parted by one newline and nothing else."""
    lines = GOOD["range"].files[manifest.EVENTS].splitlines()
    data = b"\n".join(lines[:40]) + separator + b"\n".join(lines[40:]) + b"\n"
    assert not audit(Case({**GOOD["range"].files, manifest.EVENTS: data}).write(careful=False)).ok

"""Lines looked at many at once give the verdict that they give one by one, whatever was done to them."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings

from ledger.proof.auditor.audit import Audit, audit_bundle
from ledger.proof.bundle import events as bundle_events
from ledger.proof.bundle import manifest
from ledger.proof.bundle.blocks import Run, sound_runs
from ledger.proof.bundle.manifest import Selection
from ledger.proof.findings import Stored
from ledger.proof.format.canonical import canonical
from ledger.proof.format.hashes import commitment
from ledger.proof.tlog.note import SigningKey
from ledger.proof.tlog.trust import Trust
from tests.ledger.proof.bundle import bundles
from tests.ledger.proof.bundle.bundles import Case, make_bundle
from tests.ledger.proof.chains import ORIGIN, body_of, chain_of, rehashed
from tests.ledger.proof.mutation import mutated

SIZE = 300
KEY = SigningKey.generate(ORIGIN)
TRUST = Trust(log=(KEY.verifier,))
RANGE = Selection("positions", first_position=200, last_position=280)
CLIENT = Selection("client", client="client-3")


def in_range(event: Stored) -> bool:
    """Whether RANGE has it."""
    return 200 <= event.position <= 280


def of_client(event: Stored) -> bool:
    """Whether CLIENT has it."""
    return event.stream == "request-3"


def withhold(name: str) -> bool:
    """One of the two names."""
    return name == "notes"


@pytest.fixture(autouse=True, scope="module")
def few_rows() -> Iterator[None]:
    """The page shows three events: those that it shows are always looked at one by one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle_events, "MOST_EVENTS", 3)
        patch.setattr(bundles, "MOST_EVENTS", 3)
        yield


def verdict(audit: Audit) -> object:
    """All that the program would print."""
    fields = audit.fields.counts, audit.fields.ranges
    return audit.findings, audit.problems.more, audit.done, dataclasses.astuple(audit.seen), fields, audit.streams


def none_sound(_lines: list[bytes], **_options: bool) -> list[Run]:
    """In place of sound_runs(): every line needs a closer look."""
    return []


def same(data: bytes) -> Audit:
    """The audit of a bundle, which is the same one by one."""
    found = audit_bundle(io.BytesIO(data), TRUST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle_events, "sound_runs", none_sound)
        assert verdict(audit_bundle(io.BytesIO(data), TRUST)) == verdict(found)
    return found


def linked(change: Callable[[Stored], Stored]) -> list[Stored]:
    """What a ledger has signed that recorded other events than it should have, from position 250 on."""
    events: list[Stored] = []
    for event in chain_of(SIZE):
        link = events[-1].hash if events else event.prev_hash
        given_ = event._replace(prev_hash=link)
        events.append(rehashed(change(given_) if event.position in {250, 270} else given_))
    return events


def longer(event: Stored, **members: Any) -> Stored:
    """With other members of the body."""
    return event._replace(body=canonical({**orjson.loads(event.body), **members}))


SIGNED: dict[str, Callable[[Stored], Stored]] = {
    "time decreasing": lambda event: event._replace(recorded_at_us=5),
    "unlinked": lambda event: event._replace(prev_hash=bytes(32)),
    "body with white space": lambda event: event._replace(body=event.body + b" "),
    "body with a member twice": lambda event: event._replace(body=b'{"a":1,' + event.body[1:]),
    "body without stream": lambda event: event._replace(body=event.body.replace(b'"stream"', b'"straem"')),
    "type that is a number": lambda event: longer(event, type=7),
    "another spelling of a number": lambda event: longer(event, data=0.00001),
    "nothing sealed": lambda event: event._replace(body=body_of(event.position, event.stream), fields=None, salts=None),
    "erased": lambda event: event._replace(fields=None, salts=None),
    "commitments that are none": lambda event: longer(event, sealed=[1]),
    "another value": lambda event: event._replace(fields=event.fields and event.fields.replace(b"client-", b"tneilc-")),
    "salt of another length": lambda event: event._replace(salts=event.salts and event.salts.replace(b'"}', b'00"}')),
    "version left out": lambda event: event._replace(version=event.version + 1),
    "another stream": lambda event: event._replace(body=event.body.replace(b'"request-', b'"request-9')),
    "negative version": lambda event: event._replace(version=2**64 - 1),
    "one name of another kind": lambda event: longer(
        event._replace(fields=b'{"x":1}', salts=b'{"x":"%b"}' % (b"00" * 32)),
        sealed={"x": commitment("x", bytes(32), b"1")},
    ),
}


@pytest.mark.parametrize("name", SIGNED)
def test_what_a_log_signed(name: str) -> None:
    """Also where the log itself has what no log should have, of a range and of a client."""
    events = linked(SIGNED[name])
    same(make_bundle(SIZE, RANGE, KEY, in_range, withhold, events))
    same(make_bundle(SIZE, RANGE, KEY, in_range, events=events))
    same(make_bundle(SIZE, CLIENT, KEY, lambda event: b'"client-3"' in (event.fields or b""), events=events))


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
    """Dropped, changed, moved, of other members and types: the same findings in the same order."""
    changed = Case(dict(GOOD[case].files))
    changed.lines = TAMPERED[name](changed.lines)
    assert same(changed.write()).ok == (name == "nothing")


@pytest.mark.parametrize("case", GOOD)
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(mutated(GOOD["range"].files[manifest.EVENTS]))
def test_what_was_done_to_bytes(case: str, data: bytes) -> None:
    """Stretches of the lines replaced."""
    same(Case({**GOOD[case].files, manifest.EVENTS: data}).write(careful=False))


@pytest.mark.parametrize(
    "separator", [b"\n\n", b"", b" \n", b"\n ", b",", b",\n", b"\n,", b"\r\n", b'\n"x"\n', b"\n[]\n", b"\nnull\n"]
)
def test_how_lines_are_parted(separator: bytes) -> None:
    """Lines are parted by one newline and nothing else."""
    lines = GOOD["range"].files[manifest.EVENTS].splitlines()
    data = b"\n".join(lines[:40]) + separator + b"\n".join(lines[40:]) + b"\n"
    assert not same(Case({**GOOD["range"].files, manifest.EVENTS: data}).write(careful=False)).ok


@pytest.mark.parametrize("case", GOOD)
def test_good_lines_are_looked_at_once(case: str) -> None:
    """Runs have all good lines, so that the tests above compare two ways."""
    lines = GOOD[case].files[manifest.EVENTS].splitlines()
    runs = sound_runs(lines, positions_only=case != "client")
    assert sum(run.count for run in runs) == len(lines)
    assert {run.rows is None for run in runs} <= {case == "range", False}

"""Whatever a ledger recorded and whatever is taken out of a bundle or put into it: where streams end is held to it."""

from __future__ import annotations

import io
import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.auditor.contents import Audit
from ledger.proof.bundle import manifest as bundle
from ledger.proof.bundle.heads import parse_heads
from ledger.proof.bundle.selection import Selection
from ledger.proof.bundle.shown_end import Needed
from ledger.proof.bundle.zip import BundleFlaw
from ledger.proof.findings import Kind
from ledger.proof.tlog.trust import Trust
from tests.ledger.proof.bundle.bundles import Case
from tests.ledger.proof.bundle.headed import client_of, headed_case, recorded, without
from tests.ledger.proof.mutation import flaw_of, mutated
from tests.vector_parts import LOG

STREAMS = st.lists(st.integers(1, 7), min_size=2, max_size=24)
FEW = (1, 2, 1, 4, 3, 4, 1)
CASE = headed_case(FEW, Selection("client", client="client-1"), LOG)


def audited(case: Case) -> Audit:
    """Audit a bundle as somebody who needs it to be complete."""
    return audit_bundle(io.BytesIO(case.write()), Trust((LOG.verifier,)), needed=Needed())


def kinds(case: Case) -> set[Kind]:
    """The kinds of the findings."""
    return {finding.kind for finding in audited(case).findings}


def of_client(streams: list[int], client: str) -> list[int]:
    """The positions of its events."""
    return [position for position, stream in enumerate(streams, 1) if client_of(stream) == client]


@settings(max_examples=40)
@given(STREAMS, st.data())
def test_what_a_client_had_is_shown_and_each_change_named(streams: list[int], data: st.DataObject) -> None:
    """The whole bundle is complete; without a stream, without the end of one, or with another client's it is not."""
    stream = data.draw(st.sampled_from(streams))
    client = client_of(stream)
    selection = Selection("client", client=client)
    positions = [position for position, each in enumerate(streams, 1) if each == stream]
    whole = audited(headed_case(streams, selection, LOG))
    assert (whole.findings, whole.complete) == ((), True)
    assert kinds(without(headed_case(streams, selection, LOG), *positions)) == {Kind.DELETED}
    cut = data.draw(st.sampled_from(positions))
    rest = [position for position in positions if position >= cut]
    expected = Kind.TRUNCATED if len(rest) < len(positions) else Kind.DELETED
    assert kinds(without(headed_case(streams, selection, LOG), *rest)) == {expected}
    others = [each for each in streams if client_of(each) != client]
    if others:
        other = data.draw(st.sampled_from(others))
        case = headed_case(streams, selection, LOG)
        theirs = headed_case(streams, Selection("request", request=other), LOG)
        case.lines = sorted([*case.lines, *theirs.lines], key=lambda line: int(line["position"]))
        assert kinds(without(case)) == {Kind.CLIENT_MISMATCH}


@settings(max_examples=20)
@given(STREAMS, st.data())
def test_what_a_request_had_is_shown(streams: list[int], data: st.DataObject) -> None:
    """The same for the one stream of a request."""
    stream = data.draw(st.sampled_from(streams))
    selection = Selection("request", request=stream)
    assert audited(headed_case(streams, selection, LOG)).complete is True
    last = max(position for position, each in enumerate(streams, 1) if each == stream)
    expected = Kind.TRUNCATED if streams.count(stream) > 1 else Kind.DELETED
    assert kinds(without(headed_case(streams, selection, LOG), last)) == {expected}


@settings(max_examples=20)
@given(STREAMS, st.data())
def test_a_record_that_hides_a_stream_is_false(streams: list[int], data: st.DataObject) -> None:
    """A ledger that left a stream out of the tree is contradicted by a bundle that has the stream."""
    stream = data.draw(st.sampled_from(streams))
    if set(streams) == {stream}:
        return
    case = headed_case(streams, Selection("client", client=client_of(stream)), LOG, hidden=[stream])
    if json.loads(case.files[bundle.HEADS])["streams"]:
        assert kinds(case) == {Kind.HEADS_MISMATCH}


@settings(max_examples=150)
@given(mutated(CASE.files[bundle.HEADS]))
def test_no_other_bytes_pass(data: bytes) -> None:
    """The member is read exactly or refused by name; a careful maker's change of it is found."""
    if flaw_of(parse_heads, data) is None:
        assert parse_heads(data).encode() == data
    else:
        assert flaw_of(parse_heads, data) in {BundleFlaw.HEADS, BundleFlaw.LINE}
    found = kinds(Case({**CASE.files, bundle.HEADS: data}))
    assert found == (set() if data == CASE.files[bundle.HEADS] else found & {Kind.DAMAGED, Kind.HEADS_MISMATCH})
    assert found or data == CASE.files[bundle.HEADS]


@pytest.mark.parametrize("member", ["event", "inclusion", "path", "salt", "streams"])
def test_each_member_counts(member: str) -> None:
    """One hex digit, one number or one element changed: the record does not lead to the log, or the leaf not to it."""
    heads = json.loads(CASE.files[bundle.HEADS])
    if member == "event":
        heads["event"]["recorded_at_us"] += 1
    elif member == "streams":
        heads["streams"][0][1] += 1
    elif member == "salt":
        heads["salt"] = heads["salt"][::-1]
    else:
        heads[member] = heads[member][1:]
    data = orjson.dumps(heads, option=orjson.OPT_SORT_KEYS)
    assert kinds(Case({**CASE.files, bundle.HEADS: data})) == {Kind.HEADS_MISMATCH}


def test_another_event_is_no_record() -> None:
    """An event of the log that has no root: what it would say is not asked."""
    heads = json.loads(CASE.files[bundle.HEADS])
    other = recorded(FEW)[0]
    for name, value in (
        ("body", other.body.decode()),
        ("hash", other.hash.hex()),
        ("prev_hash", other.prev_hash.hex()),
    ):
        heads["event"][name] = value
    heads["event"] |= {"position": 1, "version": 1, "recorded_at_us": other.recorded_at_us}
    data = orjson.dumps(heads, option=orjson.OPT_SORT_KEYS)
    assert kinds(Case({**CASE.files, bundle.HEADS: data})) == {Kind.HEADS_MISMATCH}

"""Versions are contiguous in every stream, told without remembering the streams."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.proof.format.events import EventRow, Head
from ledger.verify.ledger_verifier import LedgerVerifier
from tests.ledger.proof.chains import ORIGIN, body_of, chain_of, event_at, found, head_of, rehashed, verify


@pytest.fixture
def events() -> list[EventRow]:
    """A genuine chain."""
    return list(chain_of(100))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1, 4)), max_size=8), st.data())
def test_versions_are_contiguous_exactly_when_the_sums_agree(pairs: list[tuple[str, int]], data: st.DataObject) -> None:
    """For any versions in any streams, the sums agree with the last versions just if each stream has 1 to n once."""
    verifier = LedgerVerifier(None)
    verifier.feed(event_at(1, bytes(32))._replace(stream=stream, version=version) for stream, version in pairs)
    streams: dict[str, list[int]] = {}
    for stream, version in pairs:
        streams.setdefault(stream, []).append(version)
    ends = data.draw(st.permutations([(stream, max(versions)) for stream, versions in streams.items()]))
    contiguous = all(sorted(versions) == list(range(1, len(versions) + 1)) for versions in streams.values())
    assert verifier.check_streams(ends, {}) is contiguous


def test_a_stream_left_out_or_made_up_is_noticed(events: list[EventRow]) -> None:
    """Whoever lists the streams cannot leave one out, shorten one, repeat one or add one."""
    good = {event.stream: event.version for event in events}
    bad: list[list[tuple[str, int]]] = [
        list(good.items())[1:],
        [*good.items(), ("other-1", 1)],
        [*good.items(), ("request-1", good["request-1"])],
        list((good | {"request-1": good["request-1"] - 1}).items()),
        list((good | {"request-1": good["request-1"] + 1}).items()),
    ]
    for ends, expected in [(list(good.items()), True), *((ends, False) for ends in bad)]:
        verifier = LedgerVerifier(head_of(events))
        verifier.feed(events)
        verifier.finish()
        assert verifier.check_streams(ends, {}) is expected
        if not expected:
            verifier.report_versions([])
            assert found(verifier.report()) == [("index-mismatch", 0)]


def test_version_gaps_are_located() -> None:
    """A version skipped, given twice, or below 1, in an otherwise sound chain, is found at its event."""
    for versions, expected in (([1, 3], 2), ([2, 3], 1), ([1, 1], 2), ([0, 1], 1)):
        events: list[EventRow] = []
        for position, version in enumerate(versions, 1):
            event = event_at(position, events[-1].hash if events else next(chain_of(1)).prev_hash)
            body = body_of(position, "s")
            event = event._replace(stream="s", version=version, body=body, salts=None, fields=None)
            events.append(rehashed(event))
        (kind, position), *_ = found(verify(head_of(events), events))
        assert (kind, position) == ("version-gap", expected)


@pytest.mark.parametrize(("numbers", "expected"), [(7, []), (8, ["number-mismatch"]), (6, ["number-mismatch"])])
def test_the_last_number_is_the_highest(numbers: int, expected: list[str], events: list[EventRow]) -> None:
    """The last number given out is that of the highest stream: more means streams are gone, less that it was set."""
    verifier = LedgerVerifier(head_of(events))
    verifier.feed(events)
    verifier.finish()
    verifier.check_streams({event.stream: event.version for event in events}.items(), {"request-": numbers})
    assert [one.kind.value for one in verifier.report().findings] == expected


@pytest.mark.slow
def test_memory_is_flat() -> None:
    """Fifty thousand events, each in a stream of its own, are checked in less than a megabyte: 20 bytes each."""
    length = 50_000
    template = body_of(0, "stream")

    def rows() -> Iterator[EventRow]:
        """A genuine chain, made as it goes."""
        link = next(chain_of(1)).prev_hash
        for position in range(1, length + 1):
            name = f"s-{position}"
            body = template.replace(b'"stream":"stream"', b'"stream":"%b"' % name.encode())
            event = EventRow(position, str(UUID(int=0)), name, 1, "portfolio.requested", 0, link, b"", body, None, None)
            event = rehashed(event)
            link = event.hash
            yield event

    verifier = LedgerVerifier(Head(ORIGIN, length, bytes(32), 0))
    tracemalloc.start()
    verifier.feed(rows())
    assert verifier.check_streams(((f"s-{position}", 1) for position in range(1, length + 1)), {"s-": length})
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes < 1_000_000
    assert verifier.report().events == length
    assert verifier.report().ok

"""Exports with more in them than an export has: refused by name, before anything is built."""

from __future__ import annotations

import gzip
import tracemalloc

import orjson
import pytest

from api.otlp import encoding, wire
from api.otlp.encoding import TooLarge
from api.otlp.signals import TRACES
from tests.api.otlp.spans import export, span
from tests.api.otlp.test_traces import JSON, PROTOBUF, post, status
from tests.api.served import Api, read_beside


def field(number: int, content: bytes) -> bytes:
    """A field with bytes, as protobuf writes it."""
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


SCOPE = field(2, b"")
BOMBS: dict[str, tuple[encoding.Encoding, bytes, str]] = {
    "resources": (PROTOBUF, field(1, b"") * 9_000_000, "1000 resources"),
    "a scope in each": (PROTOBUF, field(1, SCOPE) * 1_000_000, "1000 resources"),
    "scopes": (PROTOBUF, field(1, SCOPE * 1_000_000), "2000 scopes"),
    "spans": (PROTOBUF, field(1, field(2, field(2, b"") * 1_000_000)), "5000 spans"),
    "attributes": (PROTOBUF, field(1, field(2, field(2, field(9, b"") * 1_000_000))), "250000 fields"),
    "values": (PROTOBUF, field(1, field(1, field(1, field(2, field(5, field(1, b"") * 500_000))))), "250000 fields"),
    "unknown": (PROTOBUF, b"\x78\x00" * 1_000_000, "250000 fields"),
    "a large resource": (
        PROTOBUF,
        field(1, field(1, field(1, b"") * 1_000) + field(2, field(2, b"") * 4_000)),
        "once for each of its spans",
    ),
    "JSON": (JSON, b'{"resourceSpans":[' + b",".join([b"{}"] * 1_000_000) + b"]}", "250000 members"),
    "fewer in JSON": (JSON, b'{"resourceSpans":[' + b",".join([b"{}"] * 1_001) + b"]}", "1000 resources"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_by_name(bomb: str) -> None:
    """The bound that is passed has a name, and finding it takes no memory to speak of."""
    kind, body, reason = BOMBS[bomb]
    tracemalloc.start()
    with pytest.raises(TooLarge, match=reason):
        encoding.decode(body, kind, TRACES)
    assert tracemalloc.get_traced_memory()[1] < 50 * 1024 * 1024
    tracemalloc.stop()


def test_a_million_spans_in_four_kilobytes_are_a_413(api: Api) -> None:
    """A small body that unpacks to a million spans is a 413 that the sender does not send again."""
    packed = gzip.compress(BOMBS["spans"][1])
    assert len(packed) < 5_000
    with api.records_nothing():
        assert "5000 spans" in status(post(api, packed, PROTOBUF, **{"Content-Encoding": "gzip"}), 413, PROTOBUF)


def test_others_are_served_beside_a_million_spans(api: Api) -> None:
    """While such bodies come in, another caller's reads are answered within a second."""
    packed = gzip.compress(BOMBS["spans"][1])
    for response in read_beside(api, *[lambda: post(api, packed, PROTOBUF, **{"Content-Encoding": "gzip"})] * 3):
        assert "5000 spans" in status(response, 413, PROTOBUF)


def test_what_exporters_send_is_far_below() -> None:
    """Exports of 512 spans, the default of the SDKs, pass with thirty attributes each, in both encodings."""
    many = {f"attribute.{number}": f"value {number}" for number in range(30)}
    sent = orjson.dumps(export(*[span(many, spanId=f"{number + 1:016x}") for number in range(512)], resource=many))
    request = encoding.decode(sent, JSON, TRACES)
    assert encoding.decode(request.SerializeToString(), PROTOBUF, TRACES) == request


@pytest.mark.parametrize("body", [b"\x0a", b"\x0a\x05", b"\xff" * 20, b"\x0f", b"\x0e\x00", b"\x0a\x02\x12\x05"])
def test_what_is_not_protobuf(body: bytes) -> None:
    """Bytes that are cut off or are no protobuf are refused as such."""
    with pytest.raises(encoding.NotOtlp):
        encoding.decode(body, PROTOBUF, TRACES)


@pytest.mark.parametrize("twice", ['{"resourceSpans": [], "resourceSpans": []}', '{"x": [{"a": 1, "b": {}, "a": 1}]}'])
def test_a_member_that_stands_twice_is_refused(twice: str) -> None:
    """Readers differ in which of the two counts."""
    with pytest.raises(encoding.NotOtlp, match="twice"):
        encoding.decode(twice.encode(), JSON, TRACES)


def test_groups_are_read_as_the_parser_does() -> None:
    """Groups of old protobuf are unknown fields, and pass."""
    wire.check_counts(b"\x7b\x08\x01\x7c", TRACES)
    assert encoding.decode(b"\x7b\x08\x01\x7c", PROTOBUF, TRACES).resource_spans == []

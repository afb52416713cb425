"""Hostile bundles: each is refused by a name or found wrong; never an exception, never memory without bound."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.export.bundle_writer import encode_consistency
from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.auditor.contents import Audit
from ledger.proof.auditor.extension import decode_consistency
from ledger.proof.bundle import manifest
from ledger.proof.bundle.events import parse_line
from ledger.proof.bundle.manifest import decode_manifest
from ledger.proof.bundle.selection import Selection
from ledger.proof.bundle.zip import BundleError, BundleFlaw, members
from ledger.proof.findings import BUNDLE
from ledger.proof.tlog.trust import Trust
from ledger.tlog.signing_keys import SigningKey, sign_rotation
from tests.ledger.proof.bundle.bundles import Case, make_bundle
from tests.ledger.proof.chains import ORIGIN
from tests.ledger.proof.mutation import flaw_of, mutated
from tests.paths import DOCS

KEY = SigningKey.generate(ORIGIN)
TRUST = Trust(log=(KEY.verifier,))
RANGE = Selection("positions", first_position=3, last_position=12)


def everything() -> bytes:
    """A bundle with each kind of member, some of 260 events; the timestamp has the digest and nothing else."""
    case = Case.read(make_bundle(260, RANGE, KEY, lambda one: 3 <= one.position <= 12, lambda name: name == "notes"))
    case.files[manifest.ROTATIONS] = sign_rotation(KEY, SigningKey.generate(ORIGIN)).note
    case.files[manifest.CONSISTENCY] = encode_consistency(260, [])
    case.files[manifest.stamp_name(1)] = b"0" + sha256(case.files[manifest.CHECKPOINT]).digest() + b"1"
    case.files[manifest.MANIFEST] = replace(case.manifest, timestamps=("https://tsa.example/",)).encode()
    return case.write()


GOOD = everything()
CASE = Case.read(GOOD)


def audit(data: bytes) -> Audit:
    """Audit a bundle as somebody who trusts KEY."""
    return audit_bundle(io.BytesIO(data), TRUST)


def kinds(data: bytes) -> list[str]:
    """The kinds of what is found."""
    return [one.kind.value for one in audit(data).findings]


def test_a_malformed_consistency_is_damaged_for_everybody() -> None:
    """Also for a reader who has no older checkpoint, and so cannot check the proof: at no event."""
    case = Case.read(GOOD)
    case.files[manifest.CONSISTENCY] = b"old 3"
    assert [(one.kind.value, one.position) for one in audit(case.write()).findings] == [("damaged", 0)]


def archive(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """These files as an archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as written:
        for name, data in files.items():
            written.writestr(name, data)
    return out.getvalue()


def flaw(data: bytes) -> BundleFlaw:
    """Under which name the container is refused."""
    with pytest.raises(BundleError) as caught:
        members(io.BytesIO(data), manifest.ALLOWED)
    assert isinstance(caught.value.flaw, BundleFlaw)
    assert kinds(data) == ["damaged"]
    return caught.value.flaw


def patched(data: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """Bytes at an offset from the first header with this signature replaced."""
    at = data.index(signature) + offset
    return data[:at] + value + data[at + len(value) :]


def test_the_untouched_bundle_is_good() -> None:
    """Before anything is done to it, and also in a container that another program stored it in."""
    assert audit(GOOD).ok
    assert audit(GOOD).trusted
    assert audit(CASE.write()).ok


def test_each_kind_is_documented() -> None:
    """The table of docs/formats/bundle.md has every kind of a bundle, and every step can be broken."""
    page = (DOCS / "formats/bundle.md").read_text("utf-8")
    assert set(BUNDLE.step_of.values()) == BUNDLE.steps.keys()
    assert [kind for kind in BUNDLE.step_of if f"| `{kind}` |" not in page] == []


@pytest.mark.parametrize(
    "name", ["../manifest.json", "/etc/passwd", "a", "tiles/8", "tiles/00", "events.ndjson ", "C:\\x", "EDGE", "é"]
)
def test_other_files_are_refused(name: str) -> None:
    """Also those whose names lead elsewhere: nothing is ever unpacked to a name."""
    assert flaw(archive({**CASE.files, name: b"x"})) is BundleFlaw.UNKNOWN_FILE


def test_a_file_that_is_there_twice_is_refused() -> None:
    """Readers would not agree on which counts."""
    out = io.BytesIO(GOOD)
    with zipfile.ZipFile(out, "a") as again, pytest.warns(UserWarning, match="Duplicate name"):
        again.writestr(manifest.EDGE, b"")
    assert flaw(out.getvalue()) is BundleFlaw.TWICE


def test_a_malformed_container_is_refused() -> None:
    """Cut, with something before, after or in between, encrypted, of another method, with sizes that lie."""
    assert flaw(b"") is BundleFlaw.NOT_ZIP
    assert flaw(GOOD[:-1]) is BundleFlaw.NOT_ZIP
    assert flaw(GOOD + b"x") is BundleFlaw.NOT_ZIP
    assert flaw(b"x" + GOOD) is BundleFlaw.DIRECTORY
    assert flaw(patched(GOOD, b"PK\1\2", 8, b"\1\0")) is BundleFlaw.ENCRYPTED
    assert flaw(patched(GOOD, b"PK\3\4", 6, b"\1\0")) is BundleFlaw.ENCRYPTED
    assert flaw(patched(GOOD, b"PK\1\2", 10, b"\x0c\0")) is BundleFlaw.METHOD
    assert flaw(patched(GOOD, b"PK\1\2", 24, b"\0\0\0\1")) is BundleFlaw.SIZE
    assert flaw(patched(GOOD, b"PK\1\2", 42, b"\5\0\0\0")) is BundleFlaw.OVERLAP
    assert flaw(patched(GOOD, b"PK\5\6", 8, b"\xff\xfe\xff\xfe")) is BundleFlaw.DIRECTORY
    local = GOOD.index(b"PK\3\4") + 30
    assert flaw(GOOD[:local] + b"X" + GOOD[local + 1 :]) is BundleFlaw.DIRECTORY


def test_a_missing_file_is_refused() -> None:
    """Each of those that must be there."""
    for name in manifest.ALWAYS:
        files = {other: data for other, data in CASE.files.items() if other != name}
        assert kinds(archive(files)) == ["damaged"]


def test_compressed_members_are_refused() -> None:
    """Nothing is ever unpacked, so that no bundle takes more memory or disk than its own size."""
    assert flaw(archive({**CASE.files, manifest.EVENTS: bytes(100 << 20)}, zipfile.ZIP_DEFLATED)) is BundleFlaw.METHOD


def test_a_line_without_end_is_refused_before_it_is_in_memory() -> None:
    """A line longer than the limit is refused before it is whole in memory."""
    data = archive({manifest.EVENTS: b"x" * 3_000_000})
    member = members(io.BytesIO(data), manifest.ALLOWED)[manifest.EVENTS]
    with pytest.raises(BundleError, match="a line of more than"):
        list(member.lines(1_000_000))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"1",
        b"[" * 100_000,
        b'{"a":' * 2000,
        b'{"body":"' + b"[" * 5000 + b'"}',
        b'{"position":' + b"9" * 5000 + b"}",
        b"\xff",
        b'"\\ud800"',
        b"null",
        b"{}",
    ],
)
def test_lines_that_are_none(line: bytes) -> None:
    """Deep, huge or simply other JSON is refused by name."""
    with pytest.raises(BundleError) as caught:
        parse_line(line, 7)
    assert caught.value.flaw is BundleFlaw.LINE
    files = {**CASE.files, manifest.EVENTS: CASE.files[manifest.EVENTS] + line + b"\n"}
    assert "damaged" in kinds(archive(files))


def test_a_deep_body_is_malformed() -> None:
    """A body nested deeper than a writer may is a finding at its position, not an exception."""
    from tests.ledger.proof.bundle.bundles import rehashed

    for depth in (100, 300, 5000):
        case = Case.read(GOOD)
        line = case.lines[4]
        case.lines = [*case.lines[:4], rehashed({**line, "body": '{"a":' * depth + "1" + "}" * depth}), *case.lines[5:]]
        assert kinds(case.write()) == ["edited"]


def spans(data: bytes) -> list[tuple[int, int]]:
    """Where the contents of the members stand in a bundle."""
    found = members(io.BytesIO(data), manifest.ALLOWED).values()
    return [(one.start, one.start + one.size) for one in found]


def test_every_byte_counts() -> None:
    """Whichever byte of the contents is changed, it is found; and of the metadata, found or without effect."""
    inside = {at for first, last in spans(GOOD) for at in range(first, last)}
    step = 11  # every eleventh byte, another bit each time
    for at in range(0, len(GOOD), step):
        bad = GOOD[:at] + bytes([GOOD[at] ^ (1 << at % 8)]) + GOOD[at + 1 :]
        found = audit(bad)
        if at in inside:
            assert not found.ok, at
        elif found.ok:
            assert (found.seen.proven, found.trusted) == (10, True)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(mutated(GOOD))
def test_mutations_of_the_file(data: bytes) -> None:
    """Stretches replaced anywhere, lengths changed: a finding or no effect, never an exception."""
    found = audit(data)
    assert not found.ok or found.seen.proven == 10


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_mutations_of_one_member(data: st.DataObject) -> None:
    """The same for the contents of one member in a container that is sound, for each parser."""
    name = data.draw(st.sampled_from(sorted(CASE.files)))
    bad = data.draw(mutated(CASE.files[name]))
    found = audit(archive({**CASE.files, name: bad}))
    assert found.ok == (bad == CASE.files[name])


@settings(max_examples=100)
@given(mutated(CASE.files[manifest.MANIFEST]))
def test_a_manifest_is_read_exactly_or_refused(raw: bytes) -> None:
    """A manifest is refused by name, or is exactly what it is read as."""
    if flaw_of(decode_manifest, raw) is None:
        assert decode_manifest(raw).encode() == raw
    else:
        assert flaw_of(decode_manifest, raw) is BundleFlaw.MANIFEST


@settings(max_examples=100)
@given(mutated(encode_consistency(5, ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="] * 3)))
def test_a_consistency_proof_is_read_exactly_or_refused(raw: bytes) -> None:
    """The same for the proof from an older checkpoint."""
    assert flaw_of(decode_consistency, raw) in {None, BundleFlaw.CONSISTENCY}


def test_memory_is_flat() -> None:
    """Twice the events take no more memory."""

    def peak(count: int) -> int:
        data = make_bundle(count, Selection("positions", first_position=1, last_position=count), KEY)
        file: Any = io.BytesIO(data)
        del data
        audit_bundle(file, TRUST)
        tracemalloc.start()
        assert audit_bundle(file, TRUST).ok
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(6000) < peak(3000) + 200_000

"""Lines that would take far more memory parsed than they are long are refused before that, for what they are."""

from __future__ import annotations

import io
from typing import Any

import orjson
import pytest

from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.bundle import manifest
from ledger.proof.bundle.events import MAX_BODY_BYTES, MAX_CONTAINERS, parse_line
from ledger.proof.bundle.selection import Selection
from ledger.proof.bundle.zip import BundleError
from ledger.proof.format.commitments import MAX_VALUE_BYTES
from ledger.proof.tlog.trust import Trust
from ledger.tlog.signing_keys import SigningKey
from tests.ledger.proof.bundle.bundles import Case, line_of, make_bundle, rehashed
from tests.ledger.proof.chains import ORIGIN, event_at

LINE = line_of(event_at(3, bytes(32)))
SALTS = '{"a":"' + "00" * 32 + '","b":"' + "00" * 32 + '"}'


def encoded(**members: Any) -> bytes:
    """The event with these members instead, and the hash that belongs to them."""
    return orjson.dumps(rehashed({**LINE, **members}), option=orjson.OPT_SORT_KEYS)


def test_what_an_event_may_have() -> None:
    """A body as large as one may be, full of quotes; values as large as two may be; names that are withheld."""
    body = '{"' + '\\"' * ((MAX_BODY_BYTES - 6) // 2) + '":1}'
    fields = '{"a":"' + "x" * (MAX_VALUE_BYTES - 2) + '","b":"' + "x" * (MAX_VALUE_BYTES - 2) + '"}'
    line = encoded(body=body, fields=fields, salts=SALTS, withheld=["notes", "reason"])
    assert parse_line(line, 0)[5:] == (body.encode(), fields.encode(), SALTS.encode(), ("notes", "reason"))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (encoded().replace(b'"version":1', b'"version":[' + b"[]," * 400_000 + b"[]]"), "too large for its contents"),
        (b'{"a":"","body":[' + b"[]," * 400_000 + b"[]]}", "too large for its contents"),
        (encoded(withheld=["x" * 50] * 30_000), "too large for its contents"),
        (encoded(body="[" + "[]," * (MAX_BODY_BYTES // 3) + "[]]"), "a body of more than"),
        (encoded(fields='{"a":"' + "x" * (2 * MAX_VALUE_BYTES) + '"}', salts=SALTS[:75] + "}"), "too large"),
        (encoded(fields='{"a":' + "[" * (MAX_CONTAINERS + 1), salts=SALTS), "too many parts"),
    ],
    ids=["version", "body", "withheld", "long body", "long value", "parts"],
)
def test_what_it_may_not(line: bytes, why: str) -> None:
    """Each is refused by name."""
    with pytest.raises(BundleError, match=why):
        parse_line(line, 0)


def test_a_body_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the first event is too large, only its line is parsed, not its body."""
    key = SigningKey.generate(ORIGIN)
    case = Case.read(make_bundle(3, Selection("positions", first_position=1, last_position=3), key))
    case.files[manifest.EVENTS] = encoded(body='{"data":' + "[" + "[]," * (MAX_BODY_BYTES // 3) + "[]]}") + b"\n"
    data = case.write(careful=False)
    seen: list[int] = []
    real = orjson.loads

    def loads(text: bytes) -> Any:
        seen.append(len(text))
        return real(text)

    monkeypatch.setattr("orjson.loads", loads)
    found = audit_bundle(io.BytesIO(data), Trust((key.verifier,)))
    assert [one.kind.value for one in found.findings] == ["damaged"]
    line = len(case.files[manifest.EVENTS]) - 1
    assert [length for length in seen if length > 100_000] == [line]

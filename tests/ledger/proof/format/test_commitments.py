"""Commitments open to what was sealed and to nothing else; what is gone is counted as erased."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.proof.format.canonical import canonical
from ledger.proof.format.commitments import MAX_VALUE_BYTES, open_sealed
from ledger.proof.format.events import EventRow
from ledger.proof.format.hashes import SEALED_PREFIX, commitment
from tests.ledger.proof.chains import body_of, chain_of, found, head_of, rehashed, verify
from tests.ledger.proof.format.test_canonical import VALUES

LENGTH = 100


@pytest.fixture
def events() -> list[EventRow]:
    """A genuine chain."""
    return list(chain_of(LENGTH))


@given(st.dictionaries(st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True), VALUES, min_size=1, max_size=3), st.data())
def test_commitments_open_to_their_values_only(values: dict[str, Any], data: st.DataObject) -> None:
    """For any JSON values, one or several: what was sealed opens, and nothing opens once anything is changed."""
    salts = {name: f"{index:064x}" for index, name in enumerate(values)}
    sealed = {name: commitment(name, bytes.fromhex(salts[name]), canonical(values[name])) for name in sorted(values)}
    fields, salted = canonical(values), canonical(dict(salts))
    assert open_sealed(sealed, salted, fields) == len(values)
    name = data.draw(st.sampled_from(sorted(values)))
    changed: list[tuple[dict[str, Any], bytes, bytes]] = [
        (sealed, salted, canonical({**values, name: [values[name]]})),
        (sealed, canonical({**salts, name: "f" * 64}), fields),
        (sealed, canonical({**salts, name: salts[name][:-2]}), fields),
        ({**sealed, name: "0" * 64}, salted, fields),
        ({key: value for key, value in sealed.items() if key != name}, salted, fields),
        (sealed, salted, canonical({**values, "zz_more": 1})),
        (sealed, salted, fields.replace(b":", b": ", 1)),
        (sealed, salted, fields[:-1]),
        (sealed, salted, fields[:-1] + b"x"),
    ]
    for arguments in changed:
        with pytest.raises(ValueError):  # noqa: PT011 - our own error, or JSON's, both a ValueError by contract
            open_sealed(*arguments)


def test_erased_values_are_counted(events: list[EventRow]) -> None:
    """Sealed values that are gone, whole rows or single names, are counted as erased and are no finding."""
    events[2] = events[2]._replace(salts=None, fields=None)
    fields = orjson.loads(events[5].fields or b"")
    salts = orjson.loads(events[5].salts or b"")
    del fields["notes"], salts["notes"]
    events[5] = events[5]._replace(salts=canonical(salts), fields=canonical(fields))
    report = verify(head_of(events), events)
    assert report.ok
    assert (report.opened, report.erased) == (LENGTH + LENGTH // 3 - 3, 3)


@pytest.mark.parametrize(
    ("salts", "fields"),
    [
        (b"", b""),
        (b"{}", b'{"client_id":"client-5"}'),
        (None, b'{"client_id":"client-5"}'),
        (b'{"client_id":5}', b'{"client_id":"client-5"}'),
        (b'{"client_id":"zz"}', b'{"client_id":"client-5"}'),
        (b"[]", b"[]"),
        (b"{", b"{}"),
        (b'{"other":"' + b"0" * 64 + b'"}', b'{"other":1}'),
        (b"null", b"null"),
        (b"[" * 100_000, b"[" * 100_000),
        (b'{"client_id":"' + b"0" * 64 + b'"}', b'{"client_id":' + b"[" * 300 + b"]" * 300 + b"}"),
        (b'{"client_id":"' + b"0" * 64 + b'"}', b'{"client_id":' + b"9" * 400 + b"}"),
        (b'{"client_id":"' + b"0" * 64 + b'"}', b'{"client_id":"\\ud800"}'),
        (b'{"client_id":"' + b"0" * 64 + b'"}', b"\xff\xfe"),
    ],
)
def test_hostile_sealed_values_are_a_finding(salts: bytes | None, fields: bytes, events: list[EventRow]) -> None:
    """Whatever stands beside an event, it opens its commitments or is a commitment-mismatch at that event."""
    events[4] = events[4]._replace(salts=salts, fields=fields)
    assert found(verify(head_of(events), events)) == [("commitment-mismatch", 5)]


@pytest.mark.parametrize("sealed", [None, [], {}, 5, {"client_id": 5}, {"client_id": None}, {"é": "x"}, {"": ""}])
def test_hostile_commitments_are_a_finding(sealed: Any) -> None:
    """An event that was recorded with values but without proper commitments is a commitment-mismatch, and no more."""
    events = list(chain_of(5))
    members = {} if sealed is None else {"sealed": sealed}
    events[4] = rehashed(events[4]._replace(body=body_of(5, events[4].stream, **members)))
    assert found(verify(head_of(events), events)) == [("commitment-mismatch", 5)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("notes", '{"weight":"0.60","weight":"0.90"}'),
        ("notes", '{ "a" : 1 }'),
        ("notes", '{"b":1,"a":1}'),
        ("notes", "hello } not json"),
        ("notes", '"\\u0061"'),
        ("notes", "1e0"),
        ("notes", "NaN"),
        ("notes", '1,"replacement":"uncommitted"'),
        ("notes", '1,"notes":2'),
        ("notes", "[" * 300 + "]" * 300),
        ('client_id":"client-9","notes', '"x"'),
        ("Notes", "1"),
        ("_notes", "1"),
        ("notes\n", "1"),
        ("", "1"),
        ("notes", '"' + "x" * MAX_VALUE_BYTES + '"'),
    ],
)
def test_what_is_no_value_opens_nothing(name: str, value: str) -> None:
    """A maker can commit to any bytes. Anything but one value under one name is refused, even if the hash fits."""
    salt = bytes(32)
    digest = sha256(SEALED_PREFIX + salt + b'["' + name.encode() + b'",' + value.encode() + b"]").hexdigest()
    fields, salts = f'{{"{name}":{value}}}'.encode(), f'{{"{name}":"{salt.hex()}"}}'.encode()
    with pytest.raises(ValueError):  # noqa: PT011 - our own error, or JSON's, both a ValueError by contract
        open_sealed({name: digest}, salts, fields)
    event = next(chain_of(1))
    event = rehashed(event._replace(body=body_of(1, event.stream, sealed={name: digest}), fields=fields, salts=salts))
    assert found(verify(head_of([event]), [event])) == [("commitment-mismatch", 1)]

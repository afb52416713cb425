"""The hashes are those of docs/formats/event.md, and the database's are the same."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ledger.database import Connection
from ledger.proof.format.canonical import canonical
from ledger.proof.format.events import EventRow, Head
from ledger.proof.format.hashes import (
    EVENT_PREFIX,
    HASH_BYTES,
    SALT_BYTES,
    SEALED_PREFIX,
    commitment,
    event_hash,
    genesis_hash,
)
from ledger.verify.ledger_verifier import LedgerVerifier
from tests.ledger.proof.format.test_canonical import VALUES
from tests.paths import DOCS
from tests.support import connect, scratch_database

FORMAT = DOCS / "formats/event.md"
NAMES = st.from_regex(r"[a-z][a-z_]{0,20}", fullmatch=True)
HASHES = st.binary(min_size=HASH_BYTES, max_size=HASH_BYTES)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)
I64 = st.integers(-(2**63), 2**63 - 1)
COUNTS = st.integers(1, 2**63 - 1)


def examples() -> list[dict[str, str]]:
    """The example blocks of the format, each as its `name: value` lines."""
    blocks = re.findall(r"```example\n(.*?)```", FORMAT.read_text("utf-8"), re.DOTALL)
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_the_example_of_the_format_holds() -> None:
    """This code computes every byte in the example of docs/formats/event.md, and each value in it is canonical."""
    ledger, *others = examples()
    link = genesis_hash(ledger["origin"])
    assert sha256(bytes.fromhex(ledger["genesis_input"])).hexdigest() == ledger["genesis_hash"] == link.hex()
    sealed = {block["name"]: block for block in others if "name" in block}
    events = [block for block in others if "position" in block]
    for block in sealed.values():
        name, salt, value = block["name"], bytes.fromhex(block["salt"]), block["value"].encode()
        assert canonical(json.loads(value)) == value
        assert bytes.fromhex(block["input"]) == SEALED_PREFIX + salt + canonical([name, json.loads(value)])
        assert sha256(bytes.fromhex(block["input"])).hexdigest() == block["commitment"]
        assert commitment(name, salt, value) == block["commitment"]
    for block in events:
        position, version, at = (int(block[name]) for name in ("position", "version", "recorded_at_us"))
        body = block["body"].encode()
        assert canonical(json.loads(body)) == body
        assert block["prev_hash"] == link.hex()
        assert sha256(bytes.fromhex(block["header"]) + body).hexdigest() == block["hash"]
        assert bytes.fromhex(block["header"]) == EVENT_PREFIX + link + struct.pack(">QQq", position, version, at)
        link = event_hash(link, position, version, at, body)
        assert link.hex() == block["hash"]
        assert json.loads(body)["sealed"] == {name: sealed[name]["commitment"] for name in json.loads(body)["sealed"]}
    assert len(events) == len(sealed) == 2


def test_the_verifier_accepts_the_example_of_the_format() -> None:
    """Fed with the example alone, the verifier finds nothing wrong and opens both commitments."""
    ledger, *others = examples()
    sealed = {block["name"]: block for block in others if "name" in block}
    rows = []
    for block in others:
        if "position" in block:
            body = json.loads(block["body"])
            ((name, _),) = body["sealed"].items()
            rows.append(
                EventRow(
                    int(block["position"]),
                    body["id"],
                    body["stream"],
                    int(block["version"]),
                    body["type"],
                    int(block["recorded_at_us"]),
                    bytes.fromhex(block["prev_hash"]),
                    bytes.fromhex(block["hash"]),
                    block["body"].encode(),
                    canonical({name: sealed[name]["salt"]}),
                    canonical({name: json.loads(sealed[name]["value"])}),
                )
            )
    verifier = LedgerVerifier(Head(ledger["origin"], 2, rows[-1].hash, rows[-1].recorded_at_us))
    verifier.feed(rows)
    verifier.finish()
    assert verifier.check_streams([("request-1", 2)], {"request-": 1})
    report = verifier.report()
    assert report.ok
    assert (report.events, report.opened, report.erased) == (2, 2, 0)


@given(HASHES, COUNTS, COUNTS, I64, st.binary(max_size=100))
def test_event_hash_is_the_formula(prev_hash: bytes, position: int, version: int, at: int, body: bytes) -> None:
    """The hash is SHA-256 over the layout of section 4, written here a second time."""
    layout = b"advice-ledger/event/v1\n" + prev_hash
    layout += position.to_bytes(8) + version.to_bytes(8) + at.to_bytes(8, signed=True) + body
    assert event_hash(prev_hash, position, version, at, body) == sha256(layout).digest()


@pytest.mark.parametrize(("position", "version", "at"), [(-1, 1, 0), (1, -1, 0), (2**64, 1, 0), (1, 1, 2**63)])
def test_numbers_that_no_event_has_are_an_error(position: int, version: int, at: int) -> None:
    """A number that does not fit its 8 bytes raises struct.error instead of being cut to size."""
    with pytest.raises(struct.error):
        event_hash(bytes(32), position, version, at, b"{}")


@pytest.fixture(scope="module")
def functions(server_url: str) -> Iterator[Connection]:
    """A connection to a migrated ledger, for calling its functions."""
    from schema.migrate import migrate

    with scratch_database(server_url) as url, connect(url) as conn:
        migrate(conn)
        yield conn


def call(conn: Connection, statement: Any, *arguments: object) -> Any:
    """The one value of a query."""
    row = conn.execute(statement, arguments).fetchone()
    assert row is not None
    return row[0]


@given(HASHES, COUNTS, COUNTS, I64, TEXT)
@example(bytes(32), 2**63 - 1, 2**63 - 1, -(2**63), '\x01\u20ac\U0001f600\\"')
@settings(max_examples=100)
def test_event_hash_is_the_same_in_sql(
    functions: Connection, prev_hash: bytes, position: int, version: int, at: int, body: str
) -> None:
    """event_hash() of the database is ours for any input, times before 1970 included."""
    query = "SELECT event_hash(%s, %s, %s, %s, %s)"
    expected = event_hash(prev_hash, position, version, at, body.encode())
    assert call(functions, query, prev_hash, position, version, at, body) == expected


@given(TEXT)
def test_genesis_hash_is_the_same_in_sql(functions: Connection, origin: str) -> None:
    """genesis_hash() of the database is ours for any origin."""
    assert call(functions, "SELECT genesis_hash(%s)", origin) == genesis_hash(origin)


@given(NAMES, st.binary(min_size=SALT_BYTES, max_size=SALT_BYTES), VALUES)
@settings(max_examples=100)
def test_sealed_commitment_is_the_same_in_sql(functions: Connection, name: str, salt: bytes, value: Any) -> None:
    """sealed_commitment() of the database is ours for any JSON value, and so is the canonical array of the format."""
    data = canonical(value)
    expected = commitment(name, salt, data)
    assert expected == sha256(SEALED_PREFIX + salt + canonical([name, value])).hexdigest()
    assert call(functions, "SELECT sealed_commitment(%s, %s, %s::json)", name, salt, data.decode()) == expected


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=4), st.data())
def test_commitments_open_in_sql_only_to_their_values(
    functions: Connection, values: dict[str, Any], data: st.DataObject
) -> None:
    """commitments_open() of the database holds for what was committed to, and for no value, salt or name changed."""
    salts = {name: sha256(name.encode()).hexdigest() for name in values}
    sealed = {name: commitment(name, bytes.fromhex(salts[name]), canonical(values[name])) for name in values}
    query = "SELECT commitments_open(%s::json, %s::json, %s::json)"

    def opens(salts: dict[str, str], values: dict[str, Any]) -> object:
        return call(functions, query, json.dumps(sealed), json.dumps(salts), canonical(values).decode())

    assert opens(salts, values) is True
    name = data.draw(st.sampled_from(sorted(values)))
    assert opens(salts, {**values, name: [values[name]]}) is False
    assert opens({**salts, name: "0" * 64}, values) is False
    assert opens(salts, {**values, "zz_other": 1}) is False
    assert opens(salts, {key: value for key, value in values.items() if key != name}) is False


def test_times_are_the_same_in_sql(functions: Connection) -> None:
    """The microseconds that append() hashes are exact at any moment that the column holds."""
    query = "SELECT (extract(epoch FROM %s::timestamptz) * 1000000)::bigint"
    for moment, expected in (
        ("1970-01-01 00:00:00.000001+00", 1),
        ("2026-02-28 23:59:59.999999+00", 1772323199999999),
        ("1969-12-31 23:59:59.999999+00", -1),
    ):
        assert call(functions, query, moment) == expected


def test_a_body_must_be_text_that_the_database_takes(functions: Connection) -> None:
    """U+0000 cannot even be sent: psycopg refuses it before the database would."""
    with pytest.raises(psycopg.DataError):
        call(functions, "SELECT genesis_hash(%s)", "a\0b")

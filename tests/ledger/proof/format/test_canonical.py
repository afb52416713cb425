"""Canonical bytes are RFC 8785's for every value that may be recorded, and all other values are refused by name."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.proof.format.canonical import JSON, MAX_DEPTH, MAX_INTEGER, NotCanonical, canonical, parse_object

# Characters at the edges: ASCII controls, quotes, the last of the first plane, and the first beyond it, which UTF-16
# and code points order differently.
EDGES = st.sampled_from('\x01\x08\t\n\x0b\f\r\x1f "\\/\x7f\x80é€\u2028\ud7ff\ue000\uffff\U00010000\U0001f600\U0010ffff')
TEXT = st.text(EDGES | st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
FLOATS = st.floats(allow_nan=False, allow_infinity=False).filter(lambda f: abs(f) <= MAX_INTEGER or not f.is_integer())
SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | FLOATS | TEXT
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5), max_leaves=25
)


def nested(depth: int, leaf: Any = 0) -> Any:
    """A leaf in `depth` containers, lists and objects in turn."""
    for level in range(depth):
        leaf = [leaf] if level % 2 else {"k": leaf}
    return leaf


BOTTOMLESS = nested(100_000)


@given(VALUES)
@example(-0.0)
@example(5e-324)
@example(2.2250738585072014e-308)
@example([0.1 + 0.2, 1e-7, 1e-6, 1e-5, 9.9e-6, 1.5, 100.0, 4503599627370495.5, float(MAX_INTEGER)])
@example({"\U0001f600": 1, "\ufb33": 2, "\u20ac": 3, "\r": 4, "1": 5, "\x80": 6, "ö": 7})
@example({"\uffff": 1, "\U00010000": 2})
@example(nested(MAX_DEPTH))
@example({"": {"": [[], {}, None, True, False]}})
def test_the_bytes_are_those_of_rfc_8785(value: Any) -> None:
    """canonical(v) equals the output of the reference implementation, by both of its writers."""
    assert canonical(value) == rfc8785.dumps(value)


@given(VALUES)
def test_one_text_for_one_value(value: Any) -> None:
    """Reading canonical bytes, with either reader, and writing them again changes nothing."""
    data = canonical(value)
    assert canonical(json.loads(data)) == data


@given(VALUES)
@example(1e-6)
@example({"\uffff": 1, "\U00010000": 2})
@example("\\u0000")
def test_the_reader_takes_all_that_the_writer_writes(value: Any) -> None:
    """parse_object accepts canonical bytes of every object and gives their value."""
    data = canonical({"k": value})
    assert parse_object(data) == json.loads(data)


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4), st.data())
def test_the_reader_refuses_white_space(value: dict[str, Any], data: st.DataObject) -> None:
    """Any blank outside of strings, added to canonical bytes, makes the reader refuse them."""
    text = canonical(value).decode()
    outside = [0]
    in_string = escaped = False
    for index, char in enumerate(text):
        in_string, escaped = (in_string != (char == '"' and not escaped)), (in_string and char == "\\" and not escaped)
        if char in "{}[],:" and not in_string:
            outside.append(index + 1)
    at = data.draw(st.sampled_from(outside))
    with pytest.raises(ValueError, match="canonical"):
        parse_object((text[:at] + " " + text[at:]).encode())


NOT_CANONICAL = {
    "name twice": '{"a":1,"a":1}',
    "name twice, other value": '{"a":1,"a":2}',
    "names out of order": '{"b":1,"a":2}',
    "needless escape": '{"a":"\\u0041"}',
    "escaped slash": '{"a":"\\/"}',
    "capital exponent": '{"a":1E2}',
    "leading zero": '{"a":01}',
    "integer beyond the limit, as a fraction": '{"a":9007199254740993.0}',
    "lone surrogate": '{"a":"\\ud800"}',
    "line break at the end": '{"a":1}\n',
    "array": "[1]",
    "number": "1",
    "nothing": "",
    "half": "{",
    "NaN": '{"a":NaN}',
    "beyond doubles": '{"a":1e999}',
    "100,000 deep": '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
    "500 deep": '{"a":' + "[" * 500 + "]" * 500 + "}",
    "5,000 digits": '{"a":' + "9" * 5000 + "}",
}


@pytest.mark.parametrize("text", NOT_CANONICAL.values(), ids=NOT_CANONICAL)
def test_the_reader_refuses_what_is_not_canonical(text: str) -> None:
    """Names twice or out of order, other escapes, no object, no JSON, depth and size: ValueError and nothing else."""
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own error and ours are both ValueErrors; that is the promise
        parse_object(text.encode())


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        ({"data": {"x": math.nan}}, "data.x", "nan is not a JSON number"),
        ({"data": {"x": [1, -math.inf]}}, "data.x[1]", "-inf is not a JSON number"),
        ({"n": MAX_INTEGER + 1}, "n", "integers beyond 2^53-1"),
        ({"n": -MAX_INTEGER - 1}, "n", "integers beyond 2^53-1"),
        ({"n": [10**400]}, "n[0]", "integers beyond 2^53-1"),
        ({"n": 1e21}, "n", "integers beyond 2^53-1"),
        ({"n": 2.0**53}, "n", "integers beyond 2^53-1"),
        ({"n": 1e300}, "n", "integers beyond 2^53-1"),
        ({"s": ["ok", {"t": "a\0b"}]}, "s[1].t", "U+0000"),
        ({"s": {"a\0b": 1}}, "s.a\0b", "U+0000"),
        ({"s": "\ud800"}, "s", "lone surrogate"),
        ({"s": "\udc00x"}, "s", "lone surrogate"),
        ({"data": nested(MAX_DEPTH)}, "data", "nested deeper than 64"),
        (nested(MAX_DEPTH + 1), "k", "nested deeper than 64"),
        ({"o": {1: 2}}, "o", "the key 1 is not a string"),
        ({"o": {"t": (1, 2)}}, "o.t", "a tuple is not JSON"),
        ({"o": b"x"}, "o", "a bytes is not JSON"),
        ({"o": {"a": {1, 2}}}, "o.a", "a set is not JSON"),
    ],
)
def test_a_refusal_names_place_and_reason(value: Any, path: str, reason: str) -> None:
    """A value that may not be recorded is refused, with its path and the reason."""
    with pytest.raises(NotCanonical) as caught:
        canonical(value)
    assert caught.value.path == path
    assert reason in caught.value.reason


def test_a_lone_surrogate_in_a_name_can_be_printed() -> None:
    """The refusal of a name that is no text has a path and message that are."""
    with pytest.raises(NotCanonical, match="lone surrogate") as caught:
        canonical({"data": {"\ud800": 1}})
    assert caught.value.path.startswith("data.")
    str(caught.value).encode("utf-8")


def test_the_path_begins_where_the_caller_says() -> None:
    """`path` goes before the place in the value, for values that are part of something."""
    with pytest.raises(NotCanonical) as caught:
        canonical(["x", math.nan], path="objectives")
    assert caught.value.path == "objectives[1]"


@given(
    st.floats(min_value=2.0**53, max_value=1.7e308) | st.integers(min_value=MAX_INTEGER + 1),
    st.sampled_from([1, -1]),
)
def test_integers_beyond_the_limit_are_refused_in_every_notation(size: float, sign: int) -> None:
    """No integral float and no int beyond 2^53-1 has a canonical form here, though RFC 8785 would write the float."""
    with pytest.raises(NotCanonical, match="send a string"):
        canonical({"n": sign * size})


@given(st.integers(MAX_DEPTH + 1, 3 * MAX_DEPTH))
def test_depth_is_refused_before_it_costs(depth: int) -> None:
    """Every depth beyond the limit is refused, also a depth that would exhaust Python's stack."""
    for value in (nested(depth), BOTTOMLESS):
        with pytest.raises(NotCanonical, match="nested deeper"):
            canonical(value)


@pytest.mark.parametrize("kind", [bool, int, float, str, list, dict])
def test_subclasses_are_not_mistaken_for_json(kind: type) -> None:
    """A subclass may write itself otherwise than its base: it is refused, but for bool, which JSON has."""
    if kind is bool:
        assert canonical(True) == b"true"
        return
    value: JSON = type("Odd", (kind,), {})()
    with pytest.raises(NotCanonical, match="Odd is not JSON"):
        canonical(value)

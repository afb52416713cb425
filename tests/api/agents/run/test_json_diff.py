"""Differences of two JSON values: exactly where their canonical forms differ, named by path, and short."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.agents.run.json_diff import MAX_PATH_CHARS, MAX_SHOWN_CHARS, Difference, differences
from ledger.proof.format.canonical import canonical

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, 1.0, 1.5]) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)


def found(recorded: Any, replayed: Any) -> list[Difference]:
    """List all differences below `x`."""
    return list(differences(recorded, replayed, "x"))


@given(VALUES, VALUES)
def test_equal_canonical_bytes_have_no_differences(one: Any, other: Any) -> None:
    """1 and 1.0 have the same canonical form; 1 and true, or two texts with the same JSON, do not."""
    for before, after in ((one, other), (json.dumps({"a": one}), json.dumps({"a": other}, indent=1))):
        assert bool(found(before, after)) == (canonical(before) != canonical(after))
        assert found(before, before) == []


def test_members_items_and_values_on_one_side_are_compared_by_path() -> None:
    """Members, items, and values on one side alone are compared."""
    assert found({"a": [1, {"b": "c"}], "d": None}, {"a": [1, {"b": "e"}, 7]}) == [
        Difference("x.a[1].b", '"c"', '"e"'),
        Difference("x.a[2]", None, "7"),
        Difference("x.d", "null", None),
    ]
    assert found([1], [True]) == [Difference("x[0]", "1", "true")]


def test_paths_lead_into_text_that_is_json() -> None:
    """Within texts that contain JSON objects, the member is named; other text is quoted."""
    assert found('{"a":{"b":1}}', '{"a":{"b":2}}') == [Difference("x.a.b", "1", "2")]
    assert found('{"a":1}', '{"a": 1}') == [Difference("x", r'"{\"a\":1}"', r'"{\"a\": 1}"')]


def test_long_values_are_shown_around_the_first_difference() -> None:
    """Each side is a short quotation around the difference."""
    one = "a" * 1_000_000 + "one" + "b" * 1_000_000
    [only] = found(one, one.replace("one", "two"))
    for shown, word in ((only.recorded, "aone"), (only.replayed, "atwo")):
        assert shown is not None
        assert word in shown
        assert len(shown) <= MAX_SHOWN_CHARS + 4
        assert json.loads(shown).startswith("…a")
    [only] = found({"k" * 5000: [0] * 5000}, {"k" * 5000: "x"})
    assert len(only.path) == MAX_PATH_CHARS
    assert only.recorded is not None
    assert len(only.recorded) == MAX_SHOWN_CHARS + 1


def test_depth_is_bounded() -> None:
    """Text may contain JSON of any depth; beyond the limit, the texts are quoted."""
    deep, deeper = ('{"a":' + "[" * depth + "]" * depth + "}" for depth in (900, 901))
    assert len(found(deep, deeper)) == 1

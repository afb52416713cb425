"""The client's own copies of the server's rules agree with the server's."""

from __future__ import annotations

from typing import Any

import pytest
from advice_ledger_client import CallStart, NotCanonical, allowlist
from advice_ledger_client.canonical import canonical
from hypothesis import given
from hypothesis import strategies as st

from api.otlp import allowlist as servers_allowlist
from ledger.proof.format import canonical as servers_canonical
from schema import events

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_canonical_json_is_the_server_s(value: Any) -> None:
    """Both write the same bytes, or refuse the value at the same place."""
    assert outcome(canonical, value, NotCanonical) == outcome(
        servers_canonical.canonical, value, servers_canonical.NotCanonical
    )


def outcome(write: Any, value: Any, refusal: Any) -> Any:
    """The bytes, or the path and the reason of the refusal."""
    try:
        return write(value)
    except refusal as error:
        return error.path, error.reason


def nested(depth: int) -> Any:
    """Lists within each other."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize("value", [nested(64), nested(65), {"a": nested(64)}, 2**53, -(2**53), 1e300, object(), {1: 2}])
def test_limits_are_the_server_s(value: Any) -> None:
    """Depth, magnitude and types."""
    assert outcome(canonical, value, NotCanonical) == outcome(
        servers_canonical.canonical, value, servers_canonical.NotCanonical
    )


def test_mappings_and_tuples_are_json() -> None:
    """Callers need not convert their own types of objects and arrays."""
    assert canonical({"b": (1, 2), "a": None}) == b'{"a":null,"b":[1,2]}'


def test_the_allowlist_is_the_server_s() -> None:
    """Codes and model settings that may be recorded in clear."""
    for name in ("UNKNOWN", "CODE", "CHOICE", "MAX_CHOICES", "PARAMETERS"):
        assert getattr(allowlist, name) == getattr(servers_allowlist, name)


def test_a_call_has_the_members_of_the_event() -> None:
    """CallStart lists exactly the members that the server takes."""
    assert CallStart.__required_keys__ | CallStart.__optional_keys__ == events.CallStart.model_fields.keys()

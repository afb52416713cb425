"""From event to line: canonical body, commitments that open, and refusals that name the field."""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InvalidEvent
from ledger.proof.format.canonical import canonical
from ledger.proof.format.hashes import commitment
from ledger.store.envelope import (
    MAX_BODY_BYTES,
    MAX_SEALED_BYTES,
    SMALL,
    Actor,
    NewEvent,
    encode,
    idempotent_id,
    is_small,
    uuid7,
)
from schema.events import Event, RecommendationRecorded
from tests.support import failed, new, requested, text

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15, allow_nan=False) | TEXT
)
OBJECTS = st.dictionaries(
    TEXT,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=10
    ),
    max_size=5,
)


def answered(recommendation: dict[str, Any] | None = None, **fields: Any) -> RecommendationRecorded:
    """An event with a sealed object, and with members in clear that take any JSON."""
    return RecommendationRecorded(recommendation=recommendation or {}, model_name="m", **fields)


def parts(event: NewEvent) -> tuple[dict[str, Any], bytes]:
    """The line as an object, and the bytes of its body."""
    encoded = encode(event)
    return json.loads(text(encoded)), encoded.body()


@given(OBJECTS, OBJECTS)
def test_a_line_keeps_its_promises(recommendation: dict[str, Any], parameters: dict[str, Any]) -> None:
    """For any JSON: the body is RFC 8785, commitments open to the values sent, and no sealed value is in the body."""
    found, body = parts(new("s", answered(recommendation, parameters=parameters)))
    assert body == rfc8785.dumps(found["body"])
    assert found["body"]["data"] == {"model_name": "m", "parameters": parameters}
    assert found["fields"] == {"recommendation": recommendation}
    salt = bytes.fromhex(found["salts"]["recommendation"])
    assert len(salt) == 32
    assert found["body"]["sealed"] == {"recommendation": commitment("recommendation", salt, canonical(recommendation))}


def test_members_of_a_body() -> None:
    """A body has the members of docs/formats/event.md, and the optional ones only where there is something to say."""
    found, body = parts(new("s", failed("no-answer"), expected=3))
    assert found.keys() == {"body", "expected"}
    assert found["expected"] == "3"
    assert list(found["body"]) == ["actor", "data", "id", "schema", "stream", "type"]
    assert found["body"]["actor"] == {"id": "clerk", "kind": "human", "role": "advisor"}
    assert found["body"]["data"] == {"reason": "no-answer"}
    assert (found["body"]["schema"], found["body"]["type"]) == (1, "request.failed")
    assert body.endswith(b'"stream":"s","type":"request.failed"}')


def test_optional_members_of_a_body() -> None:
    """Causation, correlation and on_behalf_of are recorded if they are set."""
    cause, case = uuid7(), uuid7()
    actor = Actor("robot", "agent", "agent", on_behalf_of="ann")
    found, _ = parts(NewEvent(uuid7(), "s", failed(), actor, causation=cause, correlation=case))
    assert found["body"]["actor"]["on_behalf_of"] == "ann"
    assert (found["body"]["causation"], found["body"]["correlation"]) == (str(cause), str(case))


def test_what_is_not_given_is_not_recorded() -> None:
    """Optional fields that were left out are in neither data nor sealed; a null inside of JSON that was sent stays."""
    found, _ = parts(new("s", requested("c")))
    assert found["body"]["data"] == {"amount_usd": "1000.00", "risk_profile": "balanced"}
    assert found["fields"] == {"client_id": "c"}
    found, _ = parts(new("s", answered({"a": None}, parameters={"b": None})))
    assert (found["fields"], found["body"]["data"]["parameters"]) == ({"recommendation": {"a": None}}, {"b": None})


def test_personal_data_does_not_enter_the_body() -> None:
    """No sealed value is to be found in the bytes that are hashed."""
    _, body = parts(new("s", requested("client-secret", notes="notes-secret", objectives=["objective-secret"])))
    assert b"secret" not in body


def test_salts_are_fresh() -> None:
    """Two encodings of one event share no salt and no commitment: equal values are not to be seen as equal."""
    event = new("s", requested("c", notes="c"))
    salts = [salt for _ in range(2) for salt in parts(event)[0]["salts"].values()]
    assert len(set(salts)) == 4


def nested(depth: int) -> dict[str, Any]:
    """An object of `depth` containers, one in the other."""
    found: dict[str, Any] = {}
    for _ in range(depth - 1):
        found = {"a": found}
    return found


REFUSED: dict[str, tuple[Event, str]] = {
    "NaN": (answered({"a": [float("nan")]}), "recommendation.a[0]"),
    "an infinity": (answered(parameters={"t": float("-inf")}), "parameters.t"),
    "an integer of 2^53": (answered(parameters={"t": [2**53]}), "parameters.t[0]"),
    "an integer below -2^53+1": (answered({"t": -(2**53)}), "recommendation.t"),
    "an integer of 400 digits": (answered({"t": 10**400}), "recommendation.t"),
    "a float that is a huge integer": (answered({"t": 1e16}), "recommendation.t"),
    "U+0000 in a value": (requested(notes="a\0b"), "notes"),
    # A copy is not validated: the class itself refuses this client id.
    "U+0000 in a client id": (requested().model_copy(update={"client_id": "a\0b"}), "client_id"),
    "U+0000 in a key": (answered(parameters={"a\0b": 1}), "parameters.a\0b"),
    "a lone surrogate in a value": (answered({"a": {"b": "\ud800"}}), "recommendation.a.b"),
    "a lone surrogate in clear": (answered(parameters={"a": "\udfff"}), "parameters.a"),
    "a lone surrogate in a key": (answered({"a\ud800": 1}), "recommendation.a?"),
    "nesting in a sealed field": (answered(nested(65)), "recommendation"),
    "nesting in clear": (answered(model_version="v", parameters=nested(63)), "parameters"),
    "a sealed field of 8 MiB": (answered(prompt="x" * (MAX_SEALED_BYTES - 1)), "prompt"),
    "a body of 1 MiB": (answered(model_version="v", parameters={"p": "x" * MAX_BODY_BYTES}), "parameters"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_recorded_is_refused_by_field(case: str) -> None:
    """Whatever has no canonical form, or is too large, is InvalidEvent with the path to it."""
    event, field = REFUSED[case]
    with pytest.raises(InvalidEvent) as caught:
        encode(new("s", event))
    assert caught.value.field == field
    assert caught.value.reason
    str(caught.value).encode()


def test_an_actor_is_checked_too() -> None:
    """A credential's name that has no canonical form is refused by its place in the body."""
    with pytest.raises(InvalidEvent) as caught:
        encode(NewEvent(uuid7(), "s", failed(), Actor("a\0", "human", "advisor")))
    assert caught.value.field == "actor.id"


def test_limits_are_inclusive() -> None:
    """Exactly 64 containers, exactly 8 MiB of a sealed field and exactly 1 MiB of body are let through."""
    encode(new("s", answered(nested(64))))
    encode(new("s", answered(parameters=nested(62))))
    _, body = parts(new("s", answered(parameters={"p": ""})))
    room = MAX_BODY_BYTES - len(body)
    assert len(parts(new("s", answered(parameters={"p": "x" * room})))[1]) == MAX_BODY_BYTES
    with pytest.raises(InvalidEvent):
        encode(new("s", answered(parameters={"p": "x" * (room + 1)})))
    encode(new("s", answered(prompt="x" * (MAX_SEALED_BYTES - 2))))


def test_uuid7_is_ordered_by_time() -> None:
    """New ids are of version 7, carry the milliseconds of now, and do not repeat."""
    before = time.time_ns() // 1_000_000
    ids = [uuid7() for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    assert len(set(ids)) == 1000
    assert {(found.version, found.variant) for found in ids} == {(7, "specified in RFC 4122")}
    stamps = [found.int >> 80 for found in ids]
    assert before <= stamps[0]
    assert stamps == sorted(stamps)
    assert stamps[-1] <= after


def test_uuid7_is_random_in_the_rest() -> None:
    """Over many ids each of the 74 free bits is seen both set and not."""
    seen_set = seen_clear = 0
    for _ in range(200):
        value = uuid7().int
        seen_set |= value
        seen_clear |= ~value
    free = ((1 << 12) - 1) << 64 | (1 << 62) - 1
    assert seen_set & seen_clear & free == free


def test_one_key_of_one_caller_gives_one_id() -> None:
    """One caller's key gives one id, of version 8 and for ever the same; another key or caller gives another."""
    found = idempotent_id("ann", "key-1")
    assert found == idempotent_id("ann", "key-1")
    assert len({found, idempotent_id("ann", "key-2"), idempotent_id("bob", "key-1")}) == 3
    assert (found.version, found.variant) == (8, "specified in RFC 4122")
    # A change of this value would make every retry across an upgrade a second event.
    assert found == UUID("336ae183-4753-87cf-9fb8-afa4506bd39e")


@given(OBJECTS, OBJECTS)
def test_small_events_have_a_bounded_number_of_values_and_characters(
    recommendation: dict[str, Any], parameters: dict[str, Any]
) -> None:
    """An event that counts as small has at most SMALL values, and 256 characters for each; a tenth of that is small."""
    event = answered(recommendation, parameters=parameters)
    text = canonical([recommendation, parameters]).decode()
    values = text.count(",") + text.count("[") + text.count("{")
    assert is_small(event) or values > SMALL // 10 or len(text) > 256 * SMALL // 10


@pytest.mark.parametrize("value", [["x"] * SMALL, "x" * 256 * SMALL, [[1]] * SMALL, {str(n): n for n in range(SMALL)}])
def test_large_values_are_not_small(value: Any) -> None:
    """Many values, long texts and many containers need a thread, in a field or deep inside it."""
    assert not is_small(answered({"a": value}))
    assert not is_small(answered(parameters={"a": [{"b": value}]}))

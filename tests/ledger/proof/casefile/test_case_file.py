"""The case file shows all that a bundle discloses, and nothing that was recorded can break or change it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.proof.bundle.manifest import Manifest, decode_manifest
from ledger.proof.bundle.page import page
from ledger.proof.bundle.selection import Selection
from ledger.proof.casefile import collected as limits
from ledger.proof.casefile.collected import Collected
from ledger.proof.casefile.compare import first_difference
from ledger.proof.casefile.document import visible
from ledger.proof.casefile.moments import LocalTime, local_time
from ledger.proof.casefile.steps import as_step
from ledger.proof.casefile.words import act, text
from ledger.proof.format.events import EventLine
from schema.events import CATALOGUE

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
CHAIN: dict[str, Any] = {"stream": "request-7", "actor": {"id": "ann", "role": "advisor", "kind": "human"}}


def line(position: int, body: Any, fields: Any = None, withheld: tuple[str, ...] = ()) -> EventLine:
    """An event of a bundle, recorded a second after the one before."""
    values = b"" if fields is None else orjson.dumps(fields)
    at_us = 1_700_000_000_000_000 + position * 1_000_000
    return EventLine(position, position, at_us, bytes(32), bytes(32), orjson.dumps(body), values, values, withheld)


def shown(*lines: EventLine, manifest: Manifest | None = None) -> str:
    """The page of these events, as HTML."""
    collected = Collected()
    for each in lines:
        collected.add(each, len(each.body) + len(each.fields))
    manifest = manifest or Manifest("ledger.example/one", 0, 9, Selection("request", request=7))
    return b"".join(page(manifest, b"no checkpoint", collected)).decode()


def leaves(value: Any) -> list[str]:
    """All texts of a value, names included, without line ends."""
    if isinstance(value, dict):
        return [*map(str, value), *(leaf for part in value.values() for leaf in leaves(part))]
    if isinstance(value, list):
        return [leaf for part in value for leaf in leaves(part)]
    return [value] if isinstance(value, str) else []


EDIT = (
    line(1, {**CHAIN, "type": "portfolio.requested", "data": {"amount_usd": "80.00"}, "sealed": {"client_id": "00"}},
         {"client_id": "client-7"}),
    line(2, {**CHAIN, "type": "recommendation.recorded", "data": {"model_name": "m"}, "sealed": {"recommendation": ""}},
         {"recommendation": {"cash": "0.1", "allocations": [{"asset": "gold", "weight": "0.9"}]}}),
    line(3, {**CHAIN, "type": "recommendation.decided", "sealed": {"replacement": "", "rationale": "", "response": ""},
             "data": {"recommendation_id": 2, "outcome": "edit", "needs_second": True}},
         {"replacement": {"cash": "0.1", "allocations": [{"asset": "gold", "weight": "0.5"}]}}, ("rationale",)),
    line(4, {**CHAIN, "type": "recommendation.confirmed", "actor": {"id": "bob", "role": "compliance", "kind": "human"},
             "data": {"recommendation_id": 2, "decision_id": 3, "outcome": "approve"}}),
)  # fmt: skip


def test_a_case_is_told_to_a_person() -> None:
    """Client, roles, the difference, the confirmation; why a value is not shown; and that nobody was told."""
    found = unescape(shown(*EDIT))
    for expected in (
        "<td>client-7</td>",
        "ann (advisor, human)",
        "<td>allocations[asset=gold].weight</td><td>0.9</td><td>0.5</td><td>changed</td>",
        "<td>cash</td><td>0.1</td><td>0.1</td><td></td>",
        "decided to change the recommendation; then bob (compliance, human) confirmed the decision",
        "<td>not told</td>",
        "rationale: (withheld: the maker of this file has it and left it out)",
        "response: (erased: the ledger no longer has it, as the maker of this file says)",
    ):
        assert expected in found, expected


def test_an_imported_event_says_who_acted_when_and_who_imported_it() -> None:
    """The importer is not taken for the one who acted."""
    told = {"actor": {"id": "zoe", "role": "advisor", "kind": "human"}, "occurred_at": "2019-02-03T04:05:06Z"}
    body = {**CHAIN, "type": "portfolio.requested", "data": {}, "backfill": told}
    found = unescape(shown(line(1, body)))
    assert "zoe (advisor, human, imported by ann)" in found
    assert "2019-02-03 04:05:06.000000 UTC\nrecorded here:\n" in found


def test_a_decision_that_was_taken_back_is_not_told_as_if_it_stood() -> None:
    """The summary says what came of the last decision, and the comparison that it is not in force."""
    bob = {"id": "bob", "role": "advisor", "kind": "human"}
    of = {"recommendation_id": 2, "decision_id": 3, "reason_code": "data-entry-error"}
    for kind, words in (("decision.revoked", "while it was in force"), ("decision.withdrawn", "while it waited")):
        found = unescape(shown(*EDIT, line(5, {**CHAIN, "type": kind, "actor": bob, "data": of})))
        assert f"confirmed the decision; then bob (advisor, human) took the decision back {words}</td>" in found
        assert "Recommended beside decided (decision 3, not in force)" in found
    withdrawn = line(5, {**CHAIN, "type": "request.withdrawn", "actor": bob, "data": {"reason_code": "duplicate"}})
    assert "no decision; then bob (advisor, human) withdrew the request</td>" in unescape(shown(EDIT[0], withdrawn))


def test_each_event_of_a_case_has_words() -> None:
    """A new type of event in the stream of a request is told in words: add them to ledger/proof/casefile/words.py."""
    of_cases = [
        kind for kind in CATALOGUE if re.match(r"(portfolio\.requested|(model-call|request|decision|recommen))", kind)
    ]
    outcomes = ("approve", "edit", "reject", "respond", "decline")
    steps = [as_step(line(1, {"type": kind, "data": {"outcome": each}})) for kind in of_cases for each in outcomes]
    assert {step.type for step in steps if act(step) != step.type} == set(of_cases)


@given(JSON, JSON)
def test_nothing_is_cut(data: Any, value: Any) -> None:
    """Each text of the data and of a disclosed value is on the page, whatever it is; the page is well-formed."""
    body = {**CHAIN, "type": "portfolio.requested", "data": {"given": data}, "sealed": {"notes": ""}}
    found = shown(line(1, body, {"notes": value}))
    plain = unescape(found)
    pages = (plain, plain.replace("\\\\", "\\"))  # as text, or as JSON
    for leaf in leaves([data, value]):
        for part in visible(leaf).split("\n"):
            assert any(part.strip() in page for page in pages) or orjson.dumps(part).decode() in found


@given(JSON, JSON)
def test_any_body_gives_a_page(body: Any, fields: Any) -> None:
    """The page never fails, also for a body that no ledger records, and has one head and one end."""
    found = shown(line(1, body, fields), line(2, {**CHAIN, "type": "recommendation.recorded", "data": body}))
    assert found.count("<body>") == found.count("</html>") == 1


@pytest.mark.parametrize("hostile", ["</td><script>alert(1)</script>", "<img src=x>", '"><b>', "</style>", "&lt;"])
def test_text_is_text(hostile: str) -> None:
    """A recorded text is never markup, wherever it stands: type, stream, actor, name, value; no script, no link out."""
    body = {"type": hostile, "stream": hostile, "actor": {"id": hostile, "role": hostile}, "data": {hostile: hostile}}
    found = shown(line(1, body), line(2, {**CHAIN, "type": "portfolio.requested", "data": {"amount_usd": hostile}}))
    assert hostile not in found.replace("</style>\n</head>", "") or hostile == "&lt;"
    assert unescape(found).count(hostile if hostile != "&lt;" else "&lt;") >= 5
    assert "<script" not in found
    assert "http" not in found.replace('http-equiv="Content', "")


def test_unseen_characters_are_seen() -> None:
    """A character that turns the direction of a text, or is not seen, is written as its code point."""
    found = shown(line(1, {**CHAIN, "type": "portfolio.requested", "data": {"notes": "a\u202eb\u200bc\x07"}}))
    assert "a[U+202E]b[U+200B]c[U+0007]" in found


def test_times_are_local_and_utc() -> None:
    """Across the end of summer time the offset changes; the page says both times, with no zone database."""
    clock_change = datetime(2026, 10, 25, 1, tzinfo=UTC)
    moments = [int(clock_change.timestamp() * 1e6) + shift for shift in (-1_000_000, 0, 3_600_000_000)]
    local = local_time("Europe/Zurich", ZoneInfo("Europe/Zurich"), moments)
    assert local.offsets == ((moments[0], 7200), (moments[1], 3600))
    assert local.text(moments[0]) == "2026-10-25 02:59:59 +02:00\n2026-10-25 00:59:59.000000 UTC"
    assert local.text(moments[2]) == "2026-10-25 03:00:00 +01:00\n2026-10-25 02:00:00.000000 UTC"
    assert LocalTime().text(moments[1]) == "2026-10-25 01:00:00.000000 UTC"
    west = local_time("America/St_Johns", ZoneInfo("America/St_Johns"), moments)
    assert west.text(moments[1]).startswith("2026-10-24 22:30:00 -02:30\n")
    manifest = Manifest("ledger.example/one", 0, 9, Selection("request", request=7), local_time=local)
    assert decode_manifest(manifest.encode()).local_time == local


def test_more_than_a_person_reads_is_left_to_the_machine_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a limit no event is kept, so memory stays flat, and the page says where the events are."""
    assert "events.ndjson alone" not in shown(*EDIT)
    for name, most in (("MOST_EVENTS", 3), ("MOST_BYTES", 300), ("MOST_PARTS", 5)):
        with monkeypatch.context() as patch:
            patch.setattr(limits, name, most)
            found = shown(*EDIT)
        assert "events.ndjson alone" in found
        assert "client-7" not in found


def test_values_too_many_to_compare_stand_beside_each_other() -> None:
    """A content whose lines would be far longer than itself is shown whole instead."""
    wide = {"x" * 2000: list(range(500))}
    recommended = line(2, EDIT[1].body and {**CHAIN, "type": "recommendation.recorded"}, {"recommendation": wide})
    found = shown(EDIT[0], recommended, EDIT[2])
    assert "<td>changed</td>" not in found
    assert "  - 499" in found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": {"b": [1, True, None]}}, "a:\n  b:\n    - 1\n    - yes\n    - -"),
        ([{"role": "user", "content": "one\ntwo"}], "- role: user\n  content:\n    one\n    two"),
        ({"a": {}, "b": []}, "a: {}\nb: []"),
        ([[[[[[[[[["deep"]]]]]]]]]], "- " * 8 + '[["deep"]]'),
        ("", ""),
    ],
)
def test_values_have_no_braces(value: Any, expected: str) -> None:
    """Names and parts stand on lines of their own; what is nested very deep stands as JSON."""
    assert text(value) == (expected or "(nothing)")


@given(st.lists(st.binary(max_size=5), max_size=5), st.lists(st.binary(max_size=5), max_size=5))
def test_the_first_difference_is_that_of_the_whole_texts(made: list[bytes], found: list[bytes]) -> None:
    """However the texts are cut into pieces."""
    left, right = b"".join(made), b"".join(found)
    both = zip(left, right, strict=False)
    naive = next((index for index, (a, b) in enumerate(both) if a != b), min(len(left), len(right)))
    assert first_difference(made, found) == (None if left == right else naive)

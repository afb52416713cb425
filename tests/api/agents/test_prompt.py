"""An agent's input, and its report on the history: complete, exact, bounded, and the same each time."""

import hashlib
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.agents.history import earlier_report
from api.agents.prompt import EARLIER_MEMBERS, MAX_SHOWN_BYTES, REQUEST_MEMBERS, as_shown, canonical_text
from api.agents.protocol import AgentRequest, Earlier
from ledger.proof.format.canonical import canonical
from tests.api.agents.asking import earlier

NEW = {"government_bonds": Decimal("0.2500"), "us_equity": Decimal("0.2500"), "cash": Decimal("0.5000")}

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcé😀", max_size=3), inner, max_size=3),
    max_leaves=8,
)


def report(*history: Earlier) -> Any:
    """Return the report of an answer with the weights NEW on this history."""
    return earlier_report(AgentRequest(1, "balanced", Decimal(1000), earlier=history), NEW)


def test_every_member_is_shown() -> None:
    """Each member of a request or of the history is shown, or left out on purpose."""
    assert set(REQUEST_MEMBERS) | {"earlier", "as_of"} == set(AgentRequest.__dataclass_fields__)
    assert set(EARLIER_MEMBERS) | {"recommendation", "replacement"} == set(Earlier.__dataclass_fields__)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), values), texts)
def test_content_is_shown_exactly(content: dict[str, Any], notes: str) -> None:
    """Text in any script and JSON of any shape survive unchanged in one canonical text."""
    request = AgentRequest(1, "balanced", Decimal("10.00"), notes=notes, earlier=(earlier(recommendation=content),))
    text = canonical_text(as_shown(request))
    shown = json.loads(text)
    assert shown["request"]["notes"] == notes
    assert shown["earlier"][0]["recommendation"] == content
    assert canonical(shown).decode() == text


def test_the_position_read_at_is_not_content() -> None:
    """The same content is the same question at any position."""
    first, later = (AgentRequest(1, "balanced", Decimal(10), as_of=position) for position in (5, 50))
    assert as_shown(first) == as_shown(later)


def test_a_huge_earlier_answer_is_shown_by_its_digest() -> None:
    """Twenty answers of 5 MB do not fit into one recorded field; they are identified by digest."""
    huge: dict[str, Any] = {"text": "x" * 5_000_000}
    shown = as_shown(AgentRequest(1, "balanced", Decimal(10), earlier=(earlier(recommendation=huge),) * 20))
    digest = hashlib.sha256(canonical(huge)).hexdigest()
    assert all(each["recommendation"]["sha256"] == digest for each in shown["earlier"])
    assert len(canonical_text(shown)) < 40 * MAX_SHOWN_BYTES
    assert report(earlier(recommendation=huge))["changes"] is None


def test_the_report_compares_with_the_newest_that_stands() -> None:
    """Rejected, returned, waiting and superseded recommendations do not stand."""
    gone = [
        earlier(number, state=state) for number, state in enumerate(["rejected", "returned", "waiting", "proposed"])
    ]
    assert report(*gone, earlier(3), earlier(2)) == {
        "shown": 6,
        "standing": {"recommendation_id": 3, "state": "approved"},
        "changes": [
            {"name": "government_bonds", "from": "0.5000", "to": "0.2500"},
            {"name": "us_equity", "from": "0", "to": "0.2500"},
        ],
    }
    assert report(*gone) == {"shown": 4, "standing": None, "changes": None}
    assert report() == {"shown": 0, "standing": None, "changes": None}


def test_the_replacement_of_an_edited_one_counts() -> None:
    """An accepted replacement counts; one that was not accepted does not."""
    replacement = {"allocations": [{"asset_class": "gold", "weight": "1.0000", "amount_usd": "1000.00"}]}
    for state in ("edited", "communicated"):
        changes = report(earlier(state=state, outcome="edit", replacement=replacement))["changes"]
        assert {"name": "gold", "from": "1.0000", "to": "0"} in changes
    declined = report(earlier(state="approved", outcome="approve", replacement=replacement))["changes"]
    assert "gold" not in json.dumps(declined)


@pytest.mark.parametrize(
    "recommendation", [None, {}, {"allocations": []}, {"allocations": [{"weight": 0.5}]}, {"a": 1}]
)
def test_an_earlier_answer_without_weights_is_not_compared(recommendation: dict[str, object] | None) -> None:
    """Answers of other agents, and erased ones, have no changes."""
    assert report(earlier(recommendation=recommendation))["changes"] is None

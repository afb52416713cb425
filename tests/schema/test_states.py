"""The states in `schema/states.py` are those of the SQL that computes them and of the pages that describe them."""

from __future__ import annotations

import re
from enum import StrEnum

import pytest

from schema.states import DecisionState, ModelCallState, RecommendationState, RequestState
from tests.paths import DOCS, ROOT

# Each read model: its column, the states in that column, and the states that its fold computes on the way.
COLUMNS: dict[str, tuple[str, type[StrEnum], tuple[type[StrEnum], ...]]] = {
    "portfolio_requests": ("status", RequestState, ()),
    "ai_recommendations": ("state", RecommendationState, (DecisionState,)),
    "decisions": ("state", DecisionState, ()),
    "model_calls": ("state", ModelCallState, ()),
}


@pytest.mark.parametrize("read_model", COLUMNS)
def test_a_fold_computes_exactly_these_states(read_model: str) -> None:
    """The texts that CASE expressions of the fold give are the states, and nothing else."""
    column, states, others = COLUMNS[read_model]
    fold = (ROOT / "projections" / read_model / "fold.sql").read_text("utf-8")
    assert re.search(rf"END\s+AS {column}\b", fold)
    computed = set(re.findall(r"(?:THEN|ELSE) '([a-z]+)'", fold))
    assert computed == {*states}.union(*others)


@pytest.mark.parametrize("read_model", COLUMNS)
def test_the_page_of_read_models_names_exactly_these_states(read_model: str) -> None:
    """The row of the column in docs/use/read-models.md has each state in code, and no other word."""
    column, states, _ = COLUMNS[read_model]
    page = (DOCS / "use/read-models.md").read_text("utf-8")
    section = page.partition(f"\n## {read_model}\n")[2].partition("\n## ")[0]
    [row] = [line for line in section.splitlines() if line.startswith(f"| `{column}` |")]
    assert set(re.findall(r"`([a-z]+)`", row)) - {column} == {*states}


def test_the_page_of_events_names_the_states() -> None:
    """The section on states in docs/formats/events.md has each state of a request and of a recommendation."""
    page = (DOCS / "formats/events.md").read_text("utf-8")
    section = page.partition("\n## States\n")[2].partition("\n## ")[0]
    assert [state for state in (*RequestState, *RecommendationState) if not re.search(rf"\b{state}\b", section)] == []

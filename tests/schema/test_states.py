"""The states in `schema/states.py` are those of the SQL, the program and the pages that use or describe them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from enum import StrEnum
from itertools import chain
from pathlib import Path

import pytest

from schema.states import (
    AlertState,
    DecisionState,
    ErasureState,
    JobState,
    LegalHoldState,
    ModelCallState,
    RecommendationState,
    RequestState,
)
from tests.paths import DOCS, ROOT

# Each read model: its column, the states in that column, and the states that its fold computes on the way.
COLUMNS: dict[str, tuple[str, type[StrEnum], tuple[type[StrEnum], ...]]] = {
    "portfolio_requests": ("status", RequestState, ()),
    "ai_recommendations": ("state", RecommendationState, (DecisionState,)),
    "decisions": ("state", DecisionState, ()),
    "model_calls": ("state", ModelCallState, ()),
    "legal_holds": ("state", LegalHoldState, ()),
}
STATES = frozenset(chain(RequestState, RecommendationState, DecisionState, ModelCallState))
# A comparison of a column with texts, as in `state IN ('effective', 'waiting')` and `r.status = 'queued'`; the column
# may be at the end of a subquery, as in `(SELECT r.status FROM …) <> 'queued'`.
TEXTS = r"'\w+'(?:, '\w+')*"
COMPARED = re.compile(rf"\b(?:state|status)\b(?:[^;'()]*\))? *(?:=|<>|IN) *\(?(?P<texts>{TEXTS})")
# The SQL that compares states, and the enums of the states that it may compare.
READERS: dict[str, tuple[type[StrEnum], ...]] = {
    "projections/ai_recommendations/fold.sql": (DecisionState,),
    "projections/ai_recommendations/indexes.sql": (RecommendationState,),
    "projections/decisions/indexes.sql": (DecisionState,),
    "projections/decisions/overdue.sql": (DecisionState,),
    "projections/decisions/views/decision_times.sql": (DecisionState,),
    "projections/decisions/views/override_rates.sql": (DecisionState,),
    "projections/decisions/views/override_reasons.sql": (DecisionState,),
    "projections/decisions/views/rubber_stamps.sql": (DecisionState,),
    "projections/erasures/indexes.sql": (ErasureState,),
    "projections/legal_holds/indexes.sql": (LegalHoldState,),
    "projections/model_calls/indexes.sql": (ModelCallState,),
    "projections/model_calls/open_calls.sql": (ModelCallState,),
    "projections/model_calls/orphans.sql": (ModelCallState,),
    "projections/model_calls/recent_calls.sql": (ModelCallState,),
    "projections/portfolio_alerts/indexes.sql": (AlertState,),
    "projections/portfolio_requests/indexes.sql": (RequestState,),
    "projections/portfolio_requests/queue.sql": (RequestState,),
    "projections/assignments.sql": (RequestState,),
    "schema/functions/claim_requests.sql": (RequestState,),
    "schema/functions/drop_claims.sql": (RequestState,),
    "schema/functions/ask_job.sql": (JobState,),
    "schema/functions/cancel_job.sql": (JobState,),
    "schema/functions/claim_job.sql": (JobState,),
    "schema/functions/end_job.sql": (JobState,),
    "schema/functions/hold_job.sql": (JobState,),
    "schema/functions/put_back_job.sql": (JobState,),
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


def compared(sql: str) -> set[str]:
    """Return the texts that a statement compares with a column of states."""
    code = re.sub(r"--.*", "", sql)
    return {text for match in COMPARED.finditer(code) for text in re.findall(r"\w+", match["texts"])}


def sql_files() -> Iterator[Path]:
    """Yield the SQL of read models and functions."""
    yield from sorted((ROOT / "projections").rglob("*.sql"))
    yield from sorted((ROOT / "schema/functions").glob("*.sql"))


def test_each_statement_that_compares_states_is_in_the_table() -> None:
    """A file that is not in READERS compares no column of states with a text."""
    assert {str(path.relative_to(ROOT)) for path in sql_files() if compared(path.read_text("utf-8"))} == READERS.keys()


@pytest.mark.parametrize("name", READERS)
def test_a_statement_compares_only_states_that_exist(name: str) -> None:
    """Each text that a filter, an index or a view compares with the column is a state of that column."""
    assert compared((ROOT / name).read_text("utf-8")) <= set(chain(*READERS[name]))


@pytest.mark.parametrize("read_model", sorted(COLUMNS.keys() - {"portfolio_requests"}))
def test_the_comment_of_the_column_lists_exactly_these_states(read_model: str) -> None:
    """The line above the column in table.sql. The table of requests has no such line."""
    column, states, _ = COLUMNS[read_model]
    table = (ROOT / "projections" / read_model / "table.sql").read_text("utf-8")
    listed = re.search(rf"-- (.*)\n +{column} +text", table)
    assert listed is not None
    assert set(re.findall(r"\w+", listed[1])) - {"or"} == {*states}


def literals(module: ast.Module) -> Iterator[int]:
    """Yield the lines that write a state as a text: in a comparison, or for an argument named state or status."""
    for node in ast.walk(module):
        values: list[ast.expr] = []
        if isinstance(node, ast.Compare) and re.search(r"\b(?:state|status)\b", ast.unparse(node.left)):
            values = node.comparators
        elif isinstance(node, ast.keyword) and node.arg in {"state", "status"}:
            values = [node.value]
        constants = (part for value in values for part in ast.walk(value) if isinstance(part, ast.Constant))
        yield from (part.lineno for part in constants if part.value in STATES)


def test_python_names_states_by_their_enums() -> None:
    """No module of the program compares a state with a text or asks for one by a text. The client has no enums."""
    modules = [path for folder in ("api", "ledger", "projections") for path in sorted((ROOT / folder).rglob("*.py"))]
    found = [
        f"{path.relative_to(ROOT)}:{line}" for path in modules for line in literals(ast.parse(path.read_text("utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "found"),
    [('rows(state="waiting")', [1]), ('call.state == "failed"', [1]), ('rows(state="leads")', []), ('x == "open"', [])],
)
def test_a_state_written_as_a_text_is_found(code: str, found: list[int]) -> None:
    """The rule finds what it forbids."""
    assert list(literals(ast.parse(code))) == found

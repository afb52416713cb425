"""Events of supervision for hypothesis: samples, items of the queue, findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from schema.events import Event, RecommendationDecided
from schema.findings import FindingAssigned, FindingClosed, FindingOpened
from schema.samples import ReviewAssigned, ReviewReassigned, SampleDrawn, Weight

if TYPE_CHECKING:
    from tests.projections.histories import Past

PEOPLE = st.sampled_from(["ann", "bob"])
DUE = st.none() | st.sampled_from(["2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z"])
REMARKS = st.sampled_from(["why?", "все хорошо"])
WEIGHTS = (Weight(points=3, overridden=True), Weight(points=2, amount_usd_at_least="1000000"))


def samples(_past: Past, _stream: str) -> st.SearchStrategy[Event]:
    """Draw a sample."""
    return st.builds(
        SampleDrawn,
        decided_from=st.just("2020-01-01T00:00:00Z"),
        decided_to=st.just("2030-01-01T00:00:00Z"),
        agent=st.none() | st.just("robot"),
        decided_by=st.none() | PEOPLE,
        outcome=st.none() | st.sampled_from(["approve", "edit"]),
        overridden=st.none() | st.booleans(),
        amount_from=st.none() | st.just("1.50"),
        amount_to=st.none() | st.just("9999.00"),
        unreviewed=st.none() | st.just(True),
        size=st.integers(1, 9),
        weights=st.none() | st.just(list(WEIGHTS)),
        seed=st.just("0" * 64),
        seed_from=st.sampled_from(["server", "caller"]),
        reviewers=st.just(["ann", "bob"]),
        due_at=DUE,
        method=st.just("lowest-tickets/v1"),
        upto=st.integers(1, 9),
        population=st.integers(1, 9),
        population_digest=st.just("1" * 64),
        chosen=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    )


def items(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw an item of a sample, or that somebody else gets it."""
    chosen = past.positions(stream, RecommendationDecided)
    assigned = st.builds(ReviewAssigned, sample=st.integers(1, 3), decision_id=chosen, assignee=PEOPLE, due_at=DUE)
    item_id = past.positions(stream, ReviewAssigned)
    return assigned | st.builds(ReviewReassigned, item_id=item_id, assignee=PEOPLE, due_at=DUE)


def findings(past: Past, stream: str) -> st.SearchStrategy[Event]:
    """Draw an event about a finding."""
    about = st.none() | past.positions(stream, RecommendationDecided)
    severity, finding_id = st.sampled_from(["low", "high"]), past.positions(stream, FindingOpened)
    resolution = st.sampled_from(["remedied", "unfounded"])
    return st.one_of(
        *[st.builds(FindingOpened, severity=severity, text=REMARKS, decision_id=about)] * 2,
        st.builds(FindingAssigned, finding_id=finding_id, assignee=PEOPLE),
        st.builds(FindingClosed, finding_id=finding_id, resolution=resolution, reason=REMARKS),
    )

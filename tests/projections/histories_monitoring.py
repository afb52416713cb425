"""Events of monitoring for random histories."""

from __future__ import annotations

from hypothesis import strategies as st

from schema.events import (
    AlertAcknowledged,
    AlertClosed,
    AlertEscalated,
    AlertRaised,
    AlertSilenced,
    CorporateActionRecorded,
    Event,
    FlowRecorded,
    MonitoringRunCompleted,
    MonitoringRunStarted,
    NotificationDecided,
    PortfolioDefined,
    RebalancingDecided,
    ValuationRecorded,
)

DIGEST = "5" * 64
TIMES = st.sampled_from(["2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z"])
CODES = st.sampled_from(["drift", "data", "inside"])
NUMBERS = st.integers(1, 3)


def defined(client: str) -> st.SearchStrategy[Event]:
    """Draw a definition of a portfolio of this client."""
    return st.builds(
        PortfolioDefined,
        client_id=st.just(client),
        client=NUMBERS,
        base=st.sampled_from(["USD", "CHF"]),
        targets=st.just({"EQ": "0.60"}),
        rest=st.none() | st.just("BD"),
        policy=CODES,
        risk_profile=st.none() | st.just("balanced"),
        recommendation_id=st.none() | NUMBERS,
        source=st.none() | st.just("house"),
        assessed_on=st.none() | st.just("2029-12-31"),
    )


def alerts() -> st.SearchStrategy[Event]:
    """Draw an event about one of three alerts."""
    remarks, runs = st.none() | st.just("why"), st.none() | NUMBERS
    raised = st.builds(
        AlertRaised,
        alert=NUMBERS,
        rule=CODES,
        subject=st.none() | st.just("EQ"),
        cause=st.none() | CODES,
        policy=st.just(DIGEST),
        run=NUMBERS,
        as_of=TIMES,
    )
    reasons = st.sampled_from(["inside", "policy", "handled"])
    return (
        raised
        | raised
        | st.builds(AlertAcknowledged, alert=NUMBERS, rationale=remarks)
        | st.builds(AlertSilenced, alert=NUMBERS, until=TIMES, reason=st.just("why"))
        | st.builds(AlertClosed, alert=NUMBERS, reason=reasons, rationale=remarks, run=runs, as_of=st.none() | TIMES)
        | st.builds(
            NotificationDecided,
            alert=NUMBERS,
            about=st.sampled_from(["opened", "closed"]),
            receivers=st.lists(st.sampled_from(["advisor", "client"]), max_size=2),
            reason=CODES,
            until=st.none() | TIMES,
            run=NUMBERS,
            as_of=TIMES,
            historical=st.booleans(),
        )
        | st.builds(AlertEscalated, alert=NUMBERS, level=NUMBERS, after_hours=NUMBERS)
        | st.builds(
            RebalancingDecided,
            outcome=st.sampled_from(["opened", "joined", "withheld"]),
            alert=st.none() | NUMBERS,
            request=st.none() | NUMBERS,
            cause=st.none() | CODES,
            run=runs,
            reason=remarks,
        )
    )


def runs() -> st.SearchStrategy[Event]:
    """Draw the start or the end of a run."""
    counts = st.integers(0, 2**53 - 1)
    return st.builds(
        MonitoringRunStarted,
        as_of=TIMES,
        position=counts,
        zone_data=st.just("2026.6"),
        historical=st.booleans(),
    ) | st.builds(
        MonitoringRunCompleted,
        portfolios=counts,
        conditions=st.fixed_dictionaries(dict.fromkeys(("ok", "watch", "breached", "unknown"), counts)),
        raised=counts,
        closed=counts,
        decisions=counts,
        policies=st.dictionaries(CODES, st.just(DIGEST), max_size=2),
        root=st.just(DIGEST),
        leaves=st.just(""),
    )


DAYS = st.sampled_from(["2030-01-01", "2030-01-02"])


def flow(client: str) -> st.SearchStrategy[Event]:
    """Draw a flow of a portfolio of this client."""
    return st.builds(
        FlowRecorded,
        client_id=st.just(client),
        client=NUMBERS,
        reference=st.sampled_from(["a", "b"]),
        date=DAYS,
        kind=st.sampled_from(["cash-in", "period-start"]),
        amount=st.sampled_from(["1", "2.5"]),
        currency=st.just("USD"),
        withdrawn=st.none() | st.booleans(),
        source=st.none() | st.just("bank"),
    )


def valuation(client: str) -> st.SearchStrategy[Event]:
    """Draw a valuation of a portfolio of this client."""
    return st.builds(
        ValuationRecorded,
        client_id=st.just(client),
        client=NUMBERS,
        as_of=DAYS,
        source=CODES,
        currency=st.just("USD"),
        values=st.dictionaries(st.sampled_from(["EQ", "BD"]), st.sampled_from(["1", "-2.5"])),
    )


def actions() -> st.SearchStrategy[Event]:
    """Draw a corporate action."""
    return st.builds(
        CorporateActionRecorded,
        asset=st.sampled_from(["EQ", "BD"]),
        date=DAYS,
        action=st.sampled_from(["split", "delisted"]),
        ratio=st.none() | st.just("2:1"),
        to=st.none() | st.just("NEW"),
        price=st.none() | st.just("0.5"),
        currency=st.none() | st.just("USD"),
        withdrawn=st.none() | st.booleans(),
        source=st.none() | st.just("feed"),
    )

"""A watched portfolio for tests of read models."""

from __future__ import annotations

from ledger.database import Connection
from schema.events import (
    AlertAcknowledged,
    AlertClosed,
    AlertEscalated,
    AlertRaised,
    AlertSilenced,
    CorporateActionRecorded,
    FlowRecorded,
    MonitoringRunCompleted,
    MonitoringRunStarted,
    NotificationDecided,
    PortfolioDefined,
    RebalancingDecided,
    ValuationRecorded,
)
from tests.projections.histories_monitoring import DIGEST
from tests.support import append, new

AT = "2030-01-01T00:00:00Z"


def watch(conn: Connection, number: int = 1) -> None:
    """Append a portfolio with an alert that was told and closed and one that is open, and the run that raised them."""
    stream = f"portfolio-p{number}"
    count = dict.fromkeys(("portfolios", "raised", "closed", "decisions"), 1)
    events = (
        PortfolioDefined(
            client_id=f"owner of p{number}", client=number, base="USD", targets={"EQ": "1"}, policy="drift", source="x"
        ),
        AlertRaised(alert=1, rule="drift", policy=DIGEST, run=number, as_of=AT),
        NotificationDecided(
            alert=1, about="opened", receivers=["advisor"], reason="opened", run=number, as_of=AT, historical=True
        ),
        AlertEscalated(alert=1, level=1, after_hours=4),
        AlertAcknowledged(alert=1, rationale="mine"),
        RebalancingDecided(outcome="opened", alert=1, reason="ask"),
        AlertSilenced(alert=1, until=AT, reason="holiday"),
        AlertClosed(alert=1, reason="handled", rationale="traded"),
        AlertRaised(alert=2, rule="data", cause="no-price", policy=DIGEST, run=number, as_of=AT),
    )
    started = MonitoringRunStarted(as_of=AT, position=1, zone_data="2026.6", historical=number > 1)
    conditions = {"ok": 1, "watch": 0, "breached": 0, "unknown": 0}
    ended = MonitoringRunCompleted.model_validate(
        {**count, "conditions": conditions, "policies": {}, "root": DIGEST, "leaves": ""}
    )
    run = f"monitoring-{number}"
    append(conn, *(new(stream, event) for event in events), new(run, started))
    if number == 1:
        append(conn, new(run, ended))
    owner = {"client_id": f"owner of p{number}", "client": number, "currency": "USD"}
    paid = FlowRecorded.model_validate({**owner, "reference": "1", "date": AT[:10], "kind": "cash-in", "amount": "5"})
    valued = ValuationRecorded.model_validate({**owner, "as_of": AT[:10], "source": "bank", "values": {"EQ": "5"}})
    split = CorporateActionRecorded(asset="EQ", date=AT[:10], action="split", ratio="2:1")
    append(conn, new(f"flows-p{number}", paid), new(f"flows-p{number}", paid), new(f"valuation-p{number}", valued))
    append(conn, new("corporate-actions", split))

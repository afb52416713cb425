"""Events of monitoring: runs, in `monitoring-N`, and the alerts of a portfolio, in `portfolio-NAME`.

Alerts of a portfolio count up from 1: `alert` is that number. What a run records names the run.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from schema.clients import Second
from schema.event_base import Event
from schema.fields import Code, Count, Digest, Horizon, Money, Name, Position, Rationale, Sealed
from schema.portfolios import Asset

Number = Position
Receiver = Literal["advisor", "client"]


class StartRun(BaseModel):
    """The time that a run judges."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: Second


class MonitoringRunStarted(StartRun, Event):
    """All portfolios are about to be judged, as of a time and a position. Opens the stream `monitoring-N`."""

    type = "monitoring.run-started"
    schema_version = 1

    # What was recorded up to here is judged.
    position: Count
    # The version of the time zone data.
    zone_data: Name
    # `as_of` was over for more than a day: nobody is told anything.
    historical: bool


class MonitoringRunCompleted(Event):
    """A run has judged all portfolios. `leaves` are those of the tree that `root` is of, in the order of names.

    Each leaf is the salted SHA-256 of the judgement of one portfolio (docs/formats/monitoring.md, section 5).
    """

    type = "monitoring.run-completed"
    schema_version = 1

    portfolios: Count
    # The number of portfolios of each condition.
    conditions: dict[Literal["ok", "watch", "breached", "unknown"], Count]
    raised: Count
    closed: Count
    decisions: Count
    # The SHA-256 of the text of each monitoring policy that was used, by name.
    policies: dict[Code, Digest]
    root: Digest
    # Base64 of all leaves, 32 bytes each.
    leaves: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class _OfAlert(Event):
    """An event about one alert of the portfolio."""

    alert: Number


class AlertRaised(_OfAlert):
    """A rule was met. Its position is the alert's id; `subject` is an asset, or null for the whole portfolio."""

    type = "alert.raised"
    schema_version = 1

    rule: Code
    subject: Asset | None = None
    # What makes a portfolio unknown, for the rule `data`.
    cause: Code | None = None
    # The SHA-256 of the monitoring policy that judged.
    policy: Digest
    run: Number
    as_of: Second


class AcknowledgeAlert(BaseModel):
    """A person takes an alert."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rationale: Annotated[Rationale | None, Sealed()] = None


class AlertAcknowledged(AcknowledgeAlert, _OfAlert):
    """A person has taken the alert: nobody else is told that it was raised."""

    type = "alert.acknowledged"
    schema_version = 1


class SilenceAlert(BaseModel):
    """Nobody is to be told of an alert before `until`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    until: Second
    reason: Annotated[Rationale, Sealed()]


class AlertSilenced(SilenceAlert, _OfAlert):
    """Nobody is told of the alert before `until`. The last silence counts."""

    type = "alert.silenced"
    schema_version = 1


class CloseAlert(BaseModel):
    """A person closes an alert, for a reason: handled, the client's wish, or wrong data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: Literal["handled", "client", "data"]
    rationale: Annotated[Rationale, Sealed()]


class AlertClosed(CloseAlert, _OfAlert):
    """The alert is over: by a run, or by a person, who gives a rationale."""

    type = "alert.closed"
    schema_version = 1

    # A run closes for reasons of its own, and gives no rationale.
    reason: Literal["inside", "policy", "handled", "client", "data"]  # type: ignore[assignment]
    rationale: Annotated[Rationale | None, Sealed()] = None  # type: ignore[assignment]
    run: Number | None = None
    as_of: Second | None = None


class NotificationDecided(_OfAlert):
    """Who is told of an alert that opened or closed. Without receivers nobody is, for `reason`.

    With `until`, it is decided again by the first run from then on.
    """

    type = "notification.decided"
    schema_version = 1

    about: Literal["opened", "closed"]
    receivers: Annotated[list[Receiver], Field(max_length=2)]
    reason: Code
    until: Second | None = None
    run: Number
    as_of: Second
    # The run was historical: the decision is what it would have been, and nothing is delivered.
    historical: bool


class AlertEscalated(_OfAlert):
    """Nobody has acknowledged the alert in time: it goes to the next person. Levels count up from 1."""

    type = "alert.escalated"
    schema_version = 1

    level: Number
    # The hours of the policy since the alert was recorded.
    after_hours: Number


class RequestRebalancing(BaseModel):
    """A person asks for advice about a portfolio. What is left out is that of the portfolio and its newest run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The alert that it is about, by its id.
    alert: Position | None = None
    amount_usd: Money | None = None
    horizon_years: Horizon | None = None
    reason: Annotated[Rationale | None, Sealed()] = None


class RebalancingDecided(RequestRebalancing, Event):
    """Whether advice about the portfolio is asked for: a request was opened, or an open one takes it in, or neither.

    A request that is opened has the id of this event with the last bit changed, and comes just before it.
    """

    type = "rebalancing.decided"
    schema_version = 1

    outcome: Literal["opened", "joined", "withheld"]
    # Here it is the number of the alert in the portfolio.
    alert: Number | None = None
    # The number of the request that is joined.
    request: Position | None = None
    # Why a run opens none.
    cause: Code | None = None
    # The run that decided; null if a person did.
    run: Number | None = None


MONITORING_EVENTS = (
    MonitoringRunStarted,
    MonitoringRunCompleted,
    AlertRaised,
    AlertAcknowledged,
    AlertSilenced,
    AlertClosed,
    NotificationDecided,
    AlertEscalated,
    RebalancingDecided,
)

"""Events about the disposal of clients whose records need not be kept any longer, in a stream `disposal-N`.

Two subjects dispose of clients, in two steps: one has all erasures proposed that are possible because retention is
over, another one has those confirmed that wait for that reason. Each erasure has its own events too.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from schema.event_base import Event
from schema.fields import Count, Position
from schema.subjects import Moment

DisposalStep = Literal["propose", "erase"]


class RequestDisposal(BaseModel):
    """The request for a step of a disposal."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: DisposalStep


class DisposalRequested(RequestDisposal, Event):
    """Somebody has erasures proposed, or those confirmed that wait. A job does it in the name of this subject."""

    type = "disposal.requested"
    schema_version = 1


class DisposalCompleted(Event):
    """The step is done. `looked_at` counts clients or erasures, `done` the erasures that were proposed or confirmed.

    `values` were erased. `forbidden` by a hold or by retention; `waiting` already, or, at the second step, for another
    subject, as this one requested them. `as_of` is when the step began, by the database's clock, and `policy` the
    version of the retention policy.
    """

    type = "disposal.completed"
    schema_version = 1

    requested: Position
    as_of: Moment
    policy: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    looked_at: Count
    done: Count
    values: Count
    forbidden: Count
    waiting: Count


DISPOSAL_EVENTS = (DisposalRequested, DisposalCompleted)

"""Claim a queued request for one agent for a time, so that no two agents answer it at once.

Claims are rows and not events, also for the worker's agents (docs/decisions/0022-claims.md). A request can return to
the queue, so a claim is for the request as it is after a certain recommendation, or before any. An answer ends it. Any
agent may answer a request that nobody has claimed.
"""

from __future__ import annotations

from ledger.domain.agent import Agent
from ledger.domain.case import Case
from ledger.domain.request import check_open
from ledger.errors import Refused
from schema.states import RequestState

# The seconds that a claim lasts by default.
LEASE_S = 60
LONGEST_LEASE_S = 3600


def after(case: Case) -> int:
    """Return the recommendation after which a claim made now comes; 0 without one."""
    return 0 if case.recommendation is None else case.recommendation.id


def of_another() -> Refused:
    """Return the refusal of an act that is reserved to the agent with the claim."""
    reason = "another agent has claimed this request: take another one, or wait until the lease ends"
    return Refused("claimed-by-another", reason)


def check_claim(case: Case, agent: Agent) -> None:
    """Check that the request may be claimed. Raises as `request.check_open` does, and Refused `request-finished`."""
    check_open(case, agent)
    if case.state is not RequestState.QUEUED:
        raise Refused("request-finished", "the request has its recommendation: there is nothing to claim")


def check_free(case: Case, holder: str | None, agent: str) -> None:
    """Raise Refused `claimed-by-another` if the request is queued and another agent holds the claim."""
    if case.state is RequestState.QUEUED and holder not in {None, agent}:
        raise of_another()


def check_held(case: Case, holder: str | None, agent: str) -> None:
    """Raise Refused `claimed-by-another` or `not-claimed` unless the request is not queued or this agent's."""
    check_free(case, holder, agent)
    if case.state is RequestState.QUEUED and holder is None:
        raise Refused("not-claimed", "an agent ends a request only after it has claimed it, within the lease")

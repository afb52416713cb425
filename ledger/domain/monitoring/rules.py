"""The rules that a run looks at, each with what it finds about a portfolio. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

from ledger.domain.monitoring.alerts import (
    MET,
    OVER,
    Finding,
    data_finding,
    drift_finding,
    limit_finding,
    turnover_finding,
)
from ledger.domain.monitoring.calendar import newest_review, zone_named
from ledger.domain.monitoring.drift import Judgement, issuers
from ledger.domain.monitoring.policy import MonitoringText
from ledger.domain.monitoring.portfolio import Key, Portfolio

# Rules of which a portfolio has an alert for each asset, or group of issuers, beyond them.
LIMITS = frozenset({"limit", "restricted", "issuer", "issuers"})


def findings(
    state: Portfolio, judgement: Judgement, policy: MonitoringText, before: datetime | None, now: datetime
) -> Iterator[tuple[Key, Finding]]:
    """Yield each rule and subject that the run looks at, with what it finds; also those with an open alert.

    `before` is the as-of time of the run before, None of the first run. A rule that the policy no longer has is no
    breach.
    """
    gone = Finding("unknown", rearmed=False) if judgement.condition == "unknown" else OVER
    yield ("data", None), data_finding(judgement)
    yield ("drift", None), drift_finding(judgement)
    yield ("turnover", None), gone if policy.turnover is None else turnover_finding(judgement, policy)
    beyond = beyond_limits(judgement, policy)
    for key in sorted(beyond | _open(state), key=lambda key: (key[0], key[1] or "")):
        yield key, limit_finding(judgement, beyond=key in beyond)
    yield ("review", None), _review(state, policy, before, now)


def beyond_limits(judgement: Judgement, policy: MonitoringText) -> set[Key]:
    """Return the limits that a portfolio is beyond: of an asset, a restricted one, an issuer, or several issuers."""
    found: set[Key] = {("limit", asset) for asset in judgement.beyond}
    if judgement.valuation is None:
        return found
    held = judgement.valuation.values
    found |= {("restricted", asset) for asset in policy.restricted if held.get(asset)}
    if policy.issuer_limits is not None:
        groups, together = issuers(judgement.valuation, policy.issuers, policy.issuer_limits)
        found |= {("issuer", group) for group in groups}
        found |= {("issuers", None)} if together else set()
    return found


def _open(state: Portfolio) -> set[Key]:
    return {key for key, at in state.newest.items() if key[0] in LIMITS and state.alerts[at].alert.is_open}


def _review(state: Portfolio, policy: MonitoringText, before: datetime | None, now: datetime) -> Finding:
    """Return whether a review became due since the run before. Only a person ends it, or a policy without reviews."""
    review, known = policy.review, state.newest.get(("review", None))
    if review is None:
        return OVER
    due = newest_review(date.fromisoformat(review.anchor), review.every, review.at, zone_named(review.zone), now)
    is_due = before is not None and due is not None and due > before
    waiting = known is not None and state.alerts[known].alert.is_open
    return MET if is_due or waiting else OVER

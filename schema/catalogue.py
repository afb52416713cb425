"""All types of events, by name. Import it from schema/events.py, as the events."""

from __future__ import annotations

from schema.accesses import AccessRecorded
from schema.agents import AGENT_EVENTS
from schema.calls import CALL_EVENTS
from schema.clients import CLIENT_EVENTS
from schema.decisions import (
    RecommendationCommunicated,
    RecommendationConfirmed,
    RecommendationDecided,
    RecommendationOpened,
)
from schema.deliveries import DELIVERY_EVENTS
from schema.disposals import DISPOSAL_EVENTS
from schema.erasures import ERASURE_EVENTS
from schema.event_base import Event
from schema.exports import EXPORT_EVENTS
from schema.imports import HistoryImported
from schema.legal_holds import HOLD_EVENTS
from schema.mistakes import MISTAKE_EVENTS
from schema.monitoring import MONITORING_EVENTS
from schema.portfolios import PORTFOLIO_EVENTS
from schema.proofs import PROOF_EVENTS
from schema.requests import PortfolioRequested, RecommendationRecorded, RecommendationReplayed, RequestFailed
from schema.reviews import REVIEW_EVENTS
from schema.signing_keys import SigningKeyRegistered
from schema.subjects import SUBJECT_EVENTS

CATALOGUE: dict[str, type[Event]] = {
    kind.type: kind
    for kind in (
        PortfolioRequested,
        *CALL_EVENTS,
        RecommendationRecorded,
        RequestFailed,
        RecommendationOpened,
        RecommendationDecided,
        RecommendationConfirmed,
        RecommendationCommunicated,
        RecommendationReplayed,
        *MISTAKE_EVENTS,
        *REVIEW_EVENTS,
        *CLIENT_EVENTS,
        *HOLD_EVENTS,
        *ERASURE_EVENTS,
        *DISPOSAL_EVENTS,
        *AGENT_EVENTS,
        *PROOF_EVENTS,
        *SUBJECT_EVENTS,
        AccessRecorded,
        SigningKeyRegistered,
        *PORTFOLIO_EVENTS,
        *MONITORING_EVENTS,
        *EXPORT_EVENTS,
        HistoryImported,
        *DELIVERY_EVENTS,
    )
}

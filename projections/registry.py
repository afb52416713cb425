"""List the read models of this program.

To add one, make its folder (see `projections/read_model.py`) and list it here.
"""

from __future__ import annotations

from projections.accesses.model import ACCESSES
from projections.agents.model import AGENTS
from projections.ai_recommendations.model import AI_RECOMMENDATIONS
from projections.clients.model import CLIENTS
from projections.computed import ComputedModel
from projections.corporate_actions.model import CORPORATE_ACTIONS
from projections.credentials.model import CREDENTIALS
from projections.decisions.model import DECISIONS
from projections.deliveries.model import DELIVERIES
from projections.drift_history.model import DRIFT_HISTORY
from projections.erasures.model import ERASURES
from projections.event_index.model import EVENT_INDEX
from projections.event_texts.model import EVENT_TEXTS
from projections.exports.model import EXPORTS
from projections.findings.model import FINDINGS
from projections.flows.model import FLOWS
from projections.legal_holds.model import LEGAL_HOLDS
from projections.model_calls.model import MODEL_CALLS
from projections.monitoring_runs.model import MONITORING_RUNS
from projections.notifications.model import NOTIFICATIONS
from projections.portfolio_alerts.model import PORTFOLIO_ALERTS
from projections.portfolio_requests.model import PORTFOLIO_REQUESTS
from projections.portfolios.model import PORTFOLIOS
from projections.read_model import ReadModel
from projections.review_items.model import REVIEW_ITEMS
from projections.samples.model import SAMPLES
from projections.subjects.model import SUBJECTS
from projections.valuations.model import VALUATIONS

READ_MODELS: tuple[ReadModel, ...] = (
    PORTFOLIO_REQUESTS,
    AI_RECOMMENDATIONS,
    DECISIONS,
    MODEL_CALLS,
    AGENTS,
    SUBJECTS,
    CREDENTIALS,
    ACCESSES,
    CLIENTS,
    EVENT_INDEX,
    PORTFOLIOS,
    PORTFOLIO_ALERTS,
    NOTIFICATIONS,
    MONITORING_RUNS,
    EXPORTS,
    DELIVERIES,
    LEGAL_HOLDS,
    ERASURES,
    SAMPLES,
    REVIEW_ITEMS,
    FINDINGS,
    FLOWS,
    VALUATIONS,
    CORPORATE_ACTIONS,
    EVENT_TEXTS,
)


# Read models that a function computes. They are kept, rebuilt and compared like the others.
COMPUTED_MODELS: tuple[ComputedModel, ...] = (DRIFT_HISTORY,)


def all_models() -> tuple[ReadModel, ...]:
    """Return all read models: folded and computed ones."""
    return (*READ_MODELS, *COMPUTED_MODELS)


class UnknownReadModel(KeyError):
    """No read model or view has this name."""


def get_read_model(name: str) -> ReadModel:
    """Return the read model of this name. Raises UnknownReadModel, with the names that exist."""
    for read_model in all_models():
        if read_model.name == name:
            return read_model
    names = ", ".join(read_model.name for read_model in all_models())
    raise UnknownReadModel(f"no read model {name!r}; there are {names}")


def read_model_of_view(view: str) -> ReadModel:
    """Return the read model that has this view. Raises UnknownReadModel, with the names of all views."""
    for read_model in READ_MODELS:
        if view in read_model.views:
            return read_model
    names = ", ".join(name for read_model in READ_MODELS for name in read_model.views)
    raise UnknownReadModel(f"no view {view!r}; there are {names}")

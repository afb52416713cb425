"""Report on the client's earlier recommendations: their number, and the changes against the last that is in force.

It is part of the answer, and no figure depends on it.
"""

from collections.abc import Mapping
from decimal import Decimal

from api.agents.house_policy import ZERO
from api.agents.prompt import shown_answer
from api.agents.protocol import JSON, AgentRequest, Earlier
from ledger.domain.case import APPROVED
from ledger.domain.four_eyes import parts as weights_of
from schema.states import RecommendationState

STANDING = frozenset(APPROVED | {RecommendationState.COMMUNICATED})
UNREAD_RESPONSE = "An advisor responded to an earlier answer to this request; this agent does not read that."


def earlier_report(request: AgentRequest, weights: Mapping[str, Decimal]) -> dict[str, JSON]:
    """Return `shown` (a count), `standing` (id and state of the newest approved or edited, or None) and `changes`.

    `changes` lists weights by name. It is None if no recommendation is in force or it has no weights. If it was edited,
    the replacement counts.
    """
    standing = next((each for each in request.earlier if each.state in STANDING), None)
    return {
        "shown": len(request.earlier),
        "standing": None if standing is None else {"recommendation_id": standing.id, "state": standing.state},
        "changes": None if standing is None else _changes(standing, weights),
    }


def was_returned(request: AgentRequest) -> bool:
    """Return True if an advisor responded to an earlier answer to this request."""
    return any(each.request_id == request.request_id and each.response is not None for each in request.earlier)


def _changes(standing: Earlier, weights: Mapping[str, Decimal]) -> list[JSON] | None:
    edited = standing.outcome == "edit" and standing.replacement is not None
    answer = shown_answer(standing.replacement if edited else standing.recommendation)
    before = None if answer is None else weights_of(answer)
    if before is None:
        return None
    names = [*weights, *(name for name in before if name not in weights)]
    return [
        {"name": name, "from": f"{before.get(name, ZERO):f}", "to": f"{weights.get(name, ZERO):f}"}
        for name in names
        if before.get(name, ZERO) != weights.get(name, ZERO)
    ]

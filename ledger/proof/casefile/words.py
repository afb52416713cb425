"""Words for people: who acted, what an event means, and values without braces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ledger.proof.casefile.steps import Step
from ledger.proof.format.canonical import quick

# Parts of a value that are nested deeper than this are shown as JSON.
DEEPEST = 8
_DONE = {
    "portfolio.requested": "requested a recommendation",
    "model-call.started": "asked the model",
    "model-call.completed": "got the model's answer",
    "model-call.failed": "got no answer from the model",
    "model-call.content-recorded": "recorded content of a model call",
    "model-call.content-joined": "joined content to a model call",
    "recommendation.recorded": "recommended",
    "recommendation.opened": "opened the recommendation",
    "recommendation.replayed": "asked the agent again, to compare",
    "recommendation.communicated": "told the client",
    "request.failed": "ended the request without a recommendation",
    "request.withdrawn": "withdrew the request",
    "decision.withdrawn": "took the decision back while it waited",
    "decision.revoked": "took the decision back while it was in force",
    "decision.expired": "let the decision expire, as nobody confirmed it in time",
    "client.registered": "registered the client",
    "client.aliased": "gave the client a further identifier",
    "client.merged": "merged two clients",
    "client.assigned": "assigned the client",
    "client.unassigned": "ended an assignment of the client",
}
_OUTCOMES = {
    ("recommendation.decided", "approve"): "approved the recommendation",
    ("recommendation.decided", "edit"): "decided to change the recommendation",
    ("recommendation.decided", "reject"): "rejected the recommendation",
    ("recommendation.decided", "respond"): "returned the recommendation with a remark",
    ("recommendation.confirmed", "approve"): "confirmed the decision",
    ("recommendation.confirmed", "decline"): "declined the decision",
}


def act(step: Step) -> str:
    """Return the act in words; the type of the event if it has none."""
    outcome = step.data.get("outcome")
    known = _OUTCOMES.get((step.type, outcome)) if isinstance(outcome, str) else None
    return known or _DONE.get(step.type, step.type)


def who(actor: dict[str, Any]) -> str:
    """Return who acted, in which role, and for whom; for an imported event, also the importer."""
    told = ", ".join(str(actor[name]) for name in ("role", "kind", "imported") if actor.get(name))
    name = str(actor.get("id", "(not named)")) + (f" ({told})" if told else "")
    return name + (f", on behalf of {text(actor['on_behalf_of'])}" if actor.get("on_behalf_of") else "")


def text(value: Any) -> str:
    """Return a value as text: names and parts on lines of their own, deeper ones further to the right."""
    return "\n".join(_lines(value, 0)) or "(nothing)"


def _lines(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, dict) and value and depth < DEEPEST:
        for name, part in value.items():
            yield from _part(f"{_one_line(name)}:", part, depth)
    elif isinstance(value, list) and value and depth < DEEPEST:
        for part in value:
            yield from _part("-", part, depth)
    else:
        yield from _scalar(value).split("\n")


def _part(mark: str, part: Any, depth: int) -> Iterator[str]:
    """A simple value stands behind its mark; the lines of others below it."""
    lines = _lines(part, depth + 1)
    first, second = next(lines), next(lines, None)
    if second is None and not (isinstance(part, dict | list) and part and mark != "-"):
        yield f"{mark} {first}"
        return
    if mark == "-":
        yield f"- {first}"
    else:
        yield mark
        yield f"  {first}"
    if second is not None:
        yield f"  {second}"
    for line in lines:
        yield f"  {line}"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    return quick(value).decode() or "(nested too deep)"


def _one_line(name: str) -> str:
    return name.replace("\n", " ")

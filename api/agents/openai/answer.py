"""Check a language model's answer and make a recommendation from it. Figures are never repaired."""

from decimal import Decimal, localcontext
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from api.agents.history import earlier_report
from api.agents.house_policy import CASH, EXACT, ONE, ZERO, Policy
from api.agents.limits import CENT, Limits, apportion
from api.agents.protocol import JSON, AgentRequest
from ledger.proof.format.canonical import NotCanonical, canonical

Text = Annotated[str, StringConstraints(max_length=4000)]
Weight = Annotated[str, StringConstraints(pattern=r"^(0(\.[0-9]{1,4})?|1(\.0{1,4})?)$")]

LIMITATIONS = (
    "A language model proposed the weights and wrote the reasons. Neither is checked against any market data.",
    "It is not investment advice: a person has to judge it and answer for it.",
    "That the weights sum to 1 and keep the constraints is checked; the amounts are worked out from them.",
)


class Unusable(Exception):
    """The model's answer cannot be used; the message says why."""


class Share(BaseModel):
    """The weight of one asset class, and the reason."""

    model_config = ConfigDict(extra="forbid", strict=True)

    asset_class: Annotated[str, StringConstraints(max_length=100)]
    weight: Weight
    rationale: Text


class ModelAnswer(BaseModel):
    """The model's whole answer."""

    model_config = ConfigDict(extra="forbid", strict=True)

    summary: Text
    allocations: Annotated[list[Share], Field(min_length=1, max_length=100)]


def schema(policy: Policy) -> dict[str, Any]:
    """Return the JSON Schema of ModelAnswer to send to the model, with the policy's asset classes.

    Lengths and patterns are left out, because not every server accepts them; `read` checks them.
    """
    share = _object(
        asset_class={"type": "string", "enum": [each.name for each in policy.classes]},
        weight={"type": "string", "description": 'A decimal string such as "0.2500".'},
        rationale={"type": "string"},
    )
    return _object(summary={"type": "string"}, allocations={"type": "array", "items": share})


def _object(**members: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}


def read(text: str, policy: Policy, limits: Limits) -> ModelAnswer:
    """Parse and check an answer. Raises Unusable."""
    try:
        answer = ModelAnswer.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(step) for step in first["loc"]) or "answer"
        raise Unusable(f"{place}: {first['msg']}") from error
    try:
        canonical(answer.model_dump())
    except NotCanonical as error:
        raise Unusable(f"cannot be recorded: {error}") from error
    with localcontext(EXACT):
        _check(weights(answer), policy, limits)
    if len(weights(answer)) < len(answer.allocations):
        raise Unusable("a class is named twice")
    return answer


def weights(answer: ModelAnswer) -> dict[str, Decimal]:
    """Return the weights by asset class."""
    return {share.asset_class: Decimal(share.weight) for share in answer.allocations}


def _check(proposed: dict[str, Decimal], policy: Policy, limits: Limits) -> None:
    known = {each.name: ZERO for each in policy.classes}
    if unknown := sorted(proposed.keys() - known.keys()):
        raise Unusable(f"{unknown[0]!r} is not an asset class of the policy")
    total = sum(proposed.values(), ZERO)
    if total != ONE:
        raise Unusable(f"the weights sum to {total}, not 1")
    if kept := sorted(name for name in limits.excluded if proposed.get(name)):
        raise Unusable(f"{kept[0]} has a weight and is excluded")
    equity = policy.equity_share(known | proposed)
    if limits.max_equity is not None and equity > limits.max_equity:
        raise Unusable(f"equity is {equity}, above max_equity {limits.max_equity}")
    if limits.min_cash is not None and proposed.get(CASH, ZERO) < limits.min_cash:
        raise Unusable(f"cash is below min_cash {limits.min_cash}")


def recommendation(answer: ModelAnswer, policy: Policy, request: AgentRequest) -> dict[str, JSON]:
    """Build the recommendation: weights with four decimals, and amounts that sum to the requested one."""
    with localcontext(EXACT):
        shares = {name: weight.quantize(Decimal("0.0001")) for name, weight in weights(answer).items()}
        amounts = apportion(request.amount_usd, shares, CENT)
        report = earlier_report(request, shares)
    labels = {each.name: each.label for each in policy.classes}
    return {
        "kind": "model-proposal",
        "summary": answer.summary,
        "allocations": [
            {
                "asset_class": share.asset_class,
                "label": labels[share.asset_class],
                "weight": f"{shares[share.asset_class]:f}",
                "amount_usd": f"{amounts[share.asset_class]:.2f}",
                "rationale": share.rationale,
            }
            for share in answer.allocations
        ],
        "earlier": report,
        "limitations": list(LIMITATIONS),
    }

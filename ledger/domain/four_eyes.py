"""The four-eyes policy: versioned rules that say which decisions need a confirmation, and by whom.

A rule names the outcomes that it applies to and one condition: the amount, the size of the change, or the reason code.
The packaged policy is policies/four-eyes.json.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ledger.domain.answer_schemas import EXACT, PLAIN_DECIMAL
from ledger.domain.policy import Policy, Text, load
from schema.fields import Code

NAME = "four-eyes"
# The members of an answer that a change is measured by.
MEASURED = frozenset({"allocations", "weights"})

# A decimal string. The recorded text of the policy keeps it as it is; rules compare it as a number.
Threshold = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}(\.[0-9]{1,12})?$"), AfterValidator(Decimal)]


class Rule(BaseModel):
    """One rule, with exactly one of three conditions. `change_at_least` is a share of the money, 0 to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Code
    outcomes: Annotated[frozenset[Literal["approve", "edit", "reject"]], Field(min_length=1)]
    amount_usd_at_least: Threshold | None = None
    change_at_least: Threshold | None = None
    reason_codes: Annotated[frozenset[Code], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_condition(self) -> Rule:
        if [self.amount_usd_at_least, self.change_at_least, self.reason_codes].count(None) != 2:
            raise ValueError("a rule needs exactly one of amount_usd_at_least, change_at_least, reason_codes")
        return self


class FourEyesText(Text):
    """The policy file. `second_roles` are the roles that a confirmer may have.

    A decision that nobody has confirmed after `confirm_within_hours` expires; without them none does.
    """

    rules: Annotated[list[Rule], Field(max_length=100)]
    second_roles: Annotated[frozenset[Literal["advisor", "compliance"]], Field(min_length=1)]
    confirm_within_hours: Annotated[int, Field(ge=1, le=87_600)] | None = None


@dataclass(frozen=True)
class FourEyes:
    """The policy in force, with its rules."""

    policy: Policy
    rules: tuple[Rule, ...]
    second_roles: frozenset[str]
    confirm_within_hours: int | None = None

    @classmethod
    def load(cls, path: Path | None = None) -> FourEyes:
        """Load the policy from a file, or the packaged one. Raises BadPolicy."""
        policy, text = load(NAME, FourEyesText, path)
        return cls(policy, tuple(text.rules), frozenset(text.second_roles), text.confirm_within_hours)

    @property
    def version(self) -> str:
        """The version of the policy."""
        return self.policy.version

    def rules_for(
        self,
        outcome: str,
        amount_usd: Decimal,
        reason_code: str | None,
        original: dict[str, Any] | None,
        replacement: dict[str, Any] | None,
    ) -> list[str]:
        """Return the names of the rules that require a confirmation.

        A response never needs one: it decides nothing.
        """

        def requires(rule: Rule) -> bool:
            if rule.amount_usd_at_least is not None:
                return amount_usd >= Decimal(rule.amount_usd_at_least)
            if rule.change_at_least is not None:
                return _large(original, replacement, Decimal(rule.change_at_least))
            return reason_code in (rule.reason_codes or ())

        return [rule.name for rule in self.rules if outcome in rule.outcomes and requires(rule)]


def _large(original: dict[str, Any] | None, replacement: dict[str, Any] | None, least: Decimal) -> bool:
    """Return True if the replacement moves at least the share `least`. A change that cannot be measured is large."""
    if replacement is None:
        return False
    size = None if original is None else change(original, replacement)
    return size is None or size >= least


def change(before: dict[str, Any], after: dict[str, Any]) -> Decimal | None:
    """Return the share of the money that moves: half the sum of the differences, the larger of weights and amounts.

    Return None if it cannot be measured: an answer has no weights, or the replacement changes any other member.
    """
    if any(name not in MEASURED and before.get(name, ...) != value for name, value in after.items()):
        return None
    shifts = [_shift(before, after, "weight"), _shift(before, after, "amount_usd")]
    by_weight, by_amount = shifts
    if by_weight is None or (by_amount is None and _has_amounts(before, after)):
        return None
    return max(shift for shift in shifts if shift is not None)


def _has_amounts(*answers: dict[str, Any]) -> bool:
    return any(
        isinstance(item, dict) and "amount_usd" in item
        for answer in answers
        if isinstance(items := answer.get("allocations"), list)
        for item in items
    )


def _shift(before: dict[str, Any], after: dict[str, Any], member: str) -> Decimal | None:
    """Return half the sum of the differences: of weights as they are, of amounts as a share of the larger total."""
    old, new = parts(before, member), parts(after, member)
    if old is None or new is None:
        return None
    zero = Decimal(0)
    with localcontext(EXACT):
        moved = sum((abs(old.get(name, zero) - new.get(name, zero)) for name in old | new), zero) / 2
        whole = Decimal(1) if member == "weight" else max(sum(map(abs, old.values())), sum(map(abs, new.values())))
    return moved if whole == 1 or not moved else moved / whole


def parts(answer: dict[str, Any], member: str = "weight") -> dict[str, Decimal] | None:
    """Return weights or amounts by place, from `allocations`, or weights from `weights`; None if there are none."""
    match answer:
        case {"allocations": _, "weights": _}:
            return None  # two portfolios in one answer: it is not defined which of them counts
        case {"allocations": [_, *_] as items} if all(isinstance(item, dict) for item in items):
            # An asset class and an asset within it are different places for money.
            shares = [(_place(item.get("asset_class"), item.get("asset")), item.get(member)) for item in items]
        case {"weights": dict(items)} if items and member == "weight":
            shares = list(items.items())
        case _:
            return None
    by_place: dict[str, Decimal] = {}
    for place, share in shares:
        if place is None or not isinstance(share, str) or not PLAIN_DECIMAL.fullmatch(share):
            return None
        with localcontext(EXACT):
            by_place[place] = by_place.get(place, Decimal(0)) + Decimal(share)
    return by_place


def _place(asset_class: object, asset: object) -> str | None:
    names = [name for name in (asset_class, asset) if name is not None]
    if not names or not all(isinstance(name, str) for name in names):
        return None
    return json.dumps(names) if len(names) == 2 else str(names[0])

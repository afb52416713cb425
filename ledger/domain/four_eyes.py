"""When a decision waits for a second person: a versioned policy of rules, each of which can ask for one.

A rule names the outcomes it is about, and one condition: the amount, the size of the change, or the reason code. The
packaged policy is policies/four-eyes.json.
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
# What a change is measured by.
MEASURED = frozenset({"allocations", "weights"})

# A decimal string, kept as text in the record and read as a number here.
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
    """The policy; `second_roles` are the roles that a second person may have."""

    rules: Annotated[list[Rule], Field(max_length=100)]
    second_roles: Annotated[frozenset[Literal["advisor", "compliance"]], Field(min_length=1)]


@dataclass(frozen=True)
class FourEyes:
    """The policy in force."""

    policy: Policy
    rules: tuple[Rule, ...]
    second_roles: frozenset[str]

    @classmethod
    def load(cls, path: Path | None = None) -> FourEyes:
        """From a file, or the packaged policy. Raises BadPolicy."""
        policy, text = load(NAME, FourEyesText, path)
        return cls(policy, tuple(text.rules), frozenset(text.second_roles))

    @property
    def version(self) -> str:
        """Of the policy."""
        return self.policy.version

    def rules_for(
        self,
        outcome: str,
        amount_usd: Decimal,
        reason_code: str | None,
        original: dict[str, Any] | None,
        replacement: dict[str, Any] | None,
    ) -> list[str]:
        """The names of the rules that ask for a second person. Of a response none does: it decides nothing."""

        def asks(rule: Rule) -> bool:
            if rule.amount_usd_at_least is not None:
                return amount_usd >= Decimal(rule.amount_usd_at_least)
            if rule.change_at_least is not None:
                return _large(original, replacement, Decimal(rule.change_at_least))
            return reason_code in (rule.reason_codes or ())

        return [rule.name for rule in self.rules if outcome in rule.outcomes and asks(rule)]


def _large(original: dict[str, Any] | None, replacement: dict[str, Any] | None, least: Decimal) -> bool:
    """Whether a replacement changes at least so much. A change that cannot be measured counts as large."""
    if replacement is None:
        return False
    size = None if original is None else change(original, replacement)
    return size is None or size >= least


def change(before: dict[str, Any], after: dict[str, Any]) -> Decimal | None:
    """The share of the money that moves: half the sum of the differences, by weights or by amounts, whichever is more.

    None where that cannot be told: one has no weights, or the replacement says something else that is new.
    """
    if any(name not in MEASURED and before.get(name, ...) != value for name, value in after.items()):
        return None
    shifts = [_shift(before, after, "weight"), _shift(before, after, "amount_usd")]
    by_weight, by_amount = shifts
    if by_weight is None or (by_amount is None and _says_amounts(before, after)):
        return None
    return max(shift for shift in shifts if shift is not None)


def _says_amounts(*answers: dict[str, Any]) -> bool:
    return any(
        isinstance(item, dict) and "amount_usd" in item
        for answer in answers
        if isinstance(items := answer.get("allocations"), list)
        for item in items
    )


def _shift(before: dict[str, Any], after: dict[str, Any], member: str) -> Decimal | None:
    """Half the sum of the differences, as a share of the larger whole where it is not of 1."""
    old, new = parts(before, member), parts(after, member)
    if old is None or new is None:
        return None
    none = Decimal(0)
    with localcontext(EXACT):
        moved = sum((abs(old.get(name, none) - new.get(name, none)) for name in old | new), none) / 2
        whole = Decimal(1) if member == "weight" else max(sum(map(abs, old.values())), sum(map(abs, new.values())))
    return moved if whole == 1 or not moved else moved / whole


def parts(answer: dict[str, Any], member: str = "weight") -> dict[str, Decimal] | None:
    """Weights (or amounts) by place: of `allocations`, or weights of `weights`; None where nobody can tell."""
    match answer:
        case {"allocations": _, "weights": _}:
            return None  # two portfolios in one: neither is what is measured
        case {"allocations": [_, *_] as items} if all(isinstance(item, dict) for item in items):
            # A class of assets and an asset within it are different places for money.
            found = [(_place(item.get("asset_class"), item.get("asset")), item.get(member)) for item in items]
        case {"weights": dict(items)} if items and member == "weight":
            found = list(items.items())
        case _:
            return None
    by_place: dict[str, Decimal] = {}
    for place, part in found:
        if place is None or not isinstance(part, str) or not PLAIN_DECIMAL.fullmatch(part):
            return None
        with localcontext(EXACT):
            by_place[place] = by_place.get(place, Decimal(0)) + Decimal(part)
    return by_place


def _place(asset_class: object, asset: object) -> str | None:
    names = [name for name in (asset_class, asset) if name is not None]
    if not names or not all(isinstance(name, str) for name in names):
        return None
    return json.dumps(names) if len(names) == 2 else str(names[0])

"""When a decision waits for a second person: a versioned policy of rules, each of which can ask for one.

A rule names the outcomes it is about, and one condition: the amount, the size of the change, or the reason code. The
packaged policy is policies/four-eyes.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from ledger.commands.answers import PLAIN_DECIMAL
from ledger.commands.policy import BadPolicy, Policy

CONDITIONS = ("amount_usd_at_least", "change_at_least", "reason_codes")


@dataclass(frozen=True)
class Rule:
    """One rule; of the three conditions exactly one is set."""

    name: str
    outcomes: frozenset[str]
    amount_usd_at_least: Decimal | None = None
    change_at_least: Decimal | None = None
    reason_codes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class FourEyes:
    """The policy in force; `second_roles` are the roles that a second person may have."""

    policy: Policy
    rules: tuple[Rule, ...]
    second_roles: tuple[str, ...]

    @classmethod
    def of(cls, policy: Policy) -> FourEyes:
        """From the policy's JSON. Raises BadPolicy."""
        rules = tuple(_rule(policy, item) for item in policy.items("rules", {"name": str, "outcomes": list}))
        roles = policy.text.get("second_roles")
        if not isinstance(roles, list) or not roles or not set(roles) <= {"advisor", "compliance"}:
            raise BadPolicy(f"policy {policy.name}: second_roles is not a list of advisor, compliance")
        return cls(policy, rules, tuple(roles))

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
        if outcome == "respond":
            return []
        return [
            rule.name
            for rule in self.rules
            if outcome in rule.outcomes
            and (
                (rule.amount_usd_at_least is not None and amount_usd >= rule.amount_usd_at_least)
                or (rule.change_at_least is not None and _large(original, replacement, rule.change_at_least))
                or reason_code in rule.reason_codes
            )
        ]


def _rule(policy: Policy, item: dict[str, Any]) -> Rule:
    given = [name for name in CONDITIONS if name in item]
    if len(given) != 1 or set(item) - {"name", "outcomes", *CONDITIONS}:
        raise BadPolicy(f"policy {policy.name}: rule {item['name']} needs exactly one of {', '.join(CONDITIONS)}")
    if not set(item["outcomes"]) <= {"approve", "edit", "reject"}:
        raise BadPolicy(f"policy {policy.name}: rule {item['name']}: outcomes are approve, edit, reject")
    try:
        return Rule(
            item["name"],
            frozenset(item["outcomes"]),
            Decimal(item["amount_usd_at_least"]) if "amount_usd_at_least" in item else None,
            Decimal(item["change_at_least"]) if "change_at_least" in item else None,
            frozenset(item.get("reason_codes", ())),
        )
    except (InvalidOperation, TypeError) as error:
        raise BadPolicy(f"policy {policy.name}: rule {item['name']}: not a decimal string") from error


def _large(original: dict[str, Any] | None, replacement: dict[str, Any] | None, least: Decimal) -> bool:
    """Whether a replacement changes at least so much. A change that cannot be measured counts as large."""
    if replacement is None:
        return False
    size = None if original is None else change(original, replacement)
    return size is None or size >= least


def change(before: dict[str, Any], after: dict[str, Any]) -> Decimal | None:
    """The share of the money that moves: half the sum of the weights' differences; None where one has no weights."""
    old, new = weights(before), weights(after)
    if old is None or new is None:
        return None
    return sum((abs(old.get(name, Decimal(0)) - new.get(name, Decimal(0))) for name in old | new), Decimal(0)) / 2


def weights(answer: dict[str, Any]) -> dict[str, Decimal] | None:
    """Weights by name: of `allocations` (asset_class or asset, and weight) or of `weights`; None where it has none."""
    match answer:
        case {"allocations": [_, *_] as items} if all(isinstance(item, dict) for item in items):
            found = [(item.get("asset_class", item.get("asset")), item.get("weight")) for item in items]
        case {"weights": dict(items)} if items:
            found = list(items.items())
        case _:
            return None
    by_name: dict[str, Decimal] = {}
    for name, weight in found:
        if not isinstance(name, str) or not isinstance(weight, str) or not PLAIN_DECIMAL.fullmatch(weight):
            return None
        by_name[name] = by_name.get(name, Decimal(0)) + Decimal(weight)
    return by_name

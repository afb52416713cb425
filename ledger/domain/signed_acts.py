"""Load the policy of signed acts: versioned rules that say which acts their subject must sign.

The packaged policy is policies/signed-acts.json. It has no rule: subjects with a key may sign, but need not.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ledger.domain.four_eyes import Threshold
from ledger.domain.policy import Policy, Text, load
from ledger.errors import Refused
from schema.fields import Code
from schema.signing_keys import ActSignature, Scheme

NAME = "signed-acts"
Act = Literal[
    "recommendation.recorded",
    "request.failed",
    "model-call.completed",
    "model-call.failed",
    "recommendation.decided",
    "recommendation.confirmed",
    "recommendation.communicated",
]


class Rule(BaseModel):
    """One rule: acts of these types about at least this amount need a signature, by one of these schemes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Code
    acts: Annotated[frozenset[Act], Field(min_length=1)]
    amount_usd_at_least: Threshold | None = None
    schemes: Annotated[frozenset[Scheme], Field(min_length=1)] | None = None


class SignedActsText(Text):
    """The policy file."""

    rules: Annotated[list[Rule], Field(max_length=100)]


@dataclass(frozen=True)
class SignedActs:
    """The policy in force, with its rules."""

    policy: Policy
    rules: tuple[Rule, ...]

    @classmethod
    def load(cls, path: Path | None = None) -> SignedActs:
        """Load the policy from a file, or the packaged one. Raises BadPolicy."""
        policy, text = load(NAME, SignedActsText, path)
        return cls(policy, tuple(text.rules))

    def check(self, act: str, amount_usd: Decimal, signature: ActSignature | None) -> None:
        """Raise Refused `signature-required` if a rule requires a signature that is missing."""
        for rule in self.rules:
            least = rule.amount_usd_at_least
            if act not in rule.acts or (least is not None and amount_usd < Decimal(least)):
                continue
            if signature is None or signature.scheme not in (rule.schemes or {signature.scheme}):
                schemes = " or ".join(sorted(rule.schemes)) if rule.schemes else "a registered key"
                message = f"the policy {NAME} asks for a signature of this act, by {schemes}: rule {rule.name}"
                raise Refused("signature-required", message, rule=rule.name, policy_version=self.policy.version)


def registered_before() -> Refused:
    """Return the refusal of a public key that the ledger has seen before."""
    return Refused("signing-key-registered", "this public key was registered before: make another")

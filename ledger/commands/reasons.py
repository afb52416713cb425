"""Why people change or refuse what a model said: a versioned list of codes, in groups.

The groups keep two things apart that look alike in a count of overrides: the model was wrong, and the model could not
know. The packaged list is policies/reason-codes.json.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.commands.policy import Policy
from ledger.errors import InvalidEvent


@dataclass(frozen=True)
class ReasonCodes:
    """The list in force: `groups` has the group of each code, `outcomes` what each may be given for."""

    policy: Policy
    groups: dict[str, str]
    outcomes: dict[str, frozenset[str]]

    @classmethod
    def of(cls, policy: Policy) -> ReasonCodes:
        """From the policy's JSON. Raises BadPolicy."""
        codes = policy.items("codes", {"code": str, "group": str, "label": str, "outcomes": list})
        return cls(
            policy,
            {item["code"]: item["group"] for item in codes},
            {item["code"]: frozenset(item["outcomes"]) for item in codes},
        )

    @property
    def version(self) -> str:
        """Of the list."""
        return self.policy.version

    def group(self, code: str | None, outcome: str) -> str | None:
        """The group of a code; None where none was given. Raises InvalidEvent `reason_code`."""
        if code is None:
            return None
        if outcome not in self.outcomes.get(code, ()):
            fitting = sorted(name for name, allowed in self.outcomes.items() if outcome in allowed)
            raise InvalidEvent("reason_code", f"for {outcome}, one of: {', '.join(fitting)}")
        return self.groups[code]

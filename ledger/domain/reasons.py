"""Load the reason codes: a versioned list of reasons to change or reject an answer, in groups.

The groups separate two things that look alike in a count of overrides: the model was wrong, or it could not know. The
packaged list is policies/reason-codes.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ledger.domain.policy import Policy, Text, load
from ledger.errors import InvalidEvent
from schema.fields import Code, Name

NAME = "reason-codes"


class Reason(BaseModel):
    """One code, and the outcomes that it is allowed with."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    code: Code
    group: Code
    label: Name
    outcomes: Annotated[frozenset[Literal["edit", "reject", "respond"]], Field(min_length=1)]


class ReasonText(Text):
    """The file with the list of codes."""

    codes: Annotated[list[Reason], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _usable(self) -> ReasonText:
        codes = [reason.code for reason in self.codes]
        if len(set(codes)) < len(codes):
            raise ValueError("a code is listed twice")
        for outcome in ("edit", "reject"):
            if not any(outcome in reason.outcomes for reason in self.codes):
                raise ValueError(f"no code is allowed with {outcome}, which requires one")
        return self


@dataclass(frozen=True)
class ReasonCodes:
    """The list in force, by code."""

    policy: Policy
    reasons: dict[str, Reason]

    @classmethod
    def load(cls, path: Path | None = None) -> ReasonCodes:
        """Load the list from a file, or the packaged one. Raises BadPolicy."""
        policy, text = load(NAME, ReasonText, path)
        return cls(policy, {reason.code: reason for reason in text.codes})

    @property
    def version(self) -> str:
        """The version of the list."""
        return self.policy.version

    def group(self, code: str | None, outcome: str) -> str | None:
        """Return the group of a code; None without a code. Raises InvalidEvent if the outcome does not allow it."""
        if code is None:
            return None
        reason = self.reasons.get(code)
        if reason is None or outcome not in reason.outcomes:
            allowed = sorted(item.code for item in self.reasons.values() if outcome in item.outcomes)
            raise InvalidEvent("reason_code", f"with the outcome {outcome}, must be one of: {', '.join(allowed)}")
        return reason.group

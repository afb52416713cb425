"""Why people change or refuse what a model said: a versioned list of codes, in groups.

The groups keep two things apart that look alike in a count of overrides: the model was wrong, and the model could not
know. The packaged list is policies/reason-codes.json.
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
    """One code, and the outcomes that it may be given for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    code: Code
    group: Code
    label: Name
    outcomes: Annotated[frozenset[Literal["edit", "reject", "respond"]], Field(min_length=1)]


class ReasonText(Text):
    """The list."""

    codes: Annotated[list[Reason], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _usable(self) -> ReasonText:
        codes = [reason.code for reason in self.codes]
        if len(set(codes)) < len(codes):
            raise ValueError("a code stands twice")
        for outcome in ("edit", "reject"):
            if not any(outcome in reason.outcomes for reason in self.codes):
                raise ValueError(f"no code is for {outcome}, which needs one")
        return self


@dataclass(frozen=True)
class ReasonCodes:
    """The list in force."""

    policy: Policy
    reasons: dict[str, Reason]

    @classmethod
    def load(cls, path: Path | None = None) -> ReasonCodes:
        """From a file, or the packaged list. Raises BadPolicy."""
        policy, text = load(NAME, ReasonText, path)
        return cls(policy, {reason.code: reason for reason in text.codes})

    @property
    def version(self) -> str:
        """Of the list."""
        return self.policy.version

    def group(self, code: str | None, outcome: str) -> str | None:
        """The group of a code; None where none was given. Raises InvalidEvent `reason_code`."""
        if code is None:
            return None
        found = self.reasons.get(code)
        if found is None or outcome not in found.outcomes:
            fitting = sorted(reason.code for reason in self.reasons.values() if outcome in reason.outcomes)
            raise InvalidEvent("reason_code", f"for {outcome}, one of: {', '.join(fitting)}")
        return found.group

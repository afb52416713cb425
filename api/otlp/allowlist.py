"""What may stand in clear of what comes from a model's provider, an SDK or an exception: names and figures, no words.

The chain keeps it for good, so free text and whatever might be somebody's name belongs into sealed fields alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

UNKNOWN = "unknown"
# As schema.fields.ErrorType.
CODE = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
# Names of models and versions: with slashes and plus signs, and after @ the day of a version, but no address of mail.
IDENTIFIER = re.compile(r"(?=.{1,200}\Z)[A-Za-z0-9_.:/+-]+(@(default|latest|[0-9]{1,12}))?")
# One value of a parameter that has a few named values, such as `auto`.
CHOICE = re.compile(r"[A-Za-z0-9_.:-]{1,50}")
MAX_CHOICES = 20
# Model settings with a number, a boolean or one of a few names for a value: of OpenTelemetry's gen_ai.request.*, of
# pydantic-ai's settings, and of providers. Not here: stop sequences and biases of tokens, which are words; users,
# metadata, headers and bodies.
PARAMETERS = frozenset(
    {
        "choice_count",
        "encoding_formats",
        "frequency_penalty",
        "max_tokens",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "seed",
        "service_tier",
        "stream",
        "temperature",
        "thinking",
        "tool_choice",
        "top_k",
        "top_p",
    }
)


def identifier(value: object) -> str | None:
    """A text that is the name of a model, a version or the like; None for all else."""
    return value if isinstance(value, str) and IDENTIFIER.fullmatch(value) else None


def code(value: object) -> str | None:
    """A text that is a code, or the name of a class; None for all else."""
    if not isinstance(value, str):
        return None
    # Classes that are made in a function have <locals> in their names.
    found = value.replace("<locals>", "locals")
    return found if CODE.fullmatch(found) else None


def parameters(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """The known ones that say nothing but a number, a boolean or short names; None where there are none."""
    found = {name: value for name, value in given.items() if name in PARAMETERS and _plain(value)}
    return found or None


def _plain(value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= MAX_CHOICES and all(_single(one) for one in value)
    return _single(value)


def _single(value: object) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, str) and CHOICE.fullmatch(value) is not None)

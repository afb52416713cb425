"""Allow values from providers, SDKs and exceptions in clear only if they are codes, names or numbers.

The chain keeps them for good, so free text and anything that may be a person's name goes only to sealed fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

UNKNOWN = "unknown"
# The same characters as schema.fields.ErrorType.
CODE = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
# Names of models and versions, with slashes, plus signs, and `@` before a dated version; no email addresses.
IDENTIFIER = re.compile(r"(?=.{1,200}\Z)[A-Za-z0-9_.:/+-]+(@(default|latest|[0-9]{1,12}))?")
# One value of a parameter that has a few named values, such as `auto`.
CHOICE = re.compile(r"[A-Za-z0-9_.:-]{1,50}")
MAX_CHOICES = 20
# Model settings whose value is a number, a boolean or one of a few names, from OpenTelemetry's gen_ai.request.*,
# pydantic-ai and providers. Not here, as they may hold text or personal data: stop sequences, token biases, users,
# metadata, headers and bodies.
PARAMETERS = frozenset(
    {
        "choice_count",
        "encoding_formats",
        "frequency_penalty",
        "max_completion_tokens",
        "max_tokens",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "reasoning_level",
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
    """Return the name of a model or version, or None if the value is anything else."""
    return value if isinstance(value, str) and IDENTIFIER.fullmatch(value) else None


def code(value: object) -> str | None:
    """Return a code or the name of a class, or None if the value is anything else."""
    if not isinstance(value, str):
        return None
    # The name of a class that a function defines contains <locals>.
    text = value.replace("<locals>", "locals")
    return text if CODE.fullmatch(text) else None


def parameters(settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the known settings whose values are numbers, booleans or short names; None if there are none."""
    return {name: value for name, value in settings.items() if name in PARAMETERS and _plain(value)} or None


def _plain(value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= MAX_CHOICES and all(map(_single, value))
    return _single(value)


def _single(value: object) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, str) and CHOICE.fullmatch(value) is not None)

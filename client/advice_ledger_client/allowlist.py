"""Allow values in clear only if they are codes, or model settings without free text.

The chain keeps them for good. The server applies the same rules to spans (api/otlp/allowlist.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

UNKNOWN = "unknown"
CODE = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
# One value of a setting that has a few named values, such as `auto`.
CHOICE = re.compile(r"[A-Za-z0-9_.:-]{1,50}")
MAX_CHOICES = 20
# Model settings whose value is a number, a boolean or one of a few names. Not here, as they may hold text or personal
# data: stop sequences, token biases, users, metadata, headers and bodies.
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


def code(value: str) -> str | None:
    """Return a code or a class name as it may be recorded; None for any other text."""
    # The name of a class that a function defines contains <locals>.
    name = value.replace("<locals>", "locals")
    return name if CODE.fullmatch(name) else None


def parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known settings whose values are numbers, booleans or short names."""
    return {name: value for name, value in settings.items() if name in PARAMETERS and _plain(value)}


def _plain(value: object) -> bool:
    if isinstance(value, list):
        return len(value) <= MAX_CHOICES and all(map(_single, value))
    return _single(value)


def _single(value: object) -> bool:
    return isinstance(value, bool | int | float) or (isinstance(value, str) and CHOICE.fullmatch(value) is not None)

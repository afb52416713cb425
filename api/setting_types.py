"""Define the types of settings, as written in flags, in the environment and in a TOML file."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field


def as_date(value: object) -> object:
    """Parse a text as a date; return any other value unchanged. Raises ValueError."""
    return date.fromisoformat(value) if isinstance(value, str) else value


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:  # there is no such account
        raise ValueError from error


def _expression(text: str) -> str:
    try:
        return re.compile(text).pattern
    except re.error as error:
        raise ValueError from error


Agent = Literal["builtin", "optimiser", "openai"]
When = Literal["first-request", "beforehand"]
Expression = Annotated[str, AfterValidator(_expression)]
FilePath = Annotated[Path, AfterValidator(_expanded)]
# In the environment, blanks separate the items.
Words = Annotated[tuple[str, ...], BeforeValidator(lambda value: value.split() if isinstance(value, str) else value)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]

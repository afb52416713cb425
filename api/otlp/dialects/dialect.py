"""Define a dialect: one project's names for the attributes of a model's span.

A dialect says what kind of span it sees, and writes the attributes in the names of OpenTelemetry's conventions for
generative AI (`gen_ai.*`). The mapper reads these names alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import Any

from api.otlp.attributes import Attributes, first, structured

# The names that projects give to tokens read from a cache, and to those of reasoning.
CACHE_READ = ("cache_read_input_tokens", "input_cached_tokens", "input_cache_read")
REASONING = ("reasoning_tokens", "output_reasoning_tokens", "output_reasoning")


class Kind(Enum):
    """The reading of a span by a dialect."""

    # One request to a model.
    MODEL = "model"
    # A span that surrounds a model's span, and repeats its data.
    AROUND = "around"
    # Another activity of an agent, such as a tool, which has no data of a model.
    OTHER = "other"
    # It does not say what it is, but it names a model and a provider.
    LIKELY = "likely"


@dataclass(frozen=True)
class Dialect:
    """One project's names. `kind_of` returns None for a span that does not speak the dialect."""

    name: str
    kind_of: Callable[[Attributes], Kind | None]
    translate: Callable[[Attributes], Attributes]


def kind_in(
    spoken: str | None, model: Collection[str], around: Collection[str], other: Collection[str] = ()
) -> Kind | None:
    """Return the kind whose names include the span's own, or None."""
    named = ((Kind.MODEL, model), (Kind.AROUND, around), (Kind.OTHER, other))
    return next((kind for kind, names in named if spoken in names), None)


def renamed(attributes: Attributes, names: dict[str, str]) -> Attributes:
    """Return the attributes named in `names` under their new names.

    If several old names are present, the first counts.
    """
    found: Attributes = {}
    for old, new in names.items():
        if attributes.get(old) is not None:
            found.setdefault(new, attributes[old])
    return found


def requested(parameters: Any) -> Attributes:
    """Return a model's settings, an object or its JSON, as `gen_ai.request.*`. The allowlist decides what is kept."""
    settings = structured(parameters)
    if not isinstance(settings, dict):
        return {}
    return {f"gen_ai.request.{name}": value for name, value in settings.items() if name != "model"}


def mapping(value: Any) -> dict[str, Any]:
    """Return the object in an attribute, also if it is JSON text; empty if there is none."""
    content = structured(value)
    return content if isinstance(content, dict) else {}


def usage(counts: dict[str, Any]) -> Attributes:
    """Return the number of tokens used, as a provider's answer counts them or as a caller named them."""
    asked, answered = mapping(counts.get("prompt_tokens_details")), mapping(counts.get("completion_tokens_details"))
    return {
        "gen_ai.usage.input_tokens": first(counts, "input", "input_tokens", "prompt_tokens"),
        "gen_ai.usage.output_tokens": first(counts, "output", "output_tokens", "completion_tokens"),
        "gen_ai.usage.cache_read.input_tokens": first({**counts, **asked}, "cached_tokens", *CACHE_READ),
        "gen_ai.usage.cache_write.input_tokens": first(counts, "cache_creation_input_tokens"),
        "gen_ai.usage.reasoning.output_tokens": first({**counts, **answered}, *REASONING),
    }


def present(attributes: Attributes) -> Attributes:
    """Return the attributes that have a value."""
    return {name: value for name, value in attributes.items() if value is not None}

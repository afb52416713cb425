"""The messages of a model call, wherever the sender's version of the conventions puts them.

In the order in which they are looked for:

1. attributes `gen_ai.input.messages`, `gen_ai.output.messages`, `gen_ai.system_instructions` of the span;
2. the same on the event `gen_ai.client.inference.operation.details`;
3. one event a message (`gen_ai.user.message`, `gen_ai.choice`, …), or `gen_ai.content.prompt` and `.completion`;
4. attributes `gen_ai.prompt` and `gen_ai.completion`, whole or in pieces (`gen_ai.prompt.0.role`).

The first two are taken as they are. The older two have no one format, so their parts are kept as the sender named them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from api.otlp.attributes import Attributes, plain, structured

DETAILS = "gen_ai.client.inference.operation.details"
INPUT_EVENTS = frozenset(
    {
        "gen_ai.content.prompt",
        "gen_ai.system.message",
        "gen_ai.user.message",
        "gen_ai.assistant.message",
        "gen_ai.tool.message",
    }
)
OUTPUT_EVENTS = frozenset({"gen_ai.content.completion", "gen_ai.choice"})
PIECE = re.compile(r"gen_ai\.(prompt|completion)\.([0-9]{1,4})\.(.+)", re.DOTALL)


@dataclass(frozen=True)
class Messages:
    """What went in and came out; None where the sender left it out, as most do unless told to send it."""

    system_instructions: Any
    input: Any
    output: Any


def messages(span: Span, attributes: Attributes) -> Messages:
    """The messages of one span, whose attributes these are."""
    events = [(event.name, plain(event.attributes)) for event in span.events]
    details = next((found for name, found in events if name == DETAILS), {})
    current = {**details, **attributes}
    return Messages(
        structured(current.get("gen_ai.system_instructions")),
        _current_or_older(current, "gen_ai.input.messages", events, INPUT_EVENTS, "prompt"),
        _current_or_older(current, "gen_ai.output.messages", events, OUTPUT_EVENTS, "completion"),
    )


def _current_or_older(
    attributes: Attributes, key: str, events: list[tuple[str, Attributes]], wanted: frozenset[str], older: str
) -> Any:
    if attributes.get(key) is not None:
        return structured(attributes[key])
    found = [_message(name, given) for name, given in events if name in wanted]
    return found or structured(attributes.get(f"gen_ai.{older}")) or _pieces(attributes.items(), older) or None


def _message(name: str, attributes: Attributes) -> dict[str, Any]:
    return {"event": name, **{key: structured(value) for key, value in attributes.items()}}


def _pieces(attributes: Iterable[tuple[str, Any]], older: str) -> list[dict[str, Any]]:
    """Messages from attributes like gen_ai.prompt.0.role, in the order of their numbers."""
    found: dict[int, dict[str, Any]] = {}
    for key, value in attributes:
        piece = PIECE.fullmatch(key)
        if piece and piece[1] == older:
            found.setdefault(int(piece[2]), {})[piece[3]] = value
    return [found[number] for number in sorted(found)]

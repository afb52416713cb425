"""Find the messages of a model call; each version of the conventions puts them elsewhere.

They are looked up in this order:

1. attributes `gen_ai.input.messages`, `gen_ai.output.messages`, `gen_ai.system_instructions` of the span;
2. the same on the event `gen_ai.client.inference.operation.details`;
3. one event a message (`gen_ai.user.message`, `gen_ai.choice`, …), or `gen_ai.content.prompt` and `.completion`;
4. attributes `gen_ai.prompt` and `gen_ai.completion`, whole or in pieces (`gen_ai.prompt.0.role`).

The first two are taken unchanged. The older two have no common format, so their parts keep the sender's names.
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
    """Input and output of a model; None if the sender left them out, which most do by default."""

    system_instructions: Any
    input: Any
    output: Any


def messages(span: Span, attributes: Attributes) -> Messages:
    """Read the messages of one span with these attributes."""
    events = [(event.name, plain(event.attributes)) for event in span.events]
    details = next((members for name, members in events if name == DETAILS), {})
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
    older_messages = [_message(name, members) for name, members in events if name in wanted]
    return older_messages or structured(attributes.get(f"gen_ai.{older}")) or _pieces(attributes.items(), older) or None


def _message(name: str, attributes: Attributes) -> dict[str, Any]:
    return {"event": name, **{key: structured(value) for key, value in attributes.items()}}


def _pieces(attributes: Iterable[tuple[str, Any]], older: str) -> list[dict[str, Any]]:
    """Assemble messages from attributes such as gen_ai.prompt.0.role, in the order of their numbers."""
    by_number: dict[int, dict[str, Any]] = {}
    for key, value in attributes:
        piece = PIECE.fullmatch(key)
        if piece and piece[1] == older:
            by_number.setdefault(int(piece[2]), {})[piece[3]] = value
    return [by_number[number] for number in sorted(by_number)]

"""Find the messages of a model call; each version of the conventions puts them elsewhere.

They are looked up in this order:

1. attributes `gen_ai.input.messages`, `gen_ai.output.messages`, `gen_ai.system_instructions` of the span;
2. the same on the event `gen_ai.client.inference.operation.details`;
3. one event a message (`gen_ai.user.message`, `gen_ai.choice`, …), or `gen_ai.content.prompt` and `.completion`;
4. the names of other dialects and of older releases (api/otlp/dialects).

The first two are taken unchanged. The events of the third have no common format, so their parts keep the sender's
names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.otlp.attributes import Attributes, structured

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
MESSAGE_EVENTS = INPUT_EVENTS | OUTPUT_EVENTS | {DETAILS}

# The name of an event and its members.
NamedEvent = tuple[str, Attributes]


@dataclass(frozen=True)
class Messages:
    """Input and output of a model; None if the sender left them out, which is the default of most."""

    system_instructions: Any
    input: Any
    output: Any


def messages(attributes: Attributes, events: Sequence[NamedEvent], translated: Attributes) -> Messages:
    """Read the messages of one span with these attributes, which a dialect has `translated`."""
    details = next((members for name, members in events if name == DETAILS), {})
    current = {**details, **attributes}

    def read(key: str, wanted: frozenset[str]) -> Any:
        if current.get(key) is not None:
            return structured(current[key])
        return [_message(name, members) for name, members in events if name in wanted] or structured(
            translated.get(key)
        )

    return Messages(
        read("gen_ai.system_instructions", frozenset()),
        read("gen_ai.input.messages", INPUT_EVENTS),
        read("gen_ai.output.messages", OUTPUT_EVENTS),
    )


def _message(name: str, members: Attributes) -> dict[str, Any]:
    return {"event": name, **{key: structured(value) for key, value in members.items()}}

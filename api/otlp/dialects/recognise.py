"""Recognise spans of models in any dialect, with one table of dialects and one decision for each span."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from api.otlp.attributes import Attributes
from api.otlp.dialects.dialect import Dialect, Kind
from api.otlp.dialects.gen_ai import GEN_AI
from api.otlp.dialects.langfuse import LANGFUSE
from api.otlp.dialects.mlflow import MLFLOW
from api.otlp.dialects.openinference import OPENINFERENCE
from api.otlp.dialects.vercel import VERCEL
from api.otlp.messages import MESSAGE_EVENTS, NamedEvent

# If a span speaks two dialects, attributes of the earlier one count, and the later one adds the missing ones.
DIALECTS: tuple[Dialect, ...] = (GEN_AI, OPENINFERENCE, LANGFUSE, MLFLOW, VERCEL)
# The dialect name for a span that looks like a model's but speaks none of these.
OTHER = "other"
PREFIXES = {
    "gen_ai": GEN_AI.name,
    "embedding": OPENINFERENCE.name,
    "llm": OPENINFERENCE.name,
    "openinference": OPENINFERENCE.name,
    "reranker": OPENINFERENCE.name,
    "langfuse": LANGFUSE.name,
    "mlflow": MLFLOW.name,
    "ai": VERCEL.name,
}
# Attributes that only a model's span has: its kind, a model's name, used tokens, messages.
KIND_NAME = re.compile(
    r"(.*[._])?(kind|spankind|span[._]?type|observation[._]type|run[._]type|request[._]type)", re.IGNORECASE | re.DOTALL
)
KIND_VALUES = frozenset(
    {
        *("chat", "chat_model", "completion", "embedding", "embeddings", "generate_content", "generation", "llm"),
        *("model", "rerank", "reranker", "text_completion"),
    }
)
OF_A_MODEL = re.compile(
    r"(gen_?ai|llm|ai|langfuse|mlflow|embedding|reranker)[._](.*[._])?"
    r"(model([._]?(id|name))?|.*tokens|token_count[._].*|.*messages([._].*)?|system_instructions)"
    # Messages under names that mean this only in their dialect.
    r"|gen_ai\.(prompt|completion)(\.[0-9]+\..*)?"
    r"|llm\.(prompts|completions)\..*|embedding\.embeddings\..*"
    r"|ai\.(prompt|values?|response\.(text|object|reasoning|toolcalls))",
    re.IGNORECASE | re.DOTALL,
)
# Longer names are unknown here, and would take the patterns long.
MAX_KEY_CHARS = 200


@dataclass(frozen=True)
class Recognised:
    """A span of a model. `dialect` is the first that it speaks; `attributes` are in the names of `gen_ai.*`."""

    dialect: str
    attributes: Attributes


def recognise(attributes: Attributes) -> Recognised | None:
    """Return the attributes of a model's span in the conventions' names; None for any other span.

    What a dialect says outright decides. A span that one dialect calls a model's and another one does not is a
    model's: rather recorded once too often than lost.
    """
    kinds = {dialect: kind for dialect in DIALECTS if (kind := dialect.kind_of(attributes)) is not None}
    decided = [dialect for dialect, kind in kinds.items() if kind is Kind.MODEL]
    if not decided and Kind.LIKELY not in kinds.values():
        return None
    translated: Attributes = {}
    for dialect in dict.fromkeys((GEN_AI, *decided)):
        translated = {**dialect.translate(attributes), **translated}
    return Recognised((decided or [GEN_AI])[0].name, {**translated, **attributes})


def dialect_of_lookalike(attributes: Attributes, events: Sequence[NamedEvent] = ()) -> str | None:
    """Return the dialect of a span that is not recognised but looks like a model's, or None.

    A span around a model's span, by its dialect, only repeats that span's data.
    """
    if any(dialect.kind_of(attributes) is Kind.AROUND for dialect in DIALECTS):
        return None
    if any(name in MESSAGE_EVENTS for name, _ in events):
        return GEN_AI.name
    key = next((key for key, value in attributes.items() if _is_of_a_model(key, value)), None)
    if key is None:
        return None
    return next((name for prefix, name in PREFIXES.items() if key.startswith(f"{prefix}.")), OTHER)


def _is_of_a_model(key: str, value: object) -> bool:
    if len(key) > MAX_KEY_CHARS:
        return False
    if OF_A_MODEL.fullmatch(key):
        return True
    kind = value.strip('"').lower() if isinstance(value, str) else ""
    return kind in KIND_VALUES and KIND_NAME.fullmatch(key) is not None

"""The questions that each program asks: with a tool, with its result, streamed, in vain, and an embedding."""

from __future__ import annotations

from typing import Any

from openai import OpenAI, RateLimitError
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

MODEL = "gpt-5"
MESSAGES: list[Any] = [
    {"role": "system", "content": "SECRET be brief"},
    {"role": "user", "content": "SECRET what is ABC worth?"},
]
PRICE: Any = {
    "type": "function",
    "function": {
        "name": "price",
        "description": "The price of a share.",
        "parameters": {"type": "object", "properties": {"symbol": {"type": "string"}}},
    },
}


def exporting() -> TracerProvider:
    """Set up the SDK as an application does. The environment names the endpoint and the token."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def ask(make: type[OpenAI] = OpenAI) -> None:
    """Ask all questions with a client of this class."""
    client = make(max_retries=0)
    chat, settings = client.chat.completions, {"model": MODEL, "temperature": 0.5, "max_tokens": 100}
    answer = chat.create(messages=MESSAGES, tools=[PRICE], **settings)
    called = answer.choices[0].message.tool_calls[0]
    result = [
        {"role": "assistant", "content": None, "tool_calls": [called.model_dump()]},
        {"role": "tool", "tool_call_id": called.id, "content": "SECRET 17"},
    ]
    chat.create(messages=[*MESSAGES, *result], tools=[PRICE], **settings)
    for _ in chat.create(messages=MESSAGES, stream=True, stream_options={"include_usage": True}, **settings):
        pass
    try:
        chat.create(messages=MESSAGES, model="gpt-broken")
    except RateLimitError:
        pass
    else:
        raise AssertionError("the endpoint refuses this model")
    client.embeddings.create(model="text-embedding-3-small", input="SECRET bonds")

"""Read the stream of events in tests: messages as values."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx

from tests.api.served import Api


class Message(NamedTuple):
    """A message of the stream, or with the name `comment` a comment."""

    name: str
    id: int | None
    data: Any


def parsed(lines: Iterator[str]) -> Iterator[Message]:
    """Yield the messages of a stream as they arrive."""
    found: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line and name:
            found[name] = value
        elif line:
            found["comment"] = value
        elif "data" in found or "comment" in found:
            number = int(found["id"]) if "id" in found else None
            kind = "comment" if "comment" in found else found.get("event", "message")
            yield Message(kind, number, json.loads(found["data"]) if "data" in found else found["comment"])
            found = {}
        else:
            found = {}


@contextlib.contextmanager
def stream(
    api: Api, who: str = "compliance", last: int | None = None, base: str | None = None, **query: Any
) -> Iterator[tuple[httpx.Response, Iterator[Message]]]:
    """Open the stream; yield the response and its messages. Closing it is what a follower does that goes away."""
    headers = {"Authorization": f"Bearer {api.tokens[who]}"}
    headers |= {} if last is None else {"Last-Event-ID": str(last)}
    with (
        httpx.Client(timeout=60) as client,
        client.stream("GET", f"{base or api.base}/events/stream", params=query, headers=headers) as response,
    ):
        if response.status_code != 200:
            response.read()
        yield response, parsed(response.iter_lines())


def followed(api: Api, who: str = "compliance", last: int | None = None, **query: Any) -> list[Message]:
    """Return all messages of a stream that ends."""
    with stream(api, who, last, **query) as (response, messages):
        assert response.status_code == 200, response.text
        return list(messages)


def until(messages: Iterator[Message], name: str) -> Message:
    """Read on to the next message with this name."""
    return next(message for message in messages if message.name == name)

"""Get one chat completion from an OpenAI-compatible server: sent once, with a total deadline and a limit on the
answer.

The worker retries, not this module: each attempt is recorded as a model call of its own.
"""

import asyncio
import re
from typing import Annotated, Any

import httpx
from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from api.agents.protocol import AgentUnavailable

MAX_RESPONSE_BYTES = 8 * 2**20
MAX_DETAIL_CHARS = 2000
# Some models put their reasoning before the answer.
THINKING = re.compile(r"\s*<think>(?P<reasoning>.*?)</think>\s*", re.DOTALL)


class Message(BaseModel):
    """The message of a choice. Servers name the reasoning in one of two ways."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class Choice(BaseModel):
    """One answer of the model."""

    finish_reason: str | None = None
    message: Message


class Usage(BaseModel):
    """Token counts."""

    prompt_tokens: NonNegativeInt | None = None
    completion_tokens: NonNegativeInt | None = None


class Completion(BaseModel):
    """The members of a chat completion that are used. Others are ignored."""

    id: str | None = None
    model: str | None = None
    choices: Annotated[list[Choice], Field(min_length=1)]
    usage: Usage = Usage()

    @property
    def text(self) -> str:
        """Return the answer, without any reasoning before it."""
        return THINKING.sub("", self.choices[0].message.content or "", count=1)

    @property
    def reasoning(self) -> str | None:
        """Return the model's reasoning, if the server sends it."""
        message = self.choices[0].message
        in_front = THINKING.match(message.content or "")
        return message.reasoning_content or message.reasoning or (in_front["reasoning"] if in_front else None)

    @property
    def finish_reason(self) -> str | None:
        """Return why the model stopped. A refusal counts as `content_filter`."""
        choice = self.choices[0]
        return "content_filter" if choice.message.refusal else choice.finish_reason


def complete(base_url: str, body: dict[str, Any], *, api_key: str | None, timeout_s: float) -> Completion:
    """Send one request and return the completion. Raises AgentUnavailable.

    It runs an event loop of its own, because agents are asked from threads and only a loop can end a slow read.
    """
    return asyncio.run(_complete(f"{base_url.rstrip('/')}/chat/completions", body, api_key, timeout_s))


async def _complete(url: str, body: dict[str, Any], api_key: str | None, timeout_s: float) -> Completion:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    # The causes are dropped: an httpx error holds the request, and so the key.
    try:
        async with (
            asyncio.timeout(timeout_s),
            httpx.AsyncClient(timeout=timeout_s, headers=headers) as client,
            client.stream("POST", url, json=body) as response,
        ):
            content = await _read(response)
    except (TimeoutError, httpx.TimeoutException):
        raise AgentUnavailable("timeout", f"no complete answer within {timeout_s:g} s") from None
    except httpx.TransportError as error:
        raise AgentUnavailable("unreachable", recordable(f"{type(error).__name__}: {error}")) from None
    except httpx.DecodingError:
        raise AgentUnavailable("unusable-answer", "the content encoding of the answer is broken") from None
    if response.status_code != httpx.codes.OK:
        raise _refused(response, content, api_key)
    try:
        return Completion.model_validate_json(content)
    except ValidationError as error:
        raise AgentUnavailable("unusable-answer", "the answer is not a chat completion") from error


async def _read(response: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_RESPONSE_BYTES:
            raise AgentUnavailable("unusable-answer", f"the answer is longer than {MAX_RESPONSE_BYTES} bytes")
    return bytes(content)


def _refused(response: httpx.Response, content: bytes, api_key: str | None) -> AgentUnavailable:
    """Name the failure by its status, and quote the server without the key."""
    status = response.status_code
    # An exhausted quota also has the status 429, but waiting does not help.
    limited = status == httpx.codes.TOO_MANY_REQUESTS and b"insufficient_quota" not in content
    reason = "rate-limited" if limited else "provider-error" if status >= 500 else "provider-refused"
    text = f"HTTP {status}: {content.decode(errors='replace')}"
    wait = response.headers.get("retry-after", "")
    wait_s = float(wait) if wait.isascii() and wait.isdecimal() and len(wait) < 10 else None
    return AgentUnavailable(reason, recordable(text.replace(api_key, "[key]") if api_key else text), wait_s)


def recordable(text: str, most_chars: int = MAX_DETAIL_CHARS) -> str:
    """Cut a foreign text and replace what the ledger refuses: U+0000 and lone surrogates."""
    return text[:most_chars].encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")

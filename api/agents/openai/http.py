"""One request to an OpenAI-compatible server, through pydantic-ai: sent as recorded, and sent once.

Needs the extra `agents`. Neither pydantic-ai nor the client under it retries: who calls an agent does, and records each
attempt as a call of its own.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
from openai import AsyncOpenAI
from pydantic_ai import direct, exceptions
from pydantic_ai.messages import ModelRequest, ModelResponse, SystemPromptPart, UserPromptPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIChatModelSettings
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

from api.agents.protocol import AgentUnavailable

NO_KEY = "none"  # the client insists on one, and servers without keys ignore it
MAX_RESPONSE_BYTES = 8 * 2**20
MAX_DETAIL = 2000

# The first that fits counts, so the special ones stand first.
REASONS: tuple[tuple[type[exceptions.AgentRunError], str], ...] = (
    (exceptions.ModelRateLimitError, "rate-limited"),
    (exceptions.ModelQuotaExceededError, "provider-refused"),
    (exceptions.ModelRequestRejectedError, "provider-refused"),
    (exceptions.ModelTimeoutError, "timeout"),
    (exceptions.ModelRequestTimeout, "timeout"),
    (exceptions.ModelConnectionError, "unreachable"),
    (exceptions.ModelUnavailableError, "provider-error"),
    (exceptions.ModelServerError, "provider-error"),
    (exceptions.ModelHTTPError, "provider-refused"),
    (exceptions.AgentRunError, "unusable-answer"),
)

# The messages go out as recorded: pydantic-ai adds no schema to them and puts nothing into special tokens.
PROFILE = OpenAIModelProfile(
    supports_json_schema_output=True,
    native_output_requires_schema_in_instructions=False,
    may_tokenize_special_tokens_in_content=False,
    openai_system_prompt_role="system",
    openai_supports_strict_tool_definition=True,
)


@dataclass(frozen=True)
class Question:
    """All that a request consists of, but for the key."""

    model: str
    system: str
    user: str
    schema_name: str
    schema: dict[str, Any]
    settings: OpenAIChatModelSettings

    def differs(self, body: Mapping[str, Any]) -> str | None:
        """The first member of a request's body that is not as it was recorded; None where all are."""
        expected = {
            "model": self.model,
            "messages": [{"role": "system", "content": self.system}, {"role": "user", "content": self.user}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": self.schema_name, "schema": self.schema, "strict": True},
            },
            "temperature": self.settings.get("temperature"),
            "seed": self.settings.get("seed"),
            "max_completion_tokens": self.settings.get("max_tokens"),
        }
        names = [*expected, *(name for name in body if name not in expected and name != "stream")]
        return next((name for name in names if body.get(name) != expected.get(name)), None)


class Wire:
    """Watches one exchange: lets out only what is on record, and once, and takes in a bounded answer."""

    def __init__(self, question: Question) -> None:
        self.problem: str | None = None
        self._question = question
        self._sent = 0

    async def outgoing(self, request: httpx2.Request) -> None:
        """Raises, which ends the exchange before a byte is sent, where the request is not the recorded one."""
        self._sent += 1
        differs = self._question.differs(json.loads(request.content))
        if differs is not None:
            self.problem = f"{differs} would not be sent as it was recorded, so nothing was sent"
        elif self._sent > 1:
            self.problem = "a second request was about to be sent"
        if self.problem is not None:
            raise httpx2.RequestError(self.problem, request=request)

    async def incoming(self, response: httpx2.Response) -> None:
        """Bounds what will be read of the body."""
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = Bounded(response.stream, self, response.request)


class Bounded(httpx2.AsyncByteStream):
    """A response's body that ends in an error where it grows past MAX_RESPONSE_BYTES."""

    def __init__(self, inner: httpx2.AsyncByteStream, wire: Wire, request: httpx2.Request) -> None:
        self._inner, self._wire, self._request = inner, wire, request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._inner:
            size += len(chunk)
            if size > MAX_RESPONSE_BYTES:
                self._wire.problem = f"the answer is longer than {MAX_RESPONSE_BYTES} bytes"
                raise httpx2.ReadError(self._wire.problem, request=self._request)
            yield chunk

    async def aclose(self) -> None:
        """Closes the body."""
        await self._inner.aclose()


def ask(question: Question, *, base_url: str, api_key: str | None, timeout_s: float) -> ModelResponse:
    """One request, one answer, in an event loop of its own: agents are asked from threads. Raises AgentUnavailable."""
    return asyncio.run(_ask(question, base_url, api_key or NO_KEY, timeout_s))


async def _ask(question: Question, base_url: str, api_key: str, timeout_s: float) -> ModelResponse:
    wire = Wire(question)
    http = httpx2.AsyncClient(
        timeout=timeout_s, event_hooks={"request": [wire.outgoing], "response": [wire.incoming]}, follow_redirects=False
    )
    async with AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0, http_client=http) as client:
        provider = OpenAICompatibleProvider("openai-compatible", openai_client=client)
        model = OpenAIChatModel(question.model, provider=provider, profile=PROFILE)
        output = OutputObjectDefinition(json_schema=question.schema, name=question.schema_name, strict=True)
        try:
            return await direct.model_request(
                model,
                [ModelRequest([SystemPromptPart(question.system), UserPromptPart(question.user)])],
                model_settings=OpenAIChatModelSettings(**question.settings, request_timeout=timeout_s),
                model_request_parameters=ModelRequestParameters(output_mode="native", output_object=output),
                instrument=False,
            )
        except exceptions.AgentRunError as error:
            raise _unavailable(error, wire, api_key) from None  # its cause may hold the key
        except (AttributeError, TypeError) as error:  # pydantic-ai trips over choices that are no objects
            raise AgentUnavailable("unusable-answer", "the response is no chat completion") from error


def _unavailable(error: exceptions.AgentRunError, wire: Wire, api_key: str) -> AgentUnavailable:
    if wire.problem is not None:
        reason = "unusable-answer" if wire.problem.startswith("the answer") else "not-as-recorded"
        return AgentUnavailable(reason, wire.problem)
    reason = next(reason for kind, reason in REASONS if isinstance(error, kind))
    words = f"{type(error).__name__}: {error}"
    redacted = words if api_key == NO_KEY else words.replace(api_key, "[key]")
    wait_s = error.retry_after if isinstance(error, exceptions.ModelAPIError) else None
    return AgentUnavailable(reason, recordable(redacted), wait_s)


def recordable(text: str, most: int = MAX_DETAIL) -> str:
    """The start of a text that somebody else wrote, without what the ledger refuses: U+0000 and lone surrogates."""
    return text[:most].encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")

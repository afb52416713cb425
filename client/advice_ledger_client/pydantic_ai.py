"""A pydantic-ai model that records each of its requests in the ledger, before and after (extra `agents`).

    model = RecordedModel(OpenAIChatModel("gpt-5"), client, request_id=7)
    result = await Agent(model, tools=[…]).run("…")
    model.calls[-1].model_call_id        # what the answer came from

Messages are recorded in the format of OpenTelemetry's GenAI conventions, as pydantic-ai itself converts them for its
instrumentation. A request of which the ledger takes no record is not made.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, Literal

from pydantic_ai.messages import InstructionPart, ModelMessage, ModelRequest, ModelResponse
from pydantic_ai.models import KnownModelName, Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext
from pydantic_core import from_json, to_json

from advice_ledger_client.calls import CallReceipt
from advice_ledger_client.clients import AsyncLedgerClient, AsyncModelCall
from api.otlp.allowlist import PARAMETERS
from api.otlp.allowlist import parameters as in_clear
from ledger.proof.format.canonical import canonical

# As of this version, results of tools have the role `tool`, as the conventions have it.
MESSAGE_FORMAT: Literal[6] = 6


class RecordedModel(WrapperModel):
    """`wrapped`, with each request recorded as a model call for the request `request_id`.

    `about` goes to each call as client.model_call takes it: shown, as_of, prompt_name, prompt_version, prompt_sha256,
    agent_version, fail_closed. `parameters` names further model settings to record, such as a provider's own: as they
    are, in clear and for good.
    """

    def __init__(
        self,
        wrapped: Model | KnownModelName,
        client: AsyncLedgerClient,
        request_id: int,
        *,
        parameters: Sequence[str] = (),
        **about: Any,
    ) -> None:
        super().__init__(wrapped)
        # Receipts of the calls so far, in order; failed ones too.
        self.calls: list[CallReceipt] = []
        self._client = client
        self._request_id = request_id
        self._parameters = frozenset(parameters)
        self._about = about
        self._format = InstrumentationSettings(version=MESSAGE_FORMAT)

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """The wrapped model's answer. Raises NotRecorded, and then the model was not asked, or its answer is lost."""
        call = self._call(messages, model_settings, model_request_parameters)
        try:
            async with call:
                response = await self.wrapped.request(messages, model_settings, model_request_parameters)
                self._complete(call, response)
        finally:
            self._keep(call)
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """The wrapped model's stream; completed once it is consumed, failed where it is left before or breaks."""
        call = self._call(messages, model_settings, model_request_parameters)
        try:
            async with call:
                async with self.wrapped.request_stream(
                    messages, model_settings, model_request_parameters, run_context
                ) as stream:
                    yield stream
                response = stream.get()
                if response.state in {"complete", "suspended"}:
                    self._complete(call, response)
                else:
                    call.fail(f"stream-{response.state}", "the stream was left before its end")
        finally:
            self._keep(call)

    def _call(
        self, messages: list[ModelMessage], settings: ModelSettings | None, parameters: ModelRequestParameters
    ) -> AsyncModelCall:
        # Prepared for the record alone: the wrapped model does it again, and doing it twice would change the request.
        settings, parameters = self.wrapped.prepare_request(settings, parameters)
        instructions = _instructions(messages, parameters)
        tools = tool_definitions(parameters)
        return self._client.model_call(
            self._request_id,
            provider_name=self.wrapped.system,
            request_model=self.wrapped.model_name,
            input_messages=_json(self._format.messages_to_otel_messages(messages)),
            system_instructions=[{"type": "text", "content": instructions}] if instructions else None,
            request_parameters=self._recorded_settings(settings),
            tool_definitions_sha256=sha256(canonical(tools)).hexdigest() if tools else None,
            **self._about,
        )

    def _recorded_settings(self, settings: ModelSettings | None) -> dict[str, Any] | None:
        wanted = PARAMETERS | self._parameters
        given: Mapping[str, Any] = _json({name: value for name, value in (settings or {}).items() if name in wanted})
        named = {name: value for name, value in given.items() if name in self._parameters}
        return {**(in_clear(given) or {}), **named} or None

    def _complete(self, call: AsyncModelCall, response: ModelResponse) -> None:
        call.complete(
            _json(self._format.messages_to_otel_messages([response])),
            response_id=response.provider_response_id,
            response_model=response.model_name,
            finish_reasons=[response.finish_reason] if response.finish_reason else None,
            usage_input_tokens=response.usage.input_tokens,
            usage_output_tokens=response.usage.output_tokens,
        )

    def _keep(self, call: AsyncModelCall) -> None:
        if call.receipt is not None:
            self.calls.append(call.receipt)


def tool_definitions(parameters: ModelRequestParameters) -> list[Any]:
    """The tools that the model sees, as the conventions' gen_ai.tool.definitions."""
    found: list[Any] = []
    for tool in (*parameters.function_tools, *parameters.output_tools):
        if parameters.visibility_of(tool.name) == "withheld":
            continue
        optional = {"description": tool.description, "parameters": tool.parameters_json_schema}
        found.append(
            {"type": "function", "name": tool.name, **{name: value for name, value in optional.items() if value}}
        )
    return list(_json(found))


def _instructions(messages: Sequence[ModelMessage], parameters: ModelRequestParameters) -> str | None:
    """What the agent's graph put together; of a request made without one, the newest in the messages."""
    if parameters.instruction_parts is not None:
        return InstructionPart.join(parameters.instruction_parts) or None
    requests = (message for message in reversed(messages) if isinstance(message, ModelRequest))
    return next((request.instructions for request in requests if request.instructions), None)


def _json(value: object) -> Any:
    """As plain JSON: what pydantic-ai holds may be dates, models and the like; NaN becomes a string."""
    return from_json(to_json(value, inf_nan_mode="strings", serialize_unknown=True))

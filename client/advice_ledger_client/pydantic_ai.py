"""A pydantic-ai model that records each of its requests in the ledger, before and after (extra `pydantic-ai`).

    model = RecordedModel(OpenAIChatModel("gpt-5"), client, request_id=7)
    result = await Agent(model, tools=[…]).run("…")
    model.calls[-1].model_call_id        # what the answer came from

Messages are recorded in the format of OpenTelemetry's GenAI conventions, converted by pydantic-ai's own
instrumentation. If the ledger does not record a request, it is not sent to the model.
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

from advice_ledger_client.allowlist import PARAMETERS
from advice_ledger_client.allowlist import parameters as recordable
from advice_ledger_client.async_client import AsyncLedgerClient, AsyncModelCall
from advice_ledger_client.canonical import canonical
from advice_ledger_client.receipts import CallReceipt

# From this version on, tool results have the role `tool`, as the conventions require.
MESSAGE_FORMAT: Literal[6] = 6


class RecordedModel(WrapperModel):
    """Wraps a model and records each of its requests as a model call of the ledger's request `request_id`.

    `about` is passed to client.model_call(): shown, as_of, prompt_name, prompt_version, prompt_sha256, agent_version,
    fail_closed. `parameters` names further model settings to record, such as a provider's own. They are recorded
    unchanged, in clear and for good.
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
        # The receipts of all calls so far, failed ones too, in order.
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
        """Return the wrapped model's response.

        Raises NotRecorded if the start is not recorded, before the model is asked, or if the end is not recorded.
        """
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
        """Stream the wrapped model's response.

        The call is recorded as completed if the stream was read to its end, and as failed otherwise.
        """
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
        # For the record only. The wrapped model prepares the original arguments itself: preparing them twice would
        # change them.
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
        names = PARAMETERS | self._parameters
        values: Mapping[str, Any] = _json({name: value for name, value in (settings or {}).items() if name in names})
        named = {name: value for name, value in values.items() if name in self._parameters}
        return {**recordable(values), **named} or None

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
    """List the tools that the model sees, in the format of gen_ai.tool.definitions."""
    definitions: list[Any] = []
    for tool in (*parameters.function_tools, *parameters.output_tools):
        if parameters.visibility_of(tool.name) == "withheld":
            continue
        optional = {"description": tool.description, "parameters": tool.parameters_json_schema}
        definitions.append(
            {"type": "function", "name": tool.name, **{name: value for name, value in optional.items() if value}}
        )
    return list(_json(definitions))


def _instructions(messages: Sequence[ModelMessage], parameters: ModelRequestParameters) -> str | None:
    """Return the instructions that the agent's graph assembled, or else the newest in the messages."""
    if parameters.instruction_parts is not None:
        return InstructionPart.join(parameters.instruction_parts) or None
    requests = (message for message in reversed(messages) if isinstance(message, ModelRequest))
    return next((request.instructions for request in requests if request.instructions), None)


def _json(value: object) -> Any:
    """Convert to plain JSON. pydantic-ai may hold dates, models and other types; NaN becomes a string."""
    return from_json(to_json(value, inf_nan_mode="strings", serialize_unknown=True))

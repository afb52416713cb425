"""A real pydantic-ai agent whose model records its calls on the running application; no network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from hashlib import sha256
from typing import Any

import pytest
from advice_ledger_client import AsyncLedgerClient, LedgerProblem, NotRecorded
from advice_ledger_client.pydantic_ai import RecordedModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.settings import ModelSettings

from ledger.proof.format.canonical import canonical
from tests.api.served import Api

TestModel.__test__ = False  # pytest would take it for one

TOOL: Any = {
    "type": "function",
    "name": "price",
    "description": "The price of a share.",
    "parameters": {
        "additionalProperties": False,
        "properties": {"symbol": {"type": "string"}},
        "required": ["symbol"],
        "type": "object",
    },
}
INSTRUCTIONS = [{"type": "text", "content": "Be brief."}]
ASKED = {"role": "user", "parts": [{"type": "text", "content": "What is it worth?"}]}
CALLED = {
    "role": "assistant",
    "parts": [{"type": "tool_call", "id": "call-1", "name": "price", "arguments": {"symbol": "X"}}],
}
RETURNED = {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call-1", "name": "price", "result": 1.5}]}
SAID = {"role": "assistant", "parts": [{"type": "text", "content": "It is worth 1.5."}]}


def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """A model that calls the tool, then answers."""
    if len(messages) == 1:
        return ModelResponse([ToolCallPart("price", {"symbol": "X"}, tool_call_id="call-1")])
    return ModelResponse([TextPart("It is worth 1.5.")], provider_response_id="r-2", finish_reason="stop")


async def streamed(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    """The same model, streaming."""
    if len(messages) == 1:
        yield {0: DeltaToolCall("price", '{"symbol": ', tool_call_id="call-1")}
        yield {0: DeltaToolCall(json_args='"X"}', tool_call_id="call-1")}
    else:
        for piece in ("It is ", "worth ", "1.5."):
            yield piece


def agent_with(model: Any) -> Agent[None, str]:
    """An agent with one tool."""
    agent = Agent(model, instructions="Be brief.")

    @agent.tool_plain
    def price(symbol: str) -> float:
        """The price of a share."""
        return 1.5

    return agent


def run(
    api: Api,
    wrapped: Any,
    work: Callable[[RecordedModel], Awaitable[Any]],
    **about: Any,
) -> tuple[RecordedModel, Any]:
    """Return the model, and the result of `work` or the exception that it raised."""

    async def go() -> tuple[RecordedModel, Any]:
        async with AsyncLedgerClient(api.base, api.tokens["agent"]) as client:
            model = RecordedModel(wrapped, client, api.asked(), **about)
            try:
                return model, await work(model)
            except (ValueError, NotRecorded, asyncio.CancelledError) as error:
                return model, error

    return asyncio.run(go())


def recorded(api: Api, model: RecordedModel) -> list[dict[str, Any]]:
    """Read this model's calls from the ledger."""
    return [api.get(f"/model-calls/{call.model_call_id}").json() for call in model.calls]


async def ask(model: RecordedModel) -> str:
    """Run the agent once."""
    settings = ModelSettings(temperature=0.5, max_tokens=100, extra_headers={"Authorization": "secret"})
    return (await agent_with(model).run("What is it worth?", model_settings=settings)).output


async def ask_streaming(model: RecordedModel) -> str:
    """Run the agent once, streaming."""
    async with agent_with(model).run_stream("What is it worth?") as result:
        return await result.get_output()


def test_each_request_to_the_model_is_a_call(api: Api) -> None:
    """A run with a tool asks the model twice: two calls, with exactly the messages of each."""
    model, output = run(api, FunctionModel(scripted, model_name="scripted"), ask, agent_version="a-1", prompt_name="p")
    assert output == "It is worth 1.5."
    first, second = recorded(api, model)
    assert first["started"] == {"input_messages": [ASKED], "system_instructions": INSTRUCTIONS}
    assert first["ended"] == {"output_messages": [CALLED]}
    assert second["started"] == {"input_messages": [ASKED, CALLED, RETURNED], "system_instructions": INSTRUCTIONS}
    assert second["ended"] == {"output_messages": [{**SAID, "finish_reason": "stop"}]}
    for call in (first, second):
        assert (call["state"], call["capture"], call["provider_name"]) == ("completed", "direct", "function")
        assert (call["request_model"], call["response_model"]) == ("scripted", "scripted")
        assert (call["agent_version"], call["prompt_name"]) == ("a-1", "p")
        assert call["tool_definitions_sha256"] == sha256(canonical([TOOL])).hexdigest()
        assert call["request_parameters"] == {"temperature": 0.5, "max_tokens": 100}
        assert call["usage_output_tokens"] > 0
    assert (second["response_id"], second["response_finish_reasons"]) == ("r-2", ["stop"])


def test_the_answer_names_its_call(api: Api) -> None:
    """A recommendation can name the last call, also with pydantic-ai's test model."""

    async def answer(model: RecordedModel) -> int:
        result = await agent_with(model).run("What is it worth?")
        made = await model._client.record_recommendation(
            model._request_id,
            recommendation={"answer": result.output},
            model_name=model.model_name,
            model_call_id=model.calls[-1].model_call_id,
        )
        return made.recommendation_id

    model, recommendation_id = run(api, TestModel(), answer)
    assert [call["recommendation_id"] for call in recorded(api, model)] == [None, recommendation_id]


def test_streams_are_recorded_when_they_are_consumed(api: Api) -> None:
    """A stream records the same messages as a plain request."""
    model, output = run(api, FunctionModel(stream_function=streamed, model_name="scripted"), ask_streaming)
    assert output == "It is worth 1.5."
    first, second = recorded(api, model)
    assert [call["state"] for call in (first, second)] == ["completed", "completed"]
    [called] = first["ended"]["output_messages"]
    assert [part["name"] for part in called["parts"]] == ["price"]
    assert second["ended"]["output_messages"] == [SAID]


def test_a_stream_that_is_left_is_a_failure(api: Api) -> None:
    """A stream that was not read to its end is recorded as failed."""

    async def leave(model: RecordedModel) -> None:
        async with agent_with(model).run_stream("What is it worth?") as result:
            async for _ in result.stream_text(debounce_by=None):
                break

    model, _ = run(api, FunctionModel(stream_function=streamed), leave)
    *_, last = recorded(api, model)
    assert (last["state"], last["ended"].get("output_messages")) == ("failed", None)


@pytest.mark.parametrize("streaming", [False, True])
def test_an_exception_of_the_model_is_recorded_and_raised(api: Api, streaming: bool) -> None:
    """The class is recorded in clear and the message sealed, also if a stream breaks in the middle."""

    def broken(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise ValueError("model broke")

    async def breaking(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        yield "It "
        raise ValueError("model broke")

    wrapped = FunctionModel(stream_function=breaking) if streaming else FunctionModel(broken)
    model, error = run(api, wrapped, ask_streaming if streaming else ask)
    assert isinstance(error, ValueError)
    [call] = recorded(api, model)
    assert (call["state"], call["error_type"]) == ("failed", "ValueError")
    assert call["ended"] == {"detail": "model broke"}


def test_a_request_that_is_not_recorded_is_not_made(api: Api) -> None:
    """The model is not asked if the ledger refuses the start."""
    asked: list[Any] = []

    def never(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked.append(messages)
        return scripted(messages, info)

    async def ask_for_another(model: RecordedModel) -> str:
        model._request_id = 10**6
        return await ask(model)

    model, error = run(api, FunctionModel(never), ask_for_another)
    assert isinstance(error, NotRecorded)
    assert isinstance(error.__cause__, LedgerProblem)
    assert (asked, model.calls, error.__cause__.slug) == ([], [], "request-unknown")


def test_further_settings_are_recorded_by_name(api: Api) -> None:
    """Headers, bodies and free text are never recorded; a provider's own settings are, by name."""
    settings: Any = {"openai_reasoning_effort": "low", "stop_sequences": ["Doe"], "extra_body": {"user": "client-1"}}

    async def work(model: RecordedModel) -> None:
        await agent_with(model).run("What is it worth?", model_settings=settings)

    model, _ = run(api, FunctionModel(scripted), work, parameters=["openai_reasoning_effort"])
    assert recorded(api, model)[0]["request_parameters"] == {"openai_reasoning_effort": "low"}

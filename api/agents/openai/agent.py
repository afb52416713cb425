"""An agent that asks a language model behind any server that speaks the OpenAI chat API. docs/use/agents.md describes it.

Needs the extra `agents`. The API key is held for the request alone: it is in nothing that is recorded, shown or logged.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from api.agents.house_policy import load_policy
from api.agents.limits import check_request, read_limits
from api.agents.openai import answer as openai_answer
from api.agents.prompt import as_shown, canonical_text, user_message
from api.agents.protocol import JSON, AgentAnswer, AgentRequest, AgentUnavailable
from api.extras import needs_extra
from ledger.domain.answer_schemas import ALLOCATIONS
from ledger.proof.format.canonical import NotCanonical, canonical
from schema.events import CallResult, CallStart

if TYPE_CHECKING:
    from pydantic_ai.messages import ModelResponse
    from pydantic_ai.models.openai import OpenAIChatModelSettings

    from api.agents.openai.http import Question

NAME = "openai-compatible"
RULES_VERSION = "1.0.0"
SCHEMA_NAME = "allocation"
GRACE_S = 5.0
MAX_NAME = 200  # schema.fields.Name
HEADING = re.compile(r"prompt: (?P<name>\S+) (?P<version>\S+)\n")


@dataclass(frozen=True)
class Prompt:
    """A prompt file: its name and version stand in its first line, and the rest is what is sent."""

    name: str
    version: str
    sha256: str
    text: str


def load_prompt(name: str = "allocation") -> Prompt:
    """The packaged prompt; `sha256` is of the whole file."""
    raw = files("api.agents").joinpath("prompts", f"{name}.md").read_bytes()
    heading = HEADING.match(raw.decode())
    assert heading is not None, "a prompt file begins with `prompt: NAME VERSION`"
    return Prompt(heading["name"], heading["version"], hashlib.sha256(raw).hexdigest(), raw.decode()[heading.end() :])


class OpenAICompatibleAgent:
    """Asks `model` at `base_url` (ending in /v1, mostly) for weights by asset class. Safe in threads.

    One `answer` is one request. `temperature` and `seed` are sent where given. `timeout_s` bounds the whole exchange;
    the agent's own `timeout_s` is a little longer, so that its reason comes first.
    """

    name: str = NAME
    answer_schema: str = ALLOCATIONS
    deterministic: bool = False

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: SecretStr | str | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        max_tokens: int | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        """Raises ValueError for an address that cannot be recorded as it is, MissingExtra without the extra."""
        with needs_extra("advice-ledger[agents]"):
            from api.agents.openai import http  # noqa: PLC0415 - an extra, and slow to import
        self._wire = http
        self._policy, self._prompt = load_policy(), load_prompt()
        self._base_url, self._model = _address(base_url), model
        self._api_key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        self._settings: dict[str, Any] = _given(temperature=temperature, seed=seed, max_tokens=max_tokens)
        self._request_timeout_s = timeout_s
        self._schema = openai_answer.schema(self._policy)
        self.timeout_s: float = timeout_s + GRACE_S
        self.version: str = f"{RULES_VERSION}+prompt.{self._prompt.version}.model.{model}"

    def prepare(self, request: AgentRequest) -> CallStart:
        """The instructions, the request and the history as one document. Raises AgentRefused where that is no JSON."""
        return CallStart(
            provider_name=NAME,
            operation_name="chat",
            request_model=self._model,
            request_parameters=self._parameters(),
            system_instructions=[{"type": "text", "content": self._prompt.text}],
            input_messages=user_message(self._document(request)),
            prompt_name=self._prompt.name,
            prompt_version=self._prompt.version,
            prompt_sha256=self._prompt.sha256,
        )

    def answer(self, request: AgentRequest, call: CallStart) -> AgentAnswer:
        """Sends the messages of `call`. Raises AgentRefused for what no answer could meet, AgentUnavailable else."""
        check_request(request)
        limits = read_limits(self._policy, request.constraints)
        key = self._api_key.get_secret_value() if self._api_key else None
        response = self._wire.ask(
            self._question(call), base_url=self._base_url, api_key=key, timeout_s=self._request_timeout_s
        )
        text = self._text(response)
        try:
            proposal = openai_answer.read(text, self._policy, limits)
        except openai_answer.Unusable as error:
            raise self._unusable(str(error), text) from error
        return self._answer(openai_answer.recommendation(proposal, self._policy, request), response)

    def _parameters(self) -> dict[str, JSON]:
        settings = {name: value if isinstance(value, int) else str(value) for name, value in self._settings.items()}
        schema_sha256 = hashlib.sha256(canonical(self._schema)).hexdigest()
        return {**settings, "base_url": self._base_url, "output_type": "json", "output_schema_sha256": schema_sha256}

    def _document(self, request: AgentRequest) -> str:
        classes = [{"name": each.name, "label": each.label, "equity": each.equity} for each in self._policy.classes]
        return f"<data>\n{fenced(canonical_text({'asset_classes': classes, **as_shown(request)}))}\n</data>"

    def _question(self, call: CallStart) -> "Question":
        settings: OpenAIChatModelSettings = {**self._settings}  # type: ignore[typeddict-item]
        return self._wire.Question(
            model=call.request_model,
            system=_only_text(call.system_instructions),
            user=_only_text(call.input_messages),
            schema_name=SCHEMA_NAME,
            schema=self._schema,
            settings=settings,
        )

    def _text(self, response: "ModelResponse") -> str:
        """What the model said. Cut short, kept back, or not to be recorded: AgentUnavailable."""
        text = response.text or ""
        if response.finish_reason == "length":
            raise self._unusable("cut short by the limit on its length", text)
        if response.finish_reason == "content_filter":
            raise AgentUnavailable("model-refused", "the provider's filter, or the model itself, kept the answer back")
        raw: Any = _output_messages(response)
        try:
            canonical(raw)
        except NotCanonical as error:
            raise self._unusable(f"not to be recorded: {error.reason}", text) from error
        return text

    def _unusable(self, why: str, text: str) -> AgentUnavailable:
        return AgentUnavailable("unusable-answer", self._wire.recordable(f"{why}. The answer was: {text}"))

    def _answer(self, recommendation: dict[str, JSON], response: "ModelResponse") -> AgentAnswer:
        return AgentAnswer(
            recommendation=recommendation,
            model_name=self._model,
            model_version=self.version,
            parameters=self._parameters(),
            result=CallResult(
                output_messages=_output_messages(response),
                response_id=self._name(response.provider_response_id),
                response_model=self._name(response.model_name),
                response_finish_reasons=[response.finish_reason] if response.finish_reason else None,
                usage_input_tokens=response.usage.input_tokens or None,  # pydantic-ai has 0 where the server told none
                usage_output_tokens=response.usage.output_tokens or None,
            ),
        )

    def _name(self, given: str | None) -> str | None:
        """A name that the server chose, as far as it may be recorded."""
        return self._wire.recordable(given, MAX_NAME) if given else None


def fenced(document: str) -> str:
    """Canonical JSON in which no string can close the fence around it or spell a model's control token.

    `<`, `>` and a bracket before a capital or a slash, as in [INST], stand in strings only: they become escapes of
    JSON, and the document means the same.
    """
    escaped = document.replace("<", "\\u003c").replace(">", "\\u003e")
    return re.sub(r"\[(?=[/A-Z])", r"\\u005b", escaped)


def _address(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("base_url is not an http or https address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("base_url is recorded, so it must not carry a user, a password or a query")
    return base_url


def _given(**settings: object) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _only_text(recorded: object) -> str:
    """The text of what `prepare` made: one message with one part, or one part."""
    match recorded:
        case [{"parts": [{"type": "text", "content": str(text)}]}] | [{"type": "text", "content": str(text)}]:
            return text
    raise ValueError("this call was not prepared by this agent")


def _output_messages(response: "ModelResponse") -> JSON:
    """What the model gave back, as OpenTelemetry's gen_ai.output.messages has it: reasoning too, where it was told."""
    kinds = {"text": "text", "thinking": "reasoning"}
    parts: list[JSON] = [
        {"type": kinds[part.part_kind], "content": part.content}
        for part in response.parts
        if part.part_kind in {"text", "thinking"}
    ]
    return [{"role": "assistant", "parts": parts, "finish_reason": response.finish_reason}]

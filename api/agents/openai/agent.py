"""Ask a language model behind any server that speaks the OpenAI chat API. See docs/use/agents.md.

The API key is held only for the request: it is never recorded, shown or logged.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from api.agents.house_policy import load_policy
from api.agents.limits import check_request, read_limits
from api.agents.openai import answer as openai_answer
from api.agents.openai.http import Completion, complete, recordable
from api.agents.prompt import as_shown, canonical_text, user_message
from api.agents.protocol import JSON, AgentAnswer, AgentRequest, AgentUnavailable
from ledger.domain.answer_schemas import ALLOCATIONS
from ledger.proof.format.canonical import NotCanonical, canonical
from schema.events import CallResult, CallStart

NAME = "openai-compatible"
RULES_VERSION = "1.0.0"
SCHEMA_NAME = "allocation"
GRACE_S = 5.0
MAX_NAME_CHARS = 200  # schema.fields.Name
HEADING = re.compile(r"prompt: (?P<name>\S+) (?P<version>\S+)\n")


@dataclass(frozen=True)
class Prompt:
    """A prompt file. Its first line has the name and version; the rest is sent. `sha256` is of the whole file."""

    name: str
    version: str
    sha256: str
    text: str


def load_prompt(name: str = "allocation") -> Prompt:
    """Load a packaged prompt."""
    raw = files("api.agents").joinpath("prompts", f"{name}.md").read_bytes()
    heading = HEADING.match(raw.decode())
    assert heading is not None, "a prompt file begins with `prompt: NAME VERSION`"
    return Prompt(heading["name"], heading["version"], hashlib.sha256(raw).hexdigest(), raw.decode()[heading.end() :])


class OpenAICompatibleAgent:
    """Asks `model` at `base_url`, which usually ends in /v1, for weights by asset class. Safe in threads.

    One `answer` is one request. `temperature`, `seed` and `max_tokens` are sent if set. `timeout_s` bounds the whole
    exchange; the agent's own `timeout_s` is longer, so that the reason of the exchange is recorded.
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
        """Raises ValueError if the address cannot be recorded."""
        self._policy, self._prompt = load_policy(), load_prompt()
        self._base_url, self._model = _checked_address(base_url), model
        self._api_key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        settings = {"temperature": temperature, "seed": seed, "max_tokens": max_tokens}
        self._settings = {name: value for name, value in settings.items() if value is not None}
        self._request_timeout_s = timeout_s
        self._schema = openai_answer.schema(self._policy)
        self.timeout_s: float = timeout_s + GRACE_S
        self.version: str = f"{RULES_VERSION}+prompt.{self._prompt.version}.model.{model}"

    def prepare(self, request: AgentRequest) -> CallStart:
        """Return the call with instructions, request and history. Raises AgentRefused if these are not JSON."""
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
        """Send the messages of `call`. Raises AgentRefused if no answer could be right, or else AgentUnavailable."""
        check_request(request)
        limits = read_limits(self._policy, request.constraints)
        key = self._api_key.get_secret_value() if self._api_key else None
        completion = complete(self._base_url, self._body(call), api_key=key, timeout_s=self._request_timeout_s)
        text = self._checked_text(completion)
        try:
            answer = openai_answer.read(text, self._policy, limits)
        except openai_answer.Unusable as error:
            raise self._unusable(str(error), text) from error
        return self._answer(openai_answer.recommendation(answer, self._policy, request), completion)

    def _parameters(self) -> dict[str, JSON]:
        """Return the settings to record: floats as decimal strings, as everywhere else in the ledger."""
        settings = {name: value if isinstance(value, int) else str(value) for name, value in self._settings.items()}
        schema_sha256 = hashlib.sha256(canonical(self._schema)).hexdigest()
        return {**settings, "base_url": self._base_url, "output_type": "json", "output_schema_sha256": schema_sha256}

    def _document(self, request: AgentRequest) -> str:
        classes = [{"name": each.name, "label": each.label, "equity": each.equity} for each in self._policy.classes]
        return f"<data>\n{fenced(canonical_text({'asset_classes': classes, **as_shown(request)}))}\n</data>"

    def _body(self, call: CallStart) -> dict[str, Any]:
        """Return the request to send: the recorded messages, and the recorded settings by the API's names."""
        names = {"max_tokens": "max_completion_tokens"}
        return {
            "model": call.request_model,
            "messages": [
                {"role": "system", "content": _only_text(call.system_instructions)},
                {"role": "user", "content": _only_text(call.input_messages)},
            ],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": SCHEMA_NAME, "schema": self._schema, "strict": True},
            },
            **{names.get(name, name): value for name, value in self._settings.items()},
        }

    def _checked_text(self, completion: Completion) -> str:
        """Return the model's answer. Raises AgentUnavailable if it is cut short, withheld, or cannot be recorded."""
        text = completion.text
        if completion.finish_reason == "length":
            raise self._unusable("cut short by the limit on its length", text)
        if completion.finish_reason == "content_filter":
            raise AgentUnavailable("model-refused", "the provider's filter, or the model itself, withheld the answer")
        messages: Any = _output_messages(completion)
        try:
            canonical(messages)
        except NotCanonical as error:
            raise self._unusable(f"cannot be recorded: {error.reason}", text) from error
        return text

    def _unusable(self, why: str, text: str) -> AgentUnavailable:
        return AgentUnavailable("unusable-answer", recordable(f"{why}. The answer was: {text}"))

    def _answer(self, recommendation: dict[str, JSON], completion: Completion) -> AgentAnswer:
        finish_reason = completion.finish_reason
        return AgentAnswer(
            recommendation=recommendation,
            model_name=self._model,
            model_version=self.version,
            parameters=self._parameters(),
            result=CallResult(
                output_messages=_output_messages(completion),
                response_id=self._name(completion.id),
                response_model=self._name(completion.model),
                response_finish_reasons=[finish_reason[:MAX_NAME_CHARS]] if finish_reason else None,
                usage_input_tokens=completion.usage.prompt_tokens,
                usage_output_tokens=completion.usage.completion_tokens,
            ),
        )

    def _name(self, name: str | None) -> str | None:
        """Make a name that the server chose recordable."""
        return recordable(name, MAX_NAME_CHARS) if name else None


def fenced(document: str) -> str:
    """Escape canonical JSON so that no string can close the fence around it or spell a model's control token.

    `<`, `>` and a bracket before a capital or a slash, as in [INST], occur only within strings. They become JSON
    escapes, and the document keeps its meaning.
    """
    escaped = document.replace("<", "\\u003c").replace(">", "\\u003e")
    return re.sub(r"\[(?=[/A-Z])", r"\\u005b", escaped)


def _checked_address(base_url: str) -> str:
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("base_url is not an http or https address")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("base_url is recorded, so it must not contain a user, a password or a query")
    return base_url


def _only_text(content: object) -> str:
    """Return the text that `prepare` put into a call: one message with one part, or one part."""
    match content:
        case [{"parts": [{"type": "text", "content": str(text)}]}] | [{"type": "text", "content": str(text)}]:
            return text
    raise ValueError("this call was not prepared by this agent")


def _output_messages(completion: Completion) -> JSON:
    """Return the answer in the format of OpenTelemetry's gen_ai.output.messages, with the reasoning if there is any."""
    contents = {"reasoning": completion.reasoning, "text": completion.text}
    parts: list[JSON] = [{"type": kind, "content": content} for kind, content in contents.items() if content]
    return [{"role": "assistant", "parts": parts, "finish_reason": completion.finish_reason}]

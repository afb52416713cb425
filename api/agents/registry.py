"""Agents by name: the one to serve with, and the one that answered, for a replay."""

import re
from collections.abc import Callable
from datetime import date
from typing import Any

from api.agents.builtin import agent as builtin
from api.agents.openai import agent as openai_compatible
from api.agents.optimiser import agent as optimiser
from api.agents.protocol import Agent

UNTIL = re.compile(r"\.assets\.(?P<assets>\d{1,3})\.until\.(?P<until>\d{4}-\d\d-\d\d)$")

AGENTS: dict[str, Callable[..., Agent]] = {
    "builtin": builtin.BuiltinAgent,
    "optimiser": optimiser.OptimiserAgent,
    "openai": openai_compatible.OpenAICompatibleAgent,
}
RECORDED = {builtin.NAME: "builtin", optimiser.NAME: "optimiser", openai_compatible.NAME: "openai"}


class UnknownAgent(Exception):
    """No agent of this name, or not in this version; the message says what there is."""


def make_agent(name: str, **options: Any) -> Agent:
    """The agent that `advice-ledger serve --agent NAME` runs; `options` are those of its class.

    Raises UnknownAgent, MissingExtra (an extra is not installed), ValueError or TypeError (an option is not as it must
    be).
    """
    if name not in AGENTS:
        raise UnknownAgent(f"there is no agent {name!r:.80}; there are {', '.join(AGENTS)}")
    return AGENTS[name](**options)


def agent_for(name: str, version: str, **options: Any) -> Agent:
    """The agent that recorded calls under this name and version; `options` give what the version does not say.

    That is the server of the agent `openai`: its base_url, model, key and settings. Raises UnknownAgent, and what
    make_agent raises.
    """
    short = RECORDED.get(name)
    if short is None:
        raise UnknownAgent(f"there is no agent {name!r:.80} here; there are {', '.join(RECORDED)}")
    if short == "optimiser" and (said := UNTIL.search(version)):
        options = _optimiser_options(version, said) | options
    agent = make_agent(short, **options)
    if agent.version != version:
        raise UnknownAgent(f"{name} {version!r:.200} cannot be run here; what is here is {agent.version}")
    return agent


def _optimiser_options(version: str, said: re.Match[str]) -> dict[str, Any]:
    try:
        return {"until": date.fromisoformat(said["until"]), "assets": int(said["assets"])}
    except ValueError as error:
        raise UnknownAgent(f"{version!r:.200} is no version of {optimiser.NAME}: {error}") from error

"""Make an agent by its short name, to serve, or by its recorded name and version, to replay."""

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
    """There is no agent of this name or version; the message lists the known ones."""


def make_agent(name: str, **options: Any) -> Agent:
    """Make the agent that `advice-ledger serve --agent NAME` runs; `options` are those of its class.

    Raises UnknownAgent, MissingExtra if an extra is not installed, and ValueError or TypeError for a wrong option.
    """
    if name not in AGENTS:
        raise UnknownAgent(f"there is no agent {name!r:.80}; the agents are {', '.join(AGENTS)}")
    return AGENTS[name](**options)


def agent_for(name: str, version: str, **options: Any) -> Agent:
    """Make the agent that recorded calls under this name and version.

    `options` adds what the version does not contain: for the agent `openai` base_url, model, key and settings. Raises
    UnknownAgent, and the exceptions of make_agent.
    """
    short = RECORDED.get(name)
    if short is None:
        raise UnknownAgent(f"there is no agent {name!r:.80}; the agents are {', '.join(RECORDED)}")
    if short == "optimiser" and (match := UNTIL.search(version)):
        options = _optimiser_options(version, match) | options
    agent = make_agent(short, **options)
    if agent.version != version:
        raise UnknownAgent(f"{name} {version!r:.200} cannot be run; the installed version is {agent.version}")
    return agent


def _optimiser_options(version: str, match: re.Match[str]) -> dict[str, Any]:
    try:
        return {"until": date.fromisoformat(match["until"]), "assets": int(match["assets"])}
    except ValueError as error:
        raise UnknownAgent(f"{version!r:.200} is not a version of {optimiser.NAME}: {error}") from error

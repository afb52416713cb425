"""Options that choose an agent, and what they make: for serving, and for a replay."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Annotated, Any, Literal

import typer
from pydantic import SecretStr

from api.agents.protocol import Agent
from api.agents.registry import UnknownAgent, make_agent
from api.cli.shared import CannotRun
from api.extras import MissingExtra

# From the environment alone: a command line shows in process lists.
API_KEY = "ADVICE_LEDGER_AGENT_API_KEY"

Name = Literal["builtin", "optimiser", "openai"]

AgentName = Annotated[
    Name,
    typer.Option(
        "--agent",
        envvar="ADVICE_LEDGER_AGENT",
        help="Which agent the worker asks. optimiser needs the extra optimise.",
    ),
]
AgentUrl = Annotated[
    str | None,
    typer.Option(
        "--agent-url",
        envvar="ADVICE_LEDGER_AGENT_URL",
        metavar="URL",
        show_default=False,
        help=f"Of the agent openai: where its server is; mostly ends in /v1. A key is taken from {API_KEY}.",
    ),
]
AgentModel = Annotated[
    str | None,
    typer.Option(
        "--agent-model",
        envvar="ADVICE_LEDGER_AGENT_MODEL",
        metavar="NAME",
        show_default=False,
        help="Of the agent openai: the model to ask.",
    ),
]
AgentUntil = Annotated[
    datetime | None,
    typer.Option(
        "--agent-until",
        envvar="ADVICE_LEDGER_AGENT_UNTIL",
        formats=["%Y-%m-%d"],
        metavar="YYYY-MM-DD",
        show_default=False,
        help="Of the agent optimiser: use the prices known on that day. Default: the last day that there is.",
    ),
]

# The options of each agent, as its class names them.
TAKES: dict[Name, tuple[str, ...]] = {"builtin": (), "optimiser": ("until",), "openai": ("base_url", "model")}
OPTIONS = {"base_url": "--agent-url", "model": "--agent-model", "until": "--agent-until"}


def server(url: str | None, model: str | None) -> dict[str, Any]:
    """What is given of the agent openai, with the key from the environment."""
    key = os.environ.get(API_KEY)
    given = {"base_url": url, "model": model, "api_key": SecretStr(key) if key else None}
    return {name: value for name, value in given.items() if value is not None}


def make(name: Name, url: str | None, model: str | None, until: datetime | None) -> Agent:
    """The agent to serve with. Raises CannotRun for what it lacks, and for options that are another agent's."""
    options = server(url, model) if name == "openai" else {}
    given = {"base_url": url, "model": model, "until": until and until.date()}
    for option, value in given.items():
        if value is not None and option not in TAKES[name]:
            raise CannotRun(f"{OPTIONS[option]} is no option of the agent {name}")
        if value is not None:
            options[option] = value
    if name == "openai" and len(options.keys() & TAKES[name]) < len(TAKES[name]):
        raise CannotRun("the agent openai needs --agent-url and --agent-model")
    try:
        return make_agent(name, **options)
    except (MissingExtra, UnknownAgent, ValueError) as error:
        raise CannotRun(f"the agent {name} cannot be used: {error}") from error

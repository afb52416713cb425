"""Agents by short name, to serve, and by recorded name and version, to replay."""

import subprocess
import sys
from datetime import date
from typing import Any

import pytest

from api.agents.optimiser import prices
from api.agents.registry import RECORDED, UnknownAgent, agent_for, make_agent
from api.extras import MissingExtra
from ledger.domain import answer_schemas
from tests.paths import ROOT

OPTIONS: dict[str, dict[str, Any]] = {
    "builtin": {},
    "optimiser": {"until": date(2015, 12, 31), "assets": 5},
    "openai": {"base_url": "http://127.0.0.1:1/v1", "model": "some/model:7b"},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_recorded_name_and_version_make_the_agent(name: str) -> None:
    """Name and version lead to an agent of that version; only a server's address must be added."""
    agent = make_agent(name, **OPTIONS[name])
    assert RECORDED[agent.name] == name
    assert agent.answer_schema in answer_schemas.SCHEMAS
    again = agent_for(agent.name, agent.version, **(OPTIONS[name] if name == "openai" else {}))
    assert (again.name, again.version, type(again)) == (agent.name, agent.version, type(agent))
    assert len(agent.version) <= 200


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("builtin-model-portfolios", "1.0.0+policy.1.0.0"),
        ("skfolio-optimiser", "1.0.0+sp500.00000000.assets.20.until.2015-12-31"),
        ("skfolio-optimiser", "1.0.0+sp500.00000000.assets.20.until.2015-02-31"),
        ("skfolio-optimiser", ""),
    ],
)
def test_other_versions_are_not_passed_off(name: str, version: str) -> None:
    """An answer is replayed by its own version or not at all."""
    with pytest.raises(UnknownAgent):
        agent_for(name, version)


def test_another_model_is_not_passed_off() -> None:
    """The model is part of the version of an agent that asks one."""
    agent = make_agent("openai", **OPTIONS["openai"])
    with pytest.raises(UnknownAgent, match="some/model:7b"):
        agent_for(agent.name, agent.version, base_url="http://127.0.0.1:1/v1", model="other")


def test_an_unknown_name_gets_the_list_of_names() -> None:
    """The message lists the names."""
    with pytest.raises(UnknownAgent, match="builtin, optimiser, openai"):
        make_agent("oracle")
    with pytest.raises(UnknownAgent, match="builtin-model-portfolios, skfolio-optimiser, openai-compatible"):
        agent_for("oracle", "1")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the message has the command that installs it."""
    monkeypatch.setitem(sys.modules, "skfolio.datasets", None)
    prices.load_table.cache_clear()
    with pytest.raises(MissingExtra, match=r"pip install 'advice-ledger\[optimise\]'"):
        make_agent("optimiser")


def test_extras_are_not_loaded_before_they_are_needed() -> None:
    """Serving with the built-in agent does not import the optimiser's packages."""
    script = (
        "import sys, api.agents.registry as c; c.make_agent('builtin');"
        "sys.exit(bool({'skfolio', 'pandas', 'numpy'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0

"""docs/use/builtin-agent.md and docs/use/agents.md agree with the code: examples, refusals and constraints."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from api.agents import limits, prompt, registry
from api.agents.builtin import agent as builtin
from api.agents.builtin.agent import BuiltinAgent
from api.agents.limits import CONSTRAINTS
from api.agents.openai import agent as openai_compatible
from api.agents.openai import http
from api.agents.optimiser import agent as optimiser
from api.agents.protocol import Agent, AgentRequest
from ledger.domain import answer_schemas
from tests.api.agents.asking import ask
from tests.paths import DOCS

DOC = (DOCS / "use/builtin-agent.md").read_text()
AGENTS_DOC = (DOCS / "use/agents.md").read_text()


def test_the_example_is_what_the_agent_answers() -> None:
    """The allocation on the page is in the answer to the request described above it."""
    constraints = {"exclude_asset_classes": ["real_estate"], "max_equity": "0.40", "min_cash": "0.10"}
    request = AgentRequest(1, "balanced", Decimal("250000.01"), 7, constraints=constraints)
    printed = re.search(r"```json\n(.*?)```", DOC, re.DOTALL)
    assert printed is not None
    allocations: Any = ask(BuiltinAgent(), request).recommendation["allocations"]
    assert json.loads(printed[1]) in allocations


def test_every_member_constraint_and_refusal_is_listed() -> None:
    """The page lists exactly the constraints, members and reasons of the code."""
    documented = set(re.findall(r"^\| `([a-z-]+)` \|", DOC.split("## Refusals")[1], re.MULTILINE))
    sources = [Path(str(module.__file__)).read_text() for module in (builtin, limits, prompt)]
    raised = {reason for source in sources for reason in re.findall(r'AgentRefused\(\s*"([a-z-]+)"', source)}
    assert documented == raised
    answer = ask(BuiltinAgent(), AgentRequest(1, "balanced", Decimal(1)))
    assert all(f"`{name}`" in DOC for name in [*CONSTRAINTS, *answer.recommendation])


# --- docs/use/agents.md -------------------------------------------------------------------------------------------


def test_the_agent_written_in_the_page_works() -> None:
    """The example is an agent, and its answer keeps its schema."""
    source = re.search(r"```python\n(.*?)```", AGENTS_DOC, re.DOTALL)
    assert source is not None
    found: dict[str, Any] = {}
    exec(source[1], found)  # noqa: S102 - a page of this repository
    agent: Agent = found["AllCash"]()
    answer = ask(agent, AgentRequest(1, "balanced", Decimal("10.50")))
    answer_schemas.check(agent.answer_schema, answer.recommendation, Decimal("10.50"))


def test_every_agent_and_every_reason_is_listed() -> None:
    """The page lists each agent, and each reason of the agent for language models."""
    assert all(f"| `{short}` | `{name}` |" in AGENTS_DOC for name, short in registry.RECORDED.items())
    documented = set(re.findall(r"^\| `([a-z][a-z-]+)` \| (?!`)", AGENTS_DOC, re.MULTILINE))
    sources = [Path(str(module.__file__)).read_text() for module in (openai_compatible, http)]
    by_status = {"rate-limited", "provider-error", "provider-refused"}
    assert all(f'"{reason}"' in sources[1] for reason in by_status)
    named = {reason for source in sources for reason in re.findall(r'AgentUnavailable\("([a-z-]+)"', source)}
    assert documented == named | by_status


def test_the_table_of_the_optimiser_is_its_own() -> None:
    """The table has each profile and its part in stocks."""
    for profile, objective in optimiser.OBJECTIVES.items():
        assert f"| {profile} | {objective.stocks:.2f} | " in AGENTS_DOC

"""docs/agent.md says what the agent does: its example, its refusals and its constraints are those of the code."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from api.agents import builtin, limits, prompt
from api.agents.builtin import BuiltinAgent
from api.agents.limits import CONSTRAINTS
from api.agents.protocol import AgentRequest
from tests.api.agents.asking import ask

DOC = (Path(__file__).parents[3] / "docs" / "agent.md").read_text()


def test_the_example_is_what_the_agent_answers() -> None:
    """The allocation printed in the page is in the answer to the request described above it."""
    constraints = {"exclude_asset_classes": ["real_estate"], "max_equity": "0.40", "min_cash": "0.10"}
    request = AgentRequest(1, "balanced", Decimal("250000.01"), 7, constraints=constraints)
    printed = re.search(r"```json\n(.*?)```", DOC, re.DOTALL)
    assert printed is not None
    allocations: Any = ask(BuiltinAgent(), request).recommendation["allocations"]
    assert json.loads(printed[1]) in allocations


def test_every_member_constraint_and_refusal_is_listed() -> None:
    """Every constraint, member of an answer and reason is on the page, and no reason that is never given."""
    documented = set(re.findall(r"^\| `([a-z-]+)` \|", DOC.split("## Refusals")[1], re.MULTILINE))
    sources = [Path(str(module.__file__)).read_text() for module in (builtin, limits, prompt)]
    raised = {reason for source in sources for reason in re.findall(r'AgentRefused\(\s*"([a-z-]+)"', source)}
    assert documented == raised
    answer = ask(BuiltinAgent(), AgentRequest(1, "balanced", Decimal(1)))
    assert all(f"`{name}`" in DOC for name in [*CONSTRAINTS, *answer.recommendation])

"""docs/use/client.md and model-calls.md: the examples print what the page shows, and the tables match the code."""

from __future__ import annotations

import contextlib
import io
import re
from typing import Any

from advice_ledger_client import LedgerClient, errors
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.semconv.version import __version__ as semconv_version

from api.otlp.mapper import MAPPER_VERSION, MODEL_OPERATIONS, OTHER_OPERATIONS
from schema.events import ModelCallCompleted, ModelCallFailed, ModelCallStarted
from tests.api.served import Api
from tests.paths import DOCS

CLIENT = (DOCS / "use/client.md").read_text("utf-8")
CALLS = (DOCS / "use/model-calls.md").read_text("utf-8")


def test_the_examples_print_what_the_page_shows(fresh_api: Api) -> None:
    """Each block of Python, run in order on a fresh ledger, prints the text block that follows it."""
    names: dict[str, Any] = {}
    for code, _, said in re.findall(r"```python\n(.*?)```(\n\n```text\n(.*?)```)?", CLIENT, re.DOTALL):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(as_served(code, fresh_api), names)  # noqa: S102 (the examples are ours)
        assert out.getvalue() == said, code


def as_served(code: str, api: Api) -> str:
    """Put the test server's address and tokens into an example."""
    for role, token in api.tokens.items():
        code = code.replace(f"<the {role} token>", token)
    return code.replace("http://127.0.0.1:8000", api.base)


def test_every_operation_and_exception_is_documented() -> None:
    """Each operation is in the table, each exception in the text."""
    operations = [name for name in vars(LedgerClient) if not name.startswith("_")]
    assert [name for name in operations if f"`{name}(" not in CLIENT] == []
    raised = [
        name for name, found in vars(errors).items() if isinstance(found, type) and found.__module__ == errors.__name__
    ]
    assert [name for name in raised if f"`{name}`" not in CLIENT] == []


def test_every_field_is_in_the_table() -> None:
    """The table has exactly the fields of the three events, marks the sealed ones, and names existing attributes."""
    rows = {
        name: line
        for line in CALLS.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    kinds = (ModelCallStarted, ModelCallCompleted, ModelCallFailed)
    fields = {name for kind in kinds for name in kind.model_fields}
    assert rows.keys() == fields
    sealed = {name for kind in kinds for name in kind.sealed}
    assert {name for name, line in rows.items() if line.endswith("sealed |")} == sealed
    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    named = set(re.findall(r"`(gen_ai\.[a-z_.]+)`", "\n".join(rows.values())))
    assert named - known == set()


def test_the_versions_are_the_ones_documented() -> None:
    """The page names the versions of the conventions and of the mapping, and all known operations."""
    newest = max(tuple(map(int, schema.value.rpartition("/")[2].split("."))) for schema in Schemas)
    assert f"release {'.'.join(map(str, newest))}" in CALLS
    assert f"`opentelemetry-semantic-conventions` {semconv_version}" in CALLS
    assert f"`{MAPPER_VERSION}`" in CALLS
    assert [name for name in MODEL_OPERATIONS | OTHER_OPERATIONS if f"`{name}`" not in CALLS] == []

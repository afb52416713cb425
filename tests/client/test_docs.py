"""Pages on the client, on model calls and on OpenTelemetry: examples print what is shown, tables match the code."""

from __future__ import annotations

import contextlib
import io
import json
import re
from typing import Any

from advice_ledger_client import LedgerClient, errors
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.semconv.version import __version__ as semconv_version

from api.otlp.call_members import MAPPER_VERSION
from api.otlp.dialects import gen_ai, langfuse, mlflow, openinference, vercel
from schema.events import ModelCallCompleted, ModelCallFailed, ModelCallStarted
from tests.api.otlp.instrumentors.instrumentors import HERE, INSTRUMENTORS
from tests.api.served import Api
from tests.pages import code, table_with
from tests.paths import DOCS

CLIENT = (DOCS / "use/client.md").read_text("utf-8")
CALLS = (DOCS / "use/model-calls.md").read_text("utf-8")
OTEL = (DOCS / "use/opentelemetry.md").read_text("utf-8")
# In semantic-conventions-genai 0.1.0, and not in the package yet.
NEWER = {"gen_ai.prompt.version", "gen_ai.usage.cache_write.input_tokens"}


def test_the_examples_print_what_the_page_shows(fresh_api: Api) -> None:
    """Each block of Python, run in order on a fresh ledger, prints the text block that follows it."""
    names: dict[str, Any] = {}
    for example, _, said in re.findall(r"```python\n(.*?)```(\n\n```text\n(.*?)```)?", CLIENT, re.DOTALL):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(as_served(example, fresh_api), names)  # noqa: S102 (the examples are ours)
        assert out.getvalue() == said, example


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
    assert named - known == NEWER


def test_the_versions_are_the_ones_documented() -> None:
    """The page names the versions of the conventions and of the mapping, and all known operations."""
    newest = max(tuple(map(int, schema.value.rpartition("/")[2].split("."))) for schema in Schemas)
    assert f"release {'.'.join(map(str, newest))}" in CALLS
    assert f"`opentelemetry-semantic-conventions` {semconv_version}" in CALLS
    assert f"`{MAPPER_VERSION}`" in CALLS


def test_each_kind_of_span_is_in_the_table_of_dialects() -> None:
    """The page has each value that says that a span is a call, and each that says that it is not."""
    kinds = {
        "gen_ai": (gen_ai.MODEL_OPERATIONS, gen_ai.AROUND, gen_ai.OTHER),
        "openinference": (openinference.OPERATIONS, openinference.AROUND, openinference.OTHER),
        "langfuse": (langfuse.OPERATIONS, langfuse.AROUND, langfuse.OTHER),
        "mlflow": (mlflow.OPERATIONS, mlflow.AROUND, mlflow.OTHER),
        "vercel": ((), vercel.AROUND, vercel.OTHER),
    }
    for row in table_with(OTEL, "dialect", "a call").rows:
        for kind, cell in zip(kinds.pop(code(row["dialect"])[0], ()), list(row.values())[1:], strict=False):
            assert set(kind) <= set(code(cell)), row
    assert kinds == {}


def test_the_instrumentors_have_the_versions_that_are_run() -> None:
    """The page names the versions of the lock files that `make test-instrumentors` installs."""
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (HERE / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    pinned |= json.loads((HERE / "package.json").read_text("utf-8"))["dependencies"]
    rows = {code(row["package"])[0]: row["version"] for row in table_with(OTEL, "instrumentor", "package").rows}
    run = {instrumentor.package for instrumentor in INSTRUMENTORS}
    assert {name: version for name, version in rows.items() if name in run} == {name: pinned[name] for name in run}
    # `make test` runs this one.
    locked = (DOCS.parent / "requirements-dev.lock").read_text("utf-8")
    assert f"pydantic-ai-slim=={rows['pydantic-ai-slim']} " in locked

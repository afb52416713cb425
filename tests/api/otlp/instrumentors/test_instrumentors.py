"""Real instrumentors of other projects export to a running `serve`; what they saw is on record, and nothing in clear.

`make test-instrumentors` installs them and runs this file. A package that cannot be installed is a failure, no skip.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from tests.api.otlp.instrumentors.fake_openai import ANSWER, FAULT, listening
from tests.api.otlp.instrumentors.instrumentors import INSTRUMENTORS, Instrumentor
from tests.api.program import Serving, serving

pytestmark = pytest.mark.instrumentors
SECRETS = (b"SECRET", b"Jane")
# Two programs make a call by hand as well.
CALLS = {"langfuse": 6, "mlflow": 6, "mlflow-gen-ai": 6}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A running `serve` with an embedded database."""
    folder = tmp_path_factory.mktemp("ledger")
    with serving("--data-dir", folder) as found:
        yield found


def get(server: Serving, path: str, **params: Any) -> Any:
    """Read as compliance."""
    headers = {"Authorization": f"Bearer {server.tokens()['compliance']}"}
    return httpx.get(server.base + path, params=params, headers=headers, timeout=60).raise_for_status().json()


def sealed(server: Serving, row: dict[str, Any]) -> bytes:
    """Return the sealed values of a call."""
    return orjson.dumps(get(server, f"/model-calls/{row['id']}"))


@pytest.mark.parametrize("instrumentor", INSTRUMENTORS, ids=lambda found: found.name)
def test_what_an_instrumentor_saw_is_on_record(server: Serving, instrumentor: Instrumentor) -> None:
    """Each question is one call, with question, tool call, answer, tokens and the error, and no text in clear."""
    newest = max((row["id"] for row in get(server, "/model-calls", limit=1)["items"]), default=0)
    with listening() as vendor:
        instrumentor.run(vendor, server.base, server.tokens()["agent"])
    rows = [row for row in get(server, "/model-calls", limit=100)["items"] if row["id"] > newest]
    rows.sort(key=lambda row: str(row["claimed_start"]))
    assert len(rows) == CALLS.get(instrumentor.name, 5)
    with_tool, with_result, streamed, failed, embedded = rows[:5]
    for row in (with_tool, with_result, streamed):
        assert (row["state"], row["operation_name"], row["capture"]) == ("completed", "chat", "otlp")
        assert (row["usage_input_tokens"], row["usage_output_tokens"]) == (21, 7)
        assert row["request_parameters"]["temperature"] == 0.5
        assert b"SECRET what is ABC worth?" in sealed(server, row)
    assert b'"name":"price"' in sealed(server, with_tool)
    assert b"SECRET 17" in sealed(server, with_result)
    assert all(ANSWER.encode() in sealed(server, row) for row in (with_result, streamed))
    assert (failed["state"], embedded["operation_name"]) == ("failed", "embeddings")
    assert FAULT.encode() in sealed(server, failed)
    assert [secret for secret in SECRETS if secret in orjson.dumps(rows)] == []
    assert [secret for secret in SECRETS if secret.decode() in server.out + server.err] == []

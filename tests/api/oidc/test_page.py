"""The page that sets up OpenID Connect does what it says, its commands pasted in order, with a real provider."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import httpx
import pytest

from api.postgres.cluster import binaries
from tests.api.oidc.providers import AUDIENCE, real_provider, real_token
from tests.api.pasted import free_port
from tests.api.program import PROGRAM, serving
from tests.operated import blocks, run_script
from tests.support import eventually

SUB = "00u1a2b3c4"
TRY = "## Try it on one machine"


@pytest.mark.slow
def test_the_commands_of_the_page(tmp_path: Path) -> None:
    """A person is registered, reads with a token of the provider, and is out once the identity is revoked."""
    data = tmp_path / "data"
    with real_provider() as issuer:
        env = {"ADVICE_LEDGER_OIDC_ISSUER": issuer, "ADVICE_LEDGER_OIDC_AUDIENCE": AUDIENCE}
        with serving("--data-dir", data, "--no-worker", env=env) as server:
            instead = {"https://id.example/tenant": issuer, "https://ledger.example": server.base}
            add, over_http, read, shown, revoke, kept = blocks("openid-connect.md", until=TRY, instead=instead)
            given = {"ADVICE_LEDGER_DATA_DIR": str(data), "TOKEN": real_token(issuer, SUB)}
            printed = run_script(add + read, tmp_path, binaries(), **given)
            assert json.loads(printed.splitlines()[-1])["items"] == []
            another = over_http.replace(SUB, "00u5d6e7f8")
            printed = run_script(another, tmp_path, binaries(), **given, ADMIN=server.tokens()["admin"])
            assert json.loads(printed.splitlines()[-1])["credential"] == 2
            assert "oidc" in run_script(shown, tmp_path, binaries(), **given)
            printed = run_script(revoke + kept, tmp_path, binaries(), **given)
            assert "revoked credential 1 of m.keller" in printed
            assert "alt_" in printed
            headers = {"Authorization": f"Bearer {given['TOKEN']}"}
            path = f"{server.base}/portfolio/requests"
            eventually("the revocation", lambda: httpx.get(path, headers=headers).status_code == 401)


@pytest.mark.slow
def test_it_can_be_tried_on_one_machine(tmp_path: Path) -> None:
    """From nothing to a person's act on record: a provider, a ledger, an identity and its token, all by the page."""
    python = shlex.quote(sys.executable)
    provider, ledger = free_port(), free_port()
    instead = {
        ".venv/bin/python": python,  # before the next one, which has it
        ".venv/bin/advice-ledger": f"{python} -c {shlex.quote(PROGRAM)}",
        "9400": str(provider),
        "8410": str(ledger),
    }
    script = "".join(blocks("openid-connect.md", after=TRY, instead=instead))
    printed = run_script(script, tmp_path, binaries())
    me, asked = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert (me["subject"], [role["role"] for role in me["roles"]]) == ("m.keller", ["advisor"])
    assert asked["request_id"] == 1
    assert "oidc" in printed.splitlines()[-1]

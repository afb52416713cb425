"""The auditor's evidence: the signed checkpoint, and one client's case, checked with the auditor's own program."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from api.demo.server import DemoFailed, Site

VERIFIER = (sys.executable, "-m", "ledger.proof.auditor")
# For reading the checkpoint over HTTP, as an auditor does.
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Evidence:
    """The verifier key, the served checkpoint, and the reports of `export` (`case`) and of the auditor's program."""

    key: str
    checkpoint: str
    case: dict[str, Any]
    audit: dict[str, Any]


def take(site: Site, client: str) -> Evidence:
    """Export the client's case and check it with the verifier key alone. Raises DemoFailed."""
    key = read(site.command("keys", "show", "--json"), "keys show")["verifier_key"]
    try:
        checkpoint = httpx.get(f"{site.url}/checkpoint", timeout=TIMEOUT_S).raise_for_status().text
    except httpx.HTTPError as error:
        raise DemoFailed(f"the checkpoint cannot be read: {error}") from error
    file = site.folder / f"{client}.zip"
    case = read(site.command("export", "--client", client, "--output", str(file), "--json"), "export")
    command = [*VERIFIER, str(file), "--key", key, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=site.environment)  # noqa: S603 - ours
    audit = read(done, "advice-ledger-verify")
    kept = ("ok", "trusted", "verdict", "events", "proven", "findings", "not_proven")
    return Evidence(key, checkpoint, case, {name: audit[name] for name in kept})


def read(done: subprocess.CompletedProcess[str], name: str) -> dict[str, Any]:
    """Parse a command's JSON, whatever its exit code. Raises DemoFailed."""
    try:
        output: dict[str, Any] = orjson.loads(done.stdout)
    except orjson.JSONDecodeError:
        raise DemoFailed(f"{name} failed: {done.stderr.strip()[-500:]}") from None
    return output

"""What an auditor takes away: the signed checkpoint, and one client's case, checked by the auditor's own program."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

from api.demo.server import DemoFailed, Site

VERIFIER = (sys.executable, "-m", "ledger.proof.auditor")
# The checkpoint is asked for over HTTP, as an auditor would.
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Evidence:
    """`checkpoint` is the note as it is served, `case` what export said of the bundle, `audit` what its check found."""

    key: str
    checkpoint: str
    case: dict[str, Any]
    audit: dict[str, Any]


def take(site: Site, client: str) -> Evidence:
    """Exports the client's case and has it checked with the log's key alone. Raises DemoFailed."""
    key = read(site.command("keys", "show", "--json"), "keys show")["verifier_key"]
    try:
        checkpoint = httpx.get(f"{site.url}/checkpoint", timeout=TIMEOUT_S).raise_for_status().text
    except httpx.HTTPError as error:
        raise DemoFailed(f"there is no checkpoint: {error}") from error
    file = site.folder / f"{client}.zip"
    case = read(site.command("export", "--client", client, "--output", str(file), "--json"), "export")
    command = [*VERIFIER, str(file), "--key", key, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=site.environment)  # noqa: S603 - ours
    audit = read(done, "advice-ledger-verify")
    kept = ("ok", "trusted", "verdict", "events", "proven", "findings", "not_proven")
    return Evidence(key, checkpoint, case, {name: audit[name] for name in kept})


def read(done: subprocess.CompletedProcess[str], name: str) -> dict[str, Any]:
    """What a command printed, whether or not it found something wrong. Raises DemoFailed."""
    try:
        found: dict[str, Any] = orjson.loads(done.stdout)
    except orjson.JSONDecodeError:
        raise DemoFailed(f"{name} did not run: {done.stderr.strip()[-500:]}") from None
    return found

"""The recording key of an installation: made, registered and rotated; and what the owner alone can no longer do."""

from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest

from ledger.tlog import recording_keys
from tests.api.program import cli, serving, variables
from tests.ledger.recording import DISARM, FORGE
from tests.support import connect, eventually

ASKED = {"client_id": "client-1", "risk_profile": "balanced", "amount_usd": 250000}


def generated(url: str, folder: Path, name: str = "recording.key") -> dict[str, str]:
    """Make a key for this ledger; return the environment that configures it."""
    path = folder / name
    assert cli("keys", "recording", "generate", "--recording-key", path, "--database-url", url).code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return variables(recording_key=path)


def ask(base: str, token: str) -> httpx.Response:
    """Send a request for a recommendation."""
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{base}/portfolio/recommendations", json=ASKED, headers=headers, timeout=20)


@pytest.mark.slow
@pytest.mark.tampers
def test_a_forged_event_is_not_signed_and_named(database_url: str, tmp_path: Path) -> None:
    """A real server attests what it records and signs it; an event that the owner adds is refused and named."""
    at = ("--database-url", database_url)
    assert cli("migrate", *at).code == 0
    env = generated(database_url, tmp_path)
    key = tmp_path / "log.key"
    assert cli("keys", "generate", "--key", key, *at).code == 0
    signing = {**env, **variables(key_file=key, state_dir=tmp_path / "state", sign_every="0.1")}
    with serving(*at, "--no-worker", env=signing) as server:
        token = server.tokens()["advisor"]
        assert ask(server.base, token).status_code == 202
        assert cli("verify", *at, env=signing).code == 0
        # The first subjects were recorded before the key was registered; from there on each event is attested.
        with connect(database_url) as conn:
            registered = conn.execute("SELECT min(position) FROM events WHERE stream = 'recording-keys'").fetchone()
        assert registered is not None
        assert cli("verify", "--attested", *at, env=signing).code == 1
        assert cli("verify", "--attested-from", registered[0], *at, env=signing).code == 0
        with connect(database_url) as conn:
            signed = conn.execute("SELECT position FROM head").fetchone()
            assert signed is not None
            eventually(
                "all is signed",
                lambda: conn.execute("SELECT FROM checkpoints WHERE size = %s", [signed[0]]).fetchone() is not None,
            )
            conn.execute(DISARM)
            conn.execute(FORGE)
            conn.execute("ALTER TABLE head ENABLE ALWAYS TRIGGER check_head")
        forged = f"position {signed[0] + 1} (not-attested)"

        def refused() -> bool:
            return any(forged in reason for reason in httpx.get(f"{server.base}/readyz").json()["reasons"])

        eventually("/readyz names the position", refused)
        ran = cli("verify", "--json", *at, env=signing)
        found = [(finding["kind"], finding["position"]) for finding in ran.json()["findings"]]
        assert ran.code == 1
        assert ("not-attested", signed[0] + 1) in found
    assert cli("sign", "--once", *at, env=signing).code == 1


@pytest.mark.slow
def test_keys_are_registered_and_rotated(database_url: str, tmp_path: Path) -> None:
    """The first start registers the key; another process needs its own registered; a rotation replaces a key."""
    at = ("--database-url", database_url)
    assert cli("migrate", *at).code == 0
    own, other = generated(database_url, tmp_path), generated(database_url, tmp_path, "other.key")
    with serving(*at, "--no-worker", env=own):
        pass
    refused = cli("serve", "--port", 0, *at, env=other)
    assert (refused.code, "keys recording register" in refused.err) == (2, True)
    shown = cli("keys", "recording", "show", env=other).out.strip()
    assert cli("keys", "recording", "register", shown, *at, env=own).code == 0
    assert cli("keys", "recording", "rotate", *at, env=own).code == 0
    for env in (own, other):
        with serving(*at, "--no-worker", env=env) as server:
            ready = f"{server.base}/readyz"
            eventually("it is ready", lambda ready=ready: httpx.get(ready).status_code == 200)
    without = cli("export", "--from", 1, "--to", 1, "--output", tmp_path / "x.zip", *at)
    assert (without.code, "recording key" in without.err) == (2, True)
    with connect(database_url) as conn:
        assert sorted(recording_keys.registered(conn).values()) == [False, True, True]

"""advice-ledger credentials register-key: the file signs, and a key that cannot be kept is not registered."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from advice_ledger_client import LedgerClient, SigningKey

from tests.api.program import Ran, cli
from tests.api.served import Api
from tests.client.test_signing import subject, verified


def register(api: Api, name: str, path: Path) -> Ran:
    """Run the command."""
    return cli("credentials", "register-key", name, "--key", str(path), "--database-url", api.url, "--json")


def test_the_key_of_the_file_signs(fresh_api: Api, tmp_path: Path) -> None:
    """The command registers the key that is in the file, and acts that it signs verify."""
    path = tmp_path / "agent.key"
    subject(fresh_api, "agent")
    ran = register(fresh_api, "agent", path)
    assert ran.code == 0, ran.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = SigningKey.load(path)
    assert (key.subject, key.credential) == ("agent", ran.json()["credential"])
    with LedgerClient(fresh_api.base, fresh_api.tokens["agent"], signing_key=key) as agent:
        request_id = fresh_api.asked()
        agent.claim(request_id)
        agent.fail_request(request_id, reason="no-answer")
    report = verified(fresh_api)
    assert (report.ok, report.acts.actors["agent"].signed) == (True, {str(key.credential): 1})
    assert "registered for 'agent'" in " ".join(report.acts.lines())


@pytest.mark.slow
def test_a_key_that_cannot_be_kept_is_not_registered(fresh_api: Api, tmp_path: Path) -> None:
    """An existing file stays as it is; for an unknown subject no file is left. Nothing is recorded."""
    taken, other = tmp_path / "a.key", tmp_path / "b.key"
    taken.write_text("precious")
    with fresh_api.records_nothing():
        assert register(fresh_api, "agent", taken).failed_with("a.key", "File exists")
        assert register(fresh_api, "nobody", other).code == 2
    assert taken.read_text() == "precious"
    assert not other.exists()

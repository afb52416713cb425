"""`advice-ledger status` exits with 1 for what makes `/readyz` complain, and says so in the same words."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.store.envelope import NewEvent, uuid7
from ledger.tlog.sign import keys
from ledger.tlog.sign.rotate import beside
from schema.events import ModelCallFailed, ModelCallStarted
from tests.api.program import Ran, cli, variables
from tests.ledger.tlog.logs import fill, key_for, sign
from tests.support import CLERK, append, connect, new
from tests.tampering import tamper

# An hour ago, for all that counts as waiting; two days for where streams end.
EVENTS_AGED = "UPDATE events SET recorded_at = recorded_at - interval '{}'"
CHECKPOINTS_AGED = "UPDATE checkpoints SET created_at = created_at - interval '1 hour'"
READ_MODELS_AGED = "UPDATE projections SET updated_at = updated_at - interval '1 hour'"

pytestmark = pytest.mark.tampers


def status(url: str, *options: object, **settings: object) -> tuple[Ran, list[str]]:
    """The command, and its reasons as JSON; both forms exit with the same code, and people read each reason too."""
    arguments = ("status", "--database-url", url, *options)
    ran, shown = cli(*arguments, "--json", env=variables(**settings)), cli(*arguments, env=variables(**settings))
    reasons = ran.json()["reasons"]
    assert ran.code == shown.code == (1 if reasons else 0)
    assert all(reason.partition(" for ")[0] in shown.out for reason in reasons)
    return ran, reasons


def test_a_read_model_that_does_not_move(database_url: str) -> None:
    """Events wait, and no server runs: 1. After a rebuild: 0."""
    fill(database_url, 2)
    tamper(database_url, EVENTS_AGED.format("1 hour"), READ_MODELS_AGED)
    _, reasons = status(database_url)
    assert [reason for reason in reasons if "portfolio_requests is 2 events behind and has not moved" in reason]
    cli("rebuild", "--database-url", database_url)
    assert status(database_url)[1] == []


def test_nothing_is_signed(database_url: str, tmp_path: Path) -> None:
    """Without a key and a checkpoint nobody signs: 0. With a key, or once signed: 1 after ten intervals."""
    path = tmp_path / "log.key"
    fill(database_url, 2)
    tamper(database_url, EVENTS_AGED.format("1 hour"))
    cli("rebuild", "--database-url", database_url)
    assert status(database_url)[1] == []
    key = keys.generate(key_for(database_url).verifier.name, path)
    [unsigned] = status(database_url, "--key", path)[1]
    assert unsigned.startswith("nothing was signed for 36")
    assert "s, and 2 events wait: " in unsigned
    sign(database_url, key, beside(path, "last"))
    assert status(database_url, "--key", path)[1] == []
    fill(database_url, 1)
    tamper(database_url, EVENTS_AGED.format("1 hour"), CHECKPOINTS_AGED)
    cli("rebuild", "--database-url", database_url)
    assert "and 1 event waits: " in status(database_url)[1][0]
    assert status(database_url, sign_every=600)[1] == []


def test_an_agent_that_only_fails(database_url: str) -> None:
    """Five calls that failed: 1, with its name. An answer ends it."""
    started = ModelCallStarted(provider_name="somebody", request_model="some-model")
    with connect(database_url, "writer") as conn:
        for nth in range(5):
            [call] = append(conn, new(f"request-{nth + 1}", started))
            ended = ModelCallFailed(error_type="timeout")
            append(conn, NewEvent(uuid7(), f"request-{nth + 1}", ended, CLERK, causation=call.id))
    cli("rebuild", "--database-url", database_url)
    assert status(database_url)[1] == [f"the last 5 calls of the agent {CLERK.id} have all failed"]


def test_where_streams_end_is_not_recorded(database_url: str, tmp_path: Path) -> None:
    """Two days without a record, in a ledger that is signed: a warning, and 0, as in /readyz."""
    path = tmp_path / "log.key"
    key = keys.generate(key_for(database_url).verifier.name, path)
    fill(database_url, 2)
    sign(database_url, key, beside(path, "last"))
    cli("rebuild", "--database-url", database_url)
    assert status(database_url, "--key", path)[0].json()["warnings"] == []
    tamper(database_url, EVENTS_AGED.format("2 days"))
    [text] = status(database_url, "--key", path)[0].json()["warnings"]
    assert text.startswith("where streams end was not recorded for 48 h")

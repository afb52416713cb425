"""`advice-ledger serve` as a witness for the log of somebody else, and where it refuses to be one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.cli.hosted_witness import Offer, check_apart, offered
from api.cli.shared import CannotRun
from api.settings import Settings
from api.witness.witness import parse_logs
from ledger.proof.tlog.checkpoint import open_checkpoint
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey
from tests.api.program import cli, serving, variables
from tests.api.witness.logs import ORIGIN, Log, logs_of
from tests.api.witness.processes import keygen
from tests.support import connect


def test_a_ledger_cosigns_for_another(database_url: str, tmp_path: Path, log_key: SigningKey) -> None:
    """At /add-checkpoint, without a token, and for one history; nothing of it is recorded in the ledger."""
    key = keygen(tmp_path)
    log = Log(log_key)
    witness = variables(
        witness_logs=log_key.verifier.text, witness_key_file=tmp_path / "key", witness_state=tmp_path / "state"
    )
    with serving("--no-worker", "--database-url", database_url, env=witness) as server:
        assert f"cosigns for {ORIGIN} as {key.text}\n" in server.err
        started = head(database_url)  # the first start registers the callers
        answer = httpx.post(f"{server.base}/add-checkpoint", content=log.request(0, 5))
        found = open_checkpoint(log.note(5) + answer.content, ORIGIN, [log_key.verifier], [key])
        assert len(found.witnesses) == 1
        fork = Log(log_key, fork=2)
        assert httpx.post(f"{server.base}/add-checkpoint", content=fork.request(5, 9)).status_code == 422
        assert httpx.post(f"{server.base}/add-checkpoint", content=log.request(5, 9)).status_code == 200
        assert server.stop() == 0
    # Refused and kept, as by a witness that is nothing else.
    shown = cli("witness", "status", "--key", tmp_path / "key", "--state", tmp_path / "state", "--json")
    assert (shown.code, [one["size"] for one in shown.json()["logs"]]) == (1, [9])
    assert head(database_url) == started


def head(url: str) -> tuple[int, bytes]:
    """Return the position and hash of the newest event."""
    with connect(url) as conn:
        [(position, digest)] = conn.execute("SELECT position, hash FROM head").fetchall()
    return position, digest


def test_no_ledger_is_its_own_witness(database_url: str, tmp_path: Path, log_key: SigningKey) -> None:
    """A log of the ledger's name, by whatever key, and a witness of its name: exit 2, and the last line says why."""
    with connect(database_url) as conn:
        [(origin,)] = conn.execute("SELECT origin FROM head").fetchall()
    keygen(tmp_path)
    own = SigningKey.generate(origin).verifier
    given = variables(witness_logs=own.text, witness_key_file=tmp_path / "key", witness_state=tmp_path / "state")
    ran = cli("serve", "--port", "0", "--database-url", database_url, env=given)
    last = ran.err.splitlines()[-1]
    assert (ran.code, ran.out, last.startswith(f"error: {origin} is this ledger")) == (2, "", True), ran
    assert "prove nothing" in last
    apart = Offer(WitnessSigningKey.generate("w"), logs_of(log_key.verifier), tmp_path / "state")
    check_apart(apart, origin)
    for logs in (parse_logs([f"{origin}={log_key.verifier.text}"]), {"another": [own]}):
        with pytest.raises(CannotRun, match="a witness for itself"):
            check_apart(replace(apart, logs=logs), origin)
    with pytest.raises(CannotRun, match="another name"):
        check_apart(replace(apart, key=WitnessSigningKey.generate(origin)), origin)


@pytest.mark.parametrize(
    "given",
    [
        {"witness_logs": ("x",)},
        {"witness_key_file": Path("k"), "witness_state": Path("s")},
        {"witness_logs": ("x",), "witness_key_file": Path("k")},
        {"witness_state": Path("s")},
    ],
)
def test_settings_of_a_witness_go_together(given: dict[str, Any]) -> None:
    """Some of them without the others are an error; none of them is no witness."""
    with pytest.raises(CannotRun, match="go together"):
        offered(Settings(**given))
    assert offered(Settings()) is None

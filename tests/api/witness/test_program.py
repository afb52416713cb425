"""`advice-ledger witness` as its users run it: processes, files, exit codes."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest

from ledger.proof.tlog.checkpoint import WitnessKey
from ledger.tlog.signing_keys import SigningKey
from tests.api.program import cli
from tests.api.witness.logs import ORIGIN, Log
from tests.api.witness.processes import keygen, witnessing


@pytest.mark.slow
def test_a_witness_made_anew_goes_on_after_a_kill(tmp_path: Path, log_key: SigningKey) -> None:
    """keygen, serve, cosign; killed at once, started again: it goes on from there; status shows it."""
    key = keygen(tmp_path)
    log = Log(log_key)
    with witnessing(tmp_path, log_key.verifier.text) as (base, process):
        assert httpx.get(f"{base}/healthz").text == "ok\n"
        answer = httpx.post(f"{base}/add-checkpoint", content=log.request(0, 9))
        assert answer.status_code == 200
        assert answer.text.startswith(f"\u2014 {key.name} ")
        process.send_signal(signal.SIGKILL)
        process.wait()
    shown = cli("witness", "status", *at(tmp_path))
    assert shown.code == 0
    assert ORIGIN in shown.out
    with witnessing(tmp_path, log_key.verifier.text) as (base, process):
        assert httpx.get(f"{base}/healthz").status_code == 200
        fork = Log(log_key, fork=2)
        assert httpx.post(f"{base}/add-checkpoint", content=fork.request(0, 20)).text == "9\n"
        assert httpx.post(f"{base}/add-checkpoint", content=fork.request(9, 20)).status_code == 422
        assert httpx.post(f"{base}/add-checkpoint", content=log.request(9, 20)).status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    found = cli("witness", "status", *at(tmp_path), "--json")
    assert found.code == 1
    assert [(one["origin"], one["size"]) for one in found.json()["logs"]] == [(ORIGIN, 20)]
    assert [one["note"].encode() for one in found.json()["refused"]] == [fork.note(20)]
    assert "refused: not shown to extend" in cli("witness", "status", *at(tmp_path)).out


@pytest.mark.slow
def test_a_witness_does_not_start_without_its_own_key_and_state(tmp_path: Path, log_key: SigningKey) -> None:
    """Each with one line that says what is wrong: no key, no state, another's state, no log's key; a key is kept."""
    log = ("--log", log_key.verifier.text)
    assert cli("witness", "serve", *at(tmp_path), *log).failed_with("witness keygen")
    key = keygen(tmp_path)
    before = (tmp_path / "key").read_bytes()
    assert cli("witness", "keygen", "--name", "w", *at(tmp_path)).failed_with("never overwritten")
    assert (tmp_path / "key").read_bytes() == before
    again = ("--key", str(tmp_path / "key2"), "--state", str(tmp_path / "state"))
    assert cli("witness", "keygen", "--name", "w", *again).failed_with("never overwritten")
    assert not (tmp_path / "key2").exists()
    assert cli("witness", "keygen", "--name", "a b", *again).failed_with("bad key name")
    assert cli("witness", "serve", *at(tmp_path), "--log", key.text).failed_with("unsupported key type")
    assert cli("witness", "serve", *at(tmp_path)).code == 2
    (tmp_path / "other").mkdir()
    keygen(tmp_path / "other")
    mixed = ("--key", str(tmp_path / "other" / "key"), "--state", str(tmp_path / "state"))
    assert cli("witness", "serve", *mixed, *log).failed_with("another witness")
    (tmp_path / "state").unlink()
    assert cli("witness", "serve", *at(tmp_path), *log).failed_with("retire the key")
    (tmp_path / "key").chmod(0o644)
    assert cli("witness", "serve", *at(tmp_path), *log).failed_with("chmod 600")


def test_keygen_prints_the_verifier_key_alone(tmp_path: Path) -> None:
    """keygen prints the verifier key alone, and neither file can be read by others."""
    key = keygen(tmp_path)
    assert WitnessKey.parse(key.text) == key
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("key", "state")} == {0o600}


def at(folder: Path) -> tuple[str, ...]:
    """The options that say where key and state are."""
    return ("--key", str(folder / "key"), "--state", str(folder / "state"))

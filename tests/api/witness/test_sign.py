"""`advice-ledger sign` asks witnesses as serve does; with --once it asks each of them once, and ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ledger.proof.tlog.checkpoint import open_checkpoint
from ledger.tlog.sign import keys
from ledger.tlog.sign.rotate import beside
from ledger.tlog.signing_keys import WitnessSigningKey
from tests.api.program import PROGRAM, cli, environment, variables
from tests.api.witness.processes import keygen, witnessing
from tests.ledger.tlog.logs import fill, key_for, sign
from tests.support import connect, eventually

NOTE = "SELECT c.size, c.note || s.line FROM checkpoints c JOIN cosignatures s USING (size) ORDER BY size DESC LIMIT 1"


@pytest.fixture
def path(database_url: str, tmp_path: Path) -> Path:
    """A key for the ledger, in a file."""
    keys.generate(key_for(database_url).verifier.name, tmp_path / "log.key")
    return tmp_path / "log.key"


@pytest.mark.slow
def test_sign_asks_witnesses(database_url: str, path: Path, tmp_path: Path) -> None:
    """When --once ends, a witness that answers has cosigned, also what was signed before; an absent one is named."""
    fill(database_url, 3)
    sign(database_url, keys.read(path), beside(path, "last"))
    log = keys.read(path).verifier
    witness = keygen(tmp_path)
    gone = WitnessSigningKey.generate("witness.example/gone").verifier.text
    common = ["--key", str(path), "--database-url", database_url]

    def cosigned() -> int:
        with connect(database_url) as conn:
            row = conn.execute(NOTE).fetchone()
        if row is None:
            return 0
        assert len(open_checkpoint(row[1].encode(), log.name, [log], [witness]).witnesses) == 1
        return int(row[0])

    with witnessing(tmp_path, log.text) as (base, _):
        asked = [f"{base}={witness.text}", f"http://127.0.0.1:1={gone}"]
        done = cli("sign", "--once", *common, "--json", env=variables(witnesses=asked))
        assert (done.code, done.json()["size"], cosigned()) == (0, None, 3)
        answered, silent = done.json()["endorsements"]
        assert (answered["name"].partition("+")[0], answered["size"], answered["error"]) == (witness.name, 3, None)
        assert (silent["size"], silent["error"] in done.err) == (0, True)
        assert "witness.example/gone" in done.err
        command = [sys.executable, "-c", PROGRAM, "sign", *common]
        quickly = variables(sign_every=0.05, witnesses=asked[:1])
        process = subprocess.Popen(command, env=environment(**quickly), stderr=subprocess.PIPE)
        try:
            fill(database_url, 1)
            eventually("a cosignature", lambda: cosigned() == 4)
        finally:
            process.terminate()
            process.communicate(timeout=30)
        assert process.returncode == 0

"""Witnesses as processes."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ledger.proof.tlog.checkpoint import WitnessKey
from tests.api.forked import Forked
from tests.api.program import STOP_S, address_of, cli, environment, start


def keygen(folder: Path, name: str = "witness.example/w1") -> WitnessKey:
    """Makes a key and a state in the folder."""
    made = cli("witness", "keygen", "--name", name, "--key", folder / "key", "--state", folder / "state")
    assert made.code == 0, made.err
    return WitnessKey.parse(made.out.strip())


@contextlib.contextmanager
def witnessing(folder: Path, *logs: str, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[bytes] | Forked]]:
    """`advice-ledger witness serve` with the key and the state in the folder; where it listens, and its process."""
    command = ["witness", "serve", "--port", str(port)]
    command += ["--key", str(folder / "key"), "--state", str(folder / "state")]
    for log in logs:
        command += ["--log", log]
    with (folder / "err").open("wb") as err:
        process = start(command, 1, err, environment())
    try:
        yield address_of(process, folder / "err"), process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(STOP_S)

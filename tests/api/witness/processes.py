"""Witnesses as processes."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from ledger.proof.tlog.cosignature import WitnessKey
from tests.api.program import PROGRAM, START_S, STOP_S, cli, environment


def keygen(folder: Path, name: str = "witness.example/w1") -> WitnessKey:
    """Makes a key and a state in the folder."""
    made = cli("witness", "keygen", "--name", name, "--key", folder / "key", "--state", folder / "state")
    assert made.code == 0, made.err
    return WitnessKey.parse(made.out.strip())


@contextlib.contextmanager
def witnessing(folder: Path, *logs: str, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`advice-ledger witness serve` with the key and the state in the folder; where it listens, and its process."""
    command = [sys.executable, "-c", PROGRAM, "witness", "serve", "--port", str(port)]
    command += ["--key", str(folder / "key"), "--state", str(folder / "state")]
    for log in logs:
        command += ["--log", log]
    with (folder / "err").open("wb") as err:
        process = subprocess.Popen(command, stderr=err, env=environment())
    try:
        yield _address(process, folder / "err"), process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(STOP_S)


def _address(process: subprocess.Popen[bytes], err: Path) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"^serving on (\S+)$", err.read_text(), re.MULTILINE)
        if found:
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"the witness did not start: {err.read_text()}")

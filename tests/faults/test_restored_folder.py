"""The data folder is copied, written on, and put back: nothing is recorded or signed in the copy. Real programs."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.program import Serving, cli, serving
from tests.api.served import ASK, ASKS, problem
from tests.support import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def folders() -> Iterator[tuple[Path, Path, dict[str, str]]]:
    """A data folder, a place for its copy, and the environment with a state folder; their path is short."""
    path = Path(tempfile.mkdtemp(prefix="advice-ledger-"))
    path.chmod(0o711)
    try:
        yield path / "data", path / "copy", {"XDG_STATE_HOME": str(path / "state")}
    finally:
        shutil.rmtree(path)


def copy(source: Path, target: Path) -> None:
    """Copy a folder as an operator does, in place of another one."""
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", source, target], check=True)


def ask(server: Serving, token: str) -> httpx.Response:
    """Post a request."""
    return httpx.post(f"{server.base}{ASKS}", json=ASK, headers={"Authorization": f"Bearer {token}"}, timeout=30)


def ready(server: Serving) -> Any:
    """What /readyz answers."""
    return httpx.get(f"{server.base}/readyz", timeout=30).json()


def write_ten(server: Serving, token: str) -> str:
    """Record ten requests, wait until they are signed, and return the size of the checkpoint."""
    assert {ask(server, token).status_code for _ in range(10)} == {202}
    eventually("all is signed", lambda: ready(server)["checkpoint"]["not_covered"] == 0)
    return size_of(server)


def size_of(server: Serving) -> str:
    """Return the size of the checkpoint that is served."""
    return httpx.get(f"{server.base}/checkpoint", timeout=30).text.splitlines()[1]


def test_a_copy_of_the_data_folder_is_refused(folders: tuple[Path, Path, dict[str, str]]) -> None:
    """Ten requests, a copy, ten more; then the copy takes no others, so no size has two signed checkpoints."""
    data, kept, env = folders
    options = ("--data-dir", data, "--no-worker")
    with serving(*options, env=env) as server:
        token = server.tokens()["advisor"]
        copied = write_ten(server, token)
    copy(data, kept)
    with serving(*options, env=env) as server:
        signed = write_ten(server, token)
        assert int(signed) == int(copied) + 10
    copy(kept, data)
    with serving(*options, env=env) as server:
        problem(ask(server, token), 503, "log-refused")
        assert any(f"a checkpoint over {signed} was signed" in why for why in ready(server)["reasons"])
    for command in (("sign", "--once"), ("status",), ("verify",)):
        found = cli(*command, "--data-dir", data, env=env)
        assert found.code == 1
        assert re.search(f"a checkpoint over {signed} was signed|what was signed last", found.out + found.err)
    assert cli("keys", "show", "--data-dir", data, env=env).code == 0
    with serving(*options, env=env) as server:
        assert size_of(server) == copied


def test_a_lost_state_folder_is_said_and_trusted_anew(folders: tuple[Path, Path, dict[str, str]]) -> None:
    """As on a new machine: the state file in the data folder is trusted, a line says so, and the copy is back."""
    data, _, env = folders
    options = ("--data-dir", data, "--no-worker")
    with serving(*options, env=env) as server:
        token = server.tokens()["advisor"]
        write_ten(server, token)
    state = Path(env["XDG_STATE_HOME"])
    [copied] = state.glob("advice-ledger/*.last")
    shutil.rmtree(state)
    with serving(*options, env=env) as server:
        write_ten(server, token)
        assert f"{copied} is not there: what was signed last is taken from the other file" in server.err
    assert copied.read_bytes() == (data / "log.key.last").read_bytes()

"""A result that cannot be shown is exit code 2 and one line, in every command: never 1, never a traceback."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.cli.every_command import EVERY, SERVERS, SLOW, Scene, scene
from tests.api.program import PROGRAM, Ran, cli, environment
from tests.api.served import make_tokens, served
from tests.support import scratch_database

FULL = "error: the output cannot be written: No space left on device"
CLOSED = "error: the output is closed, so the result cannot be shown"
LEFT = "error: the output was closed before the result was complete"
# Enough for a file of SQLite or a key, and too little for a bundle.
NO_SPACE = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"


@pytest.fixture
def ready(database_url: str, tmp_path: Path) -> Scene:
    """What the commands work on."""
    return scene(database_url, tmp_path)


def printing(arguments: list[str], out: Path | int, closed: tuple[int, ...] = (), **env: str) -> Ran:
    """Run the program with a stdout that is not read here: the output of the run is empty."""

    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    with os.fdopen(out, "w") if isinstance(out, int) else out.open("w") as file:
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
            env=environment(**env),
            preexec_fn=close if closed else None,
        )
    return Ran(ran.returncode, "", ran.stderr)


def test_every_command_is_walked(tmp_path: Path) -> None:
    """A new command needs arguments in every_command.py, and is then tested as all others."""
    given = Scene("url", tmp_path, None)  # type: ignore[arg-type]
    assert [given.arguments(name) for name in EVERY]
    assert set(EVERY) >= SERVERS | SLOW


QUICK = frozenset({"status", "export", "tokens list"})


@pytest.mark.parametrize(
    "command",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in sorted(set(EVERY) - SERVERS)],
)
def test_a_full_output_could_not_run(ready: Scene, server_url: str, command: str) -> None:
    """With a stdout that takes nothing: 2, and the last line says so."""
    with scratch_database(server_url) as empty:
        if command == "replay":
            with served(ready.url, tokens=make_tokens(ready.url, "second-")) as api:
                api.answered(1)
        if command == "restore":
            assert cli(*ready.arguments("backup")).code == 0
        ran = printing(ready.arguments(command, empty if command == "restore" else None), Path("/dev/full"))
    assert (ran.code, ran.err.splitlines()[-1].startswith(FULL)) == (2, True), ran
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["keys", "rotate", "--help"]], ids=" ".join)
@pytest.mark.parametrize("how", ["full", "closed", "all closed", "left"])
def test_help_that_cannot_be_shown_could_not_run(arguments: list[str], how: str) -> None:
    """The libraries print the help; it is the same rule."""
    assert ended(how)(arguments)


@pytest.mark.parametrize("how", ["full", "closed", "all closed", "left"])
def test_no_token_is_made_that_nobody_sees(ready: Scene, how: str) -> None:
    """A token that cannot be printed does not exist, so its name is still free."""
    create = ready.arguments("tokens create")
    assert ended(how)(create)
    assert cli(*create).code == 0


def ended(how: str) -> Callable[[list[str]], bool]:
    """Return a function that runs the program with such a stdout, and asserts that it ends as it should."""

    def run(arguments: list[str]) -> bool:
        if how == "full":
            ran, line = printing(arguments, Path("/dev/full")), FULL
        elif how == "left":
            reading, writing = os.pipe()
            os.close(reading)
            ran, line = printing(arguments, writing), LEFT
        else:
            ran, line = printing(arguments, Path(os.devnull), (0, 1, 2) if how == "all closed" else (1,)), CLOSED
        assert (ran.code, ran.err) == (2, "" if how == "all closed" else f"{line}\n")
        return True

    return run


@pytest.mark.parametrize("err", ["full", "closed"])
def test_messages_that_cannot_be_shown_change_no_result(ready: Scene, err: str) -> None:
    """Without a usable stderr a command prints its result and has its exit code."""
    redirected = "2>/dev/full" if err == "full" else "2>&-"
    for arguments, code in ((ready.arguments("status"), 0), (["status", "--database-url", "postgresql://h:1/"], 2)):
        command = ["bash", "-c", f'"$0" "$@" {redirected}', sys.executable, "-c", PROGRAM, *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=60)
        assert (ran.returncode, bool(ran.stdout)) == (code, code == 0), ran


@pytest.mark.parametrize(
    ("command", "most", "made"),
    [
        ("export", 2000, ["new"]),
        ("backup", 2000, ["new", "new.part"]),
        ("keys generate", 10, ["new"]),
        ("witness keygen", 5000, ["new", "new-state"]),
    ],
)
def test_no_part_of_a_file_stays(ready: Scene, command: str, most: int, made: list[str]) -> None:
    """A file that cannot be written to its end is removed, and so is what was made for it."""
    ran = cli(*ready.arguments(command), before=NO_SPACE.format(most))
    last = ran.err.splitlines()[-1]
    assert (ran.code, ran.out, last.startswith(f"error: {ready.folder / 'new'}")) == (2, "", True), ran
    assert "Traceback" not in ran.err
    assert [name for name in made if (ready.folder / name).exists()] == []


@pytest.mark.parametrize("command", ["export", "backup", "keys generate", "witness keygen", "keys rotate"])
def test_a_result_that_cannot_be_shown_is_named_with_its_file(ready: Scene, command: str) -> None:
    """What was made, and stays, is in the message."""
    ran = printing(ready.arguments(command), Path("/dev/full"))
    path = ready.folder / ("log.key" if command == "keys rotate" else "new")
    assert (ran.code, str(path) in ran.err, path.exists()) == (2, True, True), ran


def test_the_first_tokens_leave_no_file_if_they_cannot_be_announced(database_url: str, tmp_path: Path) -> None:
    """They are kept in a file, whose name cannot be printed: the tokens are not made, and the file is removed."""
    arguments = ["serve", "--port", "0", "--no-worker", "--database-url", database_url]
    ran = printing(arguments, Path("/dev/full"), XDG_DATA_HOME=str(tmp_path))
    assert (ran.code, ran.err.splitlines()[-1]) == (2, FULL)
    assert [path for path in tmp_path.rglob("*") if stat.S_ISREG(path.stat().st_mode)] == []

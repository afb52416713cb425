"""A result that cannot be shown is exit code 2 and one line, in every command: never 1, never a traceback."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.api.cli.every_command import ATTESTED, EVERY, SERVERS, SLOW, Scene, copied, scene
from tests.api.program import PROGRAM, TIMEOUT_S, Ran, cli, environment, start
from tests.api.served import make_tokens, served
from tests.conftest import Template, ledger_copy
from tests.support import scratch_database

FULL = "error: the output cannot be written: No space left on device"
CLOSED = "error: the output is closed, so the result cannot be shown"
LEFT = "error: the output was closed before the result was complete"
DEMO_PROGRESS = re.compile(r"(reviews|coming quarter|weeks watched) \d+ of \d+|history|replay|verification")
# Enough for a file of SQLite or a key, and too little for a bundle.
NO_SPACE = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"


@pytest.fixture(scope="module")
def original(
    server_url: str, template_database: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Scene, str]]:
    """A scene to copy, and its search_path."""
    with ledger_copy(server_url, template_database) as url:
        yield scene(url, tmp_path_factory.mktemp("scene")), template_database.search_path


@pytest.fixture
def ready(
    server_url: str, original: tuple[Scene, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    """What the commands work on."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))  # which remembers what was signed by the scene's key
    with copied(server_url, *original, tmp_path) as found:
        yield found


def printing(
    arguments: list[str], out: Path | int, closed: tuple[int, ...] = (), *, fresh: bool = False, **env: str
) -> Ran:
    """Run the program with a stdout that is not read here: the output of the run is empty."""
    with (
        os.fdopen(out, "w") if isinstance(out, int) else out.open("w") as file,
        tempfile.TemporaryFile() as err,
    ):
        process = start(arguments, file, err, environment(**env), closed=closed, fresh=fresh)
        code = process.wait(TIMEOUT_S)
        err.seek(0)
        return Ran(code, "", err.read().decode())


def test_every_command_is_walked(tmp_path: Path) -> None:
    """A new command needs arguments in every_command.py, and is then tested as all others."""
    given = Scene("url", tmp_path, None, 1, 1, 1)  # type: ignore[arg-type]
    assert [given.arguments(name) for name in EVERY]
    assert set(EVERY) >= SERVERS | SLOW


QUICK = frozenset({"status", "export"})
HOWS = ("full", "closed", "left")
# All print through the same code. A demo takes half a minute, so it runs once: without a stdout, because it also opens
# files and starts servers, none of which may take the place of stdout.
SHOWN = [
    pytest.param(command, how, marks=[] if command in QUICK else pytest.mark.slow)
    for command in sorted(set(EVERY) - SERVERS - ATTESTED)
    for how in (("closed",) if command in SLOW else HOWS)
]


@pytest.mark.parametrize(("command", "how"), SHOWN)
def test_a_result_that_cannot_be_shown_could_not_run(ready: Scene, server_url: str, command: str, how: str) -> None:
    """With a stdout that takes nothing, is closed, or was left: 2, and one line that says so, or names its file too."""
    with scratch_database(server_url) if command == "restore" else nullcontext() as empty:
        if command == "replay":
            with served(ready.url, tokens=make_tokens(ready.url, "second-")) as api:
                api.answered(1)
        if command == "restore":
            assert cli(*ready.arguments("backup")).code == 0
        if command == "erasures certificate":
            assert cli(*ready.arguments("erasures confirm")).code == 0
            assert cli(*ready.arguments("sign")).code == 0
        if command in {"sign", "keys rotate"}:  # Makes the copy of the state file, of which the log would tell else.
            assert cli(*ready.arguments("sign")).code == 0
        ran, line = unshown(ready.arguments(command, empty), how)
    # psycopg may log that a connection ended while a command of subjects stopped listening: that is no message of ours.
    said = [text for text in ran.err.splitlines() if not text.startswith("query cancellation interrupted")]
    if command == "demo":  # It runs for long, and tells how far it is before there is a result.
        said = [text for text in said if not DEMO_PROGRESS.fullmatch(text)]
    assert (ran.code, len(said), said[0].startswith(line)) == (2, 1, True), ran


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["keys", "rotate", "--help"]], ids=" ".join)
@pytest.mark.parametrize("how", ["full", "closed", "all closed", "left"])
def test_help_that_cannot_be_shown_could_not_run(arguments: list[str], how: str) -> None:
    """The libraries print the help; it is the same rule. An interpreter of its own starts with that stdout."""
    assert ended(how, fresh=True)(arguments)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["full", "closed", "all closed", "left"])
def test_no_token_is_good_that_nobody_sees(ready: Scene, how: str) -> None:
    """A token that cannot be printed is revoked at once, so there is no token that nobody knows of."""
    assert ended(how)(ready.arguments("credentials issue"))
    found = cli(*ready.arguments("credentials list"), "--json").json()
    assert found[-1]["subject"] == "advisor"
    assert found[-1]["revoked_at"] is not None


def ended(how: str, *, fresh: bool = False) -> Callable[[list[str]], bool]:
    """Return a function that runs the program with such a stdout, and asserts that it ends as it should."""

    def run(arguments: list[str]) -> bool:
        ran, line = unshown(arguments, how, fresh=fresh)
        assert (ran.code, ran.err) == (2, f"{line}\n" if line else "")
        return True

    return run


def unshown(arguments: list[str], how: str, *, fresh: bool = False) -> tuple[Ran, str]:
    """Run the program with such a stdout; return the run, and the line that it should end with."""
    if how == "full":
        return printing(arguments, Path("/dev/full"), fresh=fresh), FULL
    if how == "left":
        reading, writing = os.pipe()
        os.close(reading)
        return printing(arguments, writing, fresh=fresh), LEFT
    closed, line = ((0, 1, 2), "") if how == "all closed" else ((1,), CLOSED)
    return printing(arguments, Path(os.devnull), closed, fresh=fresh), line


@pytest.mark.slow
@pytest.mark.parametrize("err", ["full", "closed"])
def test_messages_that_cannot_be_shown_change_no_result(ready: Scene, err: str) -> None:
    """Without a usable stderr a command prints its result and has its exit code."""
    redirected = "2>/dev/full" if err == "full" else "2>&-"
    for arguments, code in (
        (ready.arguments("subjects list"), 0),
        (["status", "--database-url", "postgresql://h:1/"], 2),
    ):
        command = ["bash", "-c", f'"$0" "$@" {redirected}', sys.executable, "-c", PROGRAM, *arguments]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=60)
        assert (ran.returncode, bool(ran.stdout)) == (code, code == 0), ran


@pytest.mark.slow
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


@pytest.mark.slow
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

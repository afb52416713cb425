"""A file that cannot be read is exit code 2 and one line that names it, in every command that takes one: never 1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from api.cli import app, serve
from api.settings import Settings, type_of, variable
from api.witness import keys
from ledger.domain.policy import HOME
from ledger.domain.reasons import ReasonCodes
from ledger.tlog.signing_keys import SigningKey
from tests.api.cli.every_command import EVERY, Scene, scene

# Files that the command makes.
MADE = {
    ("keys generate", "--key"),
    ("keys recording generate", "--recording-key"),
    ("witness keygen", "--key"),
    ("witness keygen", "--state"),
}
# It makes the file if it is missing, or goes on with an empty one.
MADE_IF_MISSING = {("migrate", "--logins"), ("credentials register-key", "--key"), ("erasures keep", "")}
GOES_ON_WITH_EMPTY = {("erasures keep", ""), ("erasures reapply", "")}
# Of the key only its place counts: beside it are the state file and traces of a rotation.
NOT_READ = {("status", "--key")}
# The signer, deliveries and the job that keeps erasures read these while the server runs; the embedded database and the
# first export make folders.
NOT_AT_START = {"key_state", "state_dir", "data_dir", "exports_dir", "endpoint_keys", "erasures_file"}
FILE_SETTINGS = [name for name in Settings.model_fields if type_of(name) is Path and name not in NOT_AT_START]
TEXT = "neither a key nor a setting\n"

# What the commands of the scene read, beside files that they make.
FILES = (
    "assignments.ndjson",
    "history.ndjson",
    "case.zip",
    "actions.csv",
    "holdings.ndjson",
    "flows.csv",
    "valuations.csv",
    "kept",
)
KINDS: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(missing_ok=True),
    "a folder": lambda path: path.mkdir(),
    "binary": lambda path: path.write_bytes(bytes(range(256)) * 8),
    "empty": lambda path: path.write_bytes(b""),
    "other text": lambda path: path.write_text(TEXT),
    "UTF-16": lambda path: path.write_text(TEXT, "utf-16"),
    "with a BOM": lambda path: path.write_text(TEXT, "utf-8-sig"),
    "without end": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.fixture(scope="module")
def ready(module_ledger: str, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """What the commands work on. Nothing here changes it."""
    return scene(module_ledger, tmp_path_factory.mktemp("scene"))


def files(command: str) -> list[str]:
    """The options of a command that name a file to read; an empty name for an argument."""
    named = [
        parameter.opts[0] if parameter.opts[0].startswith("-") else ""
        for parameter in EVERY[command].params
        if "FILE" in (parameter.metavar or "") and "--output" not in parameter.opts
    ]
    return [option for option in named if (command, option) not in MADE]


READING = [(command, option) for command in EVERY for option in files(command)]


def test_commands_that_read_files_are_found() -> None:
    """The walk sees options and arguments; each command but demo reads a settings file, a key or a backup."""
    assert {("restore", ""), ("verify", "--since"), ("export", "--since"), ("sign", "--adopt")} <= set(READING)
    assert {command for command, _ in READING} == set(EVERY) - {"demo", "witness keygen"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("command", "option"), READING, ids=[" ".join(pair) for pair in READING])
def test_a_file_that_cannot_be_read_could_not_run(
    ready: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, option: str, kind: str
) -> None:
    """Whatever is in its place: exit 2, the reason in one line, and nothing that looks like a finding."""
    path = tmp_path / "unreadable"
    KINDS[kind](path)
    if kind == "missing" and (command, option) in MADE_IF_MISSING:
        return
    if kind == "empty" and (option == "--config" or (command, option) in GOES_ON_WITH_EMPTY):
        return  # a settings file without settings, or a list without erasures
    arguments = ready.arguments(command)
    if option:
        arguments += [option, str(path)]
    else:
        taken = {str(ready.folder / name) for name in ("new", *FILES)}
        arguments = [str(path) if argument in taken else argument for argument in arguments]
    if (command, option) in NOT_READ:
        monkeypatch.setenv(variable("sign_every"), "3600")  # the scene's last events wait for no signature yet
        found = run(arguments)
        assert found.exit_code == 0, found.output
    else:
        refused(arguments)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("setting", FILE_SETTINGS)
def test_a_file_of_a_setting_that_cannot_be_read_could_not_run(
    ready: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, kind: str
) -> None:
    """`serve` does not start with such a file."""
    path = tmp_path / "unreadable"
    KINDS[kind](path)
    monkeypatch.setattr(serve, "run", lambda *_args, **_how: pytest.fail("it started"))
    others = {
        "key_file": ready.folder / "log.key",
        "witness_logs": SigningKey.generate("l").verifier.text,
        "witness_key_file": ready.folder / "key",
        "witness_state": ready.folder / "state",
        "timestamp_authority": "http://tsa.example",
        "timestamp_ca": None,
    }
    env = {variable(name): None if value is None else str(value) for name, value in others.items()}
    if setting != "timestamp_ca":
        del env[variable("timestamp_authority")]
    refused(ready.arguments("serve"), **{**env, variable(setting): str(path)})


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_text_as_other_editors_save_it_is_read(ready: Scene, tmp_path: Path, encoding: str) -> None:
    """A byte order mark, UTF-16 and CRLF, as shells of Windows write: settings, keys, and policies are read."""
    mark = "\ufeff" if encoding == "utf-16-le" else ""

    def saved(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_bytes((mark + text.replace("\n", "\r\n")).encode(encoding))
        path.chmod(0o600)
        return path

    settings = saved("settings.toml", f"key_file = '{saved('log.key', ready.key.reveal() + chr(10))}'\n")
    assert run(["keys", "show", "--config", str(settings)]).stdout == f"{ready.key.verifier.text}\n"
    key = keys.read(ready.folder / "key")
    assert keys.read(saved("w.key", key.reveal() + "\n")).verifier == key.verifier
    assert ReasonCodes.load(saved("codes.json", (HOME / "reason-codes.json").read_text("utf-8"))) is not None


def run(arguments: list[str], **env: str | None) -> Result:
    """Run the program here, and assert that no exception ends it."""
    ran = CliRunner().invoke(app, arguments, env=env)
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return ran


def refused(arguments: list[str], **env: str | None) -> None:
    """Run the program, and assert that it could not run."""
    ran = run(arguments, **env)
    lines = ran.stderr.splitlines()
    assert (ran.exit_code, ran.stdout) == (2, ""), (ran.stdout, lines)
    assert lines[-1].startswith("error: "), lines
    assert not [line for line in lines[:-1] if line.startswith("error: ")]

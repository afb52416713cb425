"""Settings: which source wins, what is refused and how it is said, and that the page lists every setting as it is."""

from __future__ import annotations

import os
import re
import types
import typing
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import SecretStr

from api.settings import CONFIG, FILE_NAME, Settings, SettingsError, flag, load_settings, variable
from tests.api.program import cli
from tests.paths import DOCS

PAGE = (DOCS / "operate/settings.md").read_text("utf-8")


def load(
    tmp_path: Path, flags: dict[str, Any] | None = None, env: dict[str, str] | None = None, text: str | None = None
) -> Settings:
    """Load from flags, environment and a file with this text in an otherwise empty data folder."""
    if text is not None:
        (tmp_path / FILE_NAME).write_text(text)
    return load_settings(flags or {}, None, env or {}, tmp_path)


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(tmp_path: Path) -> None:
    """Each source in turn decides what no source before it did."""
    flags = {"host": "flag.example", "port": None}
    env = {variable(name): value for name, value in (("host", "env.example"), ("port", "1"))}
    text = 'host = "file.example"\nport = 2\nverify_rate = 3\n'
    found = load(tmp_path, flags, env, text)
    assert (found.host, found.port, found.verify_rate, found.sign_every) == ("flag.example", 1, 3, 1.0)
    assert load(tmp_path).host == "file.example"
    (tmp_path / FILE_NAME).unlink()
    assert load(tmp_path) == Settings()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_read_from_the_environment(name: str, tmp_path: Path) -> None:
    """Under its own variable; an empty variable is no value."""
    texts = {bool: "no", int: "7", float: "7.5", date: "2015-12-31", Path: "/tmp/x"}
    kind = kind_of(name)
    text = texts.get(kind, {"agent": "openai", "root_path": "/a/b"}.get(name, "a b"))
    value = getattr(load(tmp_path, env={variable(name): text}), name)
    expected = {bool: False, int: 7, float: 7.5, date: date(2015, 12, 31), Path: Path("/tmp/x"), tuple: ("a", "b")}
    shown = value.get_secret_value() if isinstance(value, SecretStr) else value
    assert shown == expected.get(kind, text)
    assert load(tmp_path, env={variable(name): ""}) == Settings()


@pytest.mark.parametrize(
    ("flags", "env", "text", "expected"),
    [
        ({"data_dir": Path("/d")}, {"database_url": "u"}, None, (None, Path("/d"))),
        ({}, {"database_url": "u", "data_dir": "/d"}, None, ("u", None)),
        ({}, {}, 'database_url = "u"', ("u", None)),
        ({"database_url": "v"}, {}, 'data_dir = "/d"', ("v", None)),
    ],
)
def test_the_first_source_that_names_a_database_decides(
    flags: dict[str, Any], env: dict[str, str], text: str | None, expected: tuple[Any, Any], tmp_path: Path
) -> None:
    """A URL from a later source does not beat a folder from an earlier one, nor the other way round."""
    found = load(tmp_path, flags, {variable(name): value for name, value in env.items()}, text)
    assert (found.database_url, found.data_dir) == expected


def test_the_key_or_its_file(tmp_path: Path) -> None:
    """A flag beats the key in the environment; both in one source are an error."""
    found = load(tmp_path, {"key_file": Path("/k")}, {variable("key"): "s3cret"})
    assert (found.key, found.key_file) == (None, Path("/k"))
    with pytest.raises(SettingsError, match="ADVICE_LEDGER_KEY and ADVICE_LEDGER_KEY_FILE exclude each other"):
        load(tmp_path, env={variable("key"): "s3cret", variable("key_file"): "/k"})
    with pytest.raises(SettingsError, match=r"toml: database_url and .*toml: data_dir exclude each other"):
        load(tmp_path, text='database_url = "u"\ndata_dir = "d"\n')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sign_evry = 1\n", ("sign_evry: there is no such setting", "docs/operate/settings.md")),
        ("[serve]\nhost = 'x'\n", ("serve: there is no such setting",)),
        ("port = 70000\n", ("port: Input should be less than or equal to 65535",)),
        ("sign_every = 'often'\nagent = 'mine'\n", ("agent: ", "; ", "sign_every: Input should be a valid number")),
        ("sign_every = nan\n", ("sign_every: Input should be a finite number",)),
        ("port =\n", ("is not a TOML file", "line 1")),
        (b"\xff", ("is not a TOML file",)),
    ],
)
def test_a_file_that_cannot_be_used(text: str | bytes, words: tuple[str, ...], tmp_path: Path) -> None:
    """One line that names the file and the setting, exit 2, before anything is made."""
    file = tmp_path / FILE_NAME
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert cli("status", "--data-dir", tmp_path).failed_with(str(file), *words)
    assert cli("status", "--config", file).failed_with(str(file), *words)
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The default file may be missing; a file that a flag or a variable names must exist."""
    missing = tmp_path / "missing.toml"
    assert cli("status", "--config", missing).failed_with(str(missing), "No such file")
    assert cli("status", env={CONFIG: str(missing)}).failed_with(str(missing), "No such file")


def test_the_command_line_and_the_environment_are_named(tmp_path: Path) -> None:
    """The message says where the value came from, and never repeats it."""
    with pytest.raises(SettingsError, match=r"^--port: Input should be"):
        load(tmp_path, {"port": -1})
    with pytest.raises(SettingsError, match=r"^ADVICE_LEDGER_AGENT: Input should be") as caught:
        load(tmp_path, env={variable("agent"): "s3cret"})
    assert "s3cret" not in str(caught.value)
    assert flag("key_file") == "--key"


def test_files_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    """Wherever the program is started; absolute names and ~ mean what they say."""
    text = 'key_file = "k"\nkey_state = "~/s"\nreason_codes = "/r"\nwitness_state = "w"\n'
    found = load(tmp_path, text=text)
    assert (found.key_file, found.reason_codes, found.witness_state) == (tmp_path / "k", Path("/r"), tmp_path / "w")
    assert found.key_state == Path.home() / "s"


def test_no_other_source_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a .env file nor a settings file in the working directory counts."""
    (tmp_path / ".env").write_text("ADVICE_LEDGER_PORT=1\n")
    (tmp_path / FILE_NAME).write_text("port = 1\n")
    monkeypatch.chdir(tmp_path)
    assert load_settings({}, None, os.environ, tmp_path / "data").port == 8000


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """Neither keys nor a URL, which may hold a password."""
    secrets = {variable(name): "s3cret" for name in ("key", "agent_api_key", "database_url")}
    assert "s3cret" not in repr(load(tmp_path, env=secrets))


# --- docs/operate/settings.md -----------------------------------------------------------------------------------------

WORDS = {
    str: "text",
    SecretStr: "text",
    int: "integer",
    bool: "true or false",
    date: "date",
    Path: "file",
    tuple: "list",
}


def kind_of(name: str) -> Any:
    """The Python type of a setting: int for `int | None`, tuple for a list, Literal for a choice."""
    annotation: Any = Settings.model_fields[name].annotation
    while typing.get_origin(annotation) is not None:
        origin = typing.get_origin(annotation)
        if origin is Literal or origin is tuple:
            return origin
        parts = [part for part in typing.get_args(annotation) if part is not types.NoneType]
        annotation = parts[0]
    return annotation


def described(name: str) -> str:
    """The type of a setting in the page's words."""
    kind = kind_of(name)
    if kind is float:
        return "seconds"
    if kind is Literal:
        return " or ".join(f"`{choice}`" for choice in typing.get_args(Settings.model_fields[name].annotation))
    return WORDS[kind]


def default_of(name: str) -> str:
    """The default of a setting as TOML has it; empty without a default."""
    default = Settings.model_fields[name].default
    if default is None or default == ():
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def test_the_page_lists_every_setting_as_it_is() -> None:
    """In the order of the class: name, variable, type, default and meaning."""
    rows = [line.strip("|").split("|") for line in PAGE.splitlines() if re.match(r"\| `[a-z_]+` \|", line)]
    found = [tuple(cell.strip() for cell in row) for row in rows]
    assert found == [
        (f"`{name}`", f"`{variable(name)}`", described(name), default_of(name), field.description)
        for name, field in Settings.model_fields.items()
    ]


def test_the_examples_of_the_page_can_be_used(tmp_path: Path) -> None:
    """Each TOML block is a settings file."""
    blocks = re.findall(r"^```toml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        assert load(tmp_path, text=block) != Settings()

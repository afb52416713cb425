"""Settings: which source wins, what is refused and how it is said, and that the page lists every setting as it is."""

from __future__ import annotations

import os
import re
import typing
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import SecretStr

from api.settings import (
    CONFIG,
    FILE_NAME,
    OTHER_VARIABLES,
    PREFIX,
    Settings,
    SettingsError,
    flag,
    form_of,
    load_settings,
    type_of,
    variable,
)
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
    kind = type_of(name)
    text = texts.get(kind, {"agent": "openai", "root_path": "/a/b", "register_clients": "beforehand"}.get(name, "a b"))
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


def test_the_key_and_its_file_exclude_each_other(tmp_path: Path) -> None:
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
        ("port = 70000\n", ("port must be a whole number from 0 to 65535",)),
        ("sign_every = 'often'\nagent = 3\n", ("agent must be one of ", "; ", "sign_every must be a number from 0.01")),
        ("sign_every = nan\n", ("sign_every must be a number from 0.01 to 86400",)),
        ("port =\n", ("is not a TOML file", "line 1")),
        (b"\xff", ("is not a TOML file",)),
    ],
)
def test_a_settings_file_that_cannot_be_used_is_refused_in_one_line(
    text: str | bytes, words: tuple[str, ...], tmp_path: Path
) -> None:
    """One line that names the file and the setting, exit 2, before anything is made."""
    file = tmp_path / FILE_NAME
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    # A quick command: each reads its settings in the same way.
    assert cli("keys", "show", "--data-dir", tmp_path).failed_with(str(file), *words)
    assert list(tmp_path.iterdir()) == [file]


def test_a_named_settings_file_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    """So is one that --config names, by a command that opens the database."""
    file = tmp_path / "named.toml"
    file.write_text("sign_evry = 1\n")
    assert cli("status", "--config", file).failed_with(str(file), "sign_evry: there is no such setting")


def test_only_the_default_settings_file_may_be_missing(tmp_path: Path) -> None:
    """The default file may be missing; a file that a flag or a variable names must exist."""
    missing = tmp_path / "missing.toml"
    assert cli("status", "--config", missing).failed_with(str(missing), "No such file")
    assert cli("status", env={CONFIG: str(missing)}).failed_with(str(missing), "No such file")


def test_the_command_line_and_the_environment_are_named(tmp_path: Path) -> None:
    """The message says where the value came from, and never repeats it."""
    with pytest.raises(SettingsError, match=r"^--port must be a whole number from 0 to 65535$"):
        load(tmp_path, {"port": -1})
    with pytest.raises(SettingsError, match=r"^ADVICE_LEDGER_AGENT must be one of builtin, "):
        load(tmp_path, env={variable("agent"): "s3cret"})
    assert flag("key_file") == "--key"


# For each type of a setting: TOML values of other types, or of no allowed form.
SECRET = "'s3cret'"
OTHER_TYPES: dict[Any, tuple[str, ...]] = {
    str: ("true", "1", "[]"),
    SecretStr: ("true", "1"),
    Path: ("1", "['s3cret']", "'~s3cret-has-no-account/x'"),
    int: ("true", "1.5", "'1'", SECRET),
    float: ("true", "nan", "inf", "'1'", SECRET),
    bool: ("1", "'true'", SECRET),
    date: ("1", "2015-12-31T00:00:00", SECRET),
    tuple: (SECRET, "[1]", "['a', 2, 3]"),
    Literal: ("true", SECRET),
}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_value_of_another_type_is_refused_in_our_own_words(name: str, tmp_path: Path) -> None:
    """TOML values are not converted: `true` is no number. The message is one sentence, without the value."""
    for value in OTHER_TYPES[type_of(name)]:
        with pytest.raises(SettingsError) as caught:
            load(tmp_path, text=f"{name} = {value}\n")
        assert str(caught.value) == f"{tmp_path / FILE_NAME}: {name} must be {form_of(name)}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "s3cret"),
        ("port", "-3"),
        ("sign_every", "s3cret"),
        ("sign_every", "nan"),
        ("worker", "s3cret"),
        ("agent_until", "s3cret"),
        ("key_file", "~s3cret-has-no-account/x"),
        ("data_dir", "~s3cret-has-no-account/x"),
        ("root_path", "s3cret/"),
        ("client_id_pattern", "s3cret("),
    ],
)
def test_a_variable_that_cannot_be_read_is_refused_in_our_own_words(name: str, text: str, tmp_path: Path) -> None:
    """The message is one sentence, without the value."""
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, env={variable(name): text})
    assert str(caught.value) == f"{variable(name)} must be {form_of(name)}"


def test_a_misspelt_variable_is_refused_by_name(tmp_path: Path) -> None:
    """Each unknown variable with the prefix is named, and no value; exit 2. An empty one does not count."""
    env = {f"{PREFIX}SIGN_EVRY": "s3cret", f"{PREFIX}KYE": "s3cret", f"{PREFIX}EMPTY": "", "OTHER": "x"}
    assert cli("status", "--data-dir", tmp_path, env=env).failed_with(
        "ADVICE_LEDGER_KYE: there is no such setting", "ADVICE_LEDGER_SIGN_EVRY: there is no such setting"
    )
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, env=env)
    assert "s3cret" not in str(caught.value)
    assert "EMPTY" not in str(caught.value)
    assert load(tmp_path, env=dict.fromkeys(OTHER_VARIABLES - {CONFIG}, "x")) == Settings()


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


def described(name: str) -> str:
    """The type of a setting in the page's words."""
    kind = type_of(name)
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

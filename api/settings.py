"""Load settings: plain values from flags, the environment, a TOML file and defaults, in this order of precedence.

A setting has one name: `sign_every` in the file is `ADVICE_LEDGER_SIGN_EVERY` in the environment. This module and
`api/setting_types.py` import nothing else of the program: see `api/cli/assemble.py`.
"""

from __future__ import annotations

import contextlib
import tomllib
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from api.setting_types import Agent, Expression, FilePath, Seconds, When, Words, as_date

PREFIX = "ADVICE_LEDGER_"
# The variable that names the file. Without it, the file of this name in the data folder is read.
CONFIG = f"{PREFIX}CONFIG"
FILE_NAME = "advice-ledger.toml"
MAX_FILE_BYTES = 1024 * 1024
# Variables with the prefix that are not settings. The last two belong to the tests.
OTHER_VARIABLES = frozenset({CONFIG, f"{PREFIX}TEST_SERVERS", f"{PREFIX}WRITE_SNAPSHOT"})
# Pairs that exclude each other. The source that comes first in the order of precedence decides for the pair.
PAIRS = (("database_url", "data_dir"), ("key", "key_file"))
# The flags whose name is not that of their setting.
FLAGS = {"key_file": "--key", "database_logins": "--logins"}

# 30 years: more than any model call lasts, and little enough to subtract from a time.
MAX_ORPHAN_AFTER_S = 1e9


class SettingsError(Exception):
    """A setting cannot be used. The message names the source, the setting and what is wrong, never the value."""


class Settings(BaseModel):
    """All settings. A field's description says what the setting is for."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: str | None = Field(
        None,
        repr=False,
        description="A PostgreSQL server, 14 or newer, as libpq reads it. Without it, the embedded PostgreSQL is used.",
    )
    database_logins: FilePath | None = Field(None, description="The file of passwords that `migrate --logins` made.")
    data_dir: FilePath | None = Field(None, description="The embedded PostgreSQL's folder. Default: the user's own.")
    host: str = Field("127.0.0.1", description="The address to listen on; `0.0.0.0` or `::` is every address.")
    port: int = Field(8000, ge=0, le=65535, description="The port to listen on; 0 takes a free port.")
    root_path: str | None = Field(
        None,
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="The path under which a proxy serves the API, such as `/ledger`.",
    )
    public_origins: Words = Field((), description="Addresses for browsers, as `https://ledger.example`: for passkeys.")
    oidc_issuer: str | None = Field(None, description="The OpenID Connect provider. It needs `oidc_audience`.")
    oidc_client_id: str | None = Field(None, description="For a login in browsers: the ledger's name at the provider.")
    oidc_client_secret: SecretStr | None = Field(None, description="The secret of `oidc_client_id`; sessions need it.")
    oidc_audience: str | None = Field(None, description="How its tokens name this ledger: the value of `aud`.")
    worker: bool = Field(True, description="Answer queued requests, by asking an agent.")
    read_only: bool = Field(False, description="Only read, for example from a standby: record, answer, sign nothing.")
    access_log: bool = Field(False, description="Log each request: method, path without its query, status.")
    agent: Agent = Field("builtin", description="The agent to ask. `optimiser` needs the extra `optimise`.")
    agent_url: str | None = Field(None, description="Agent `openai`: its server, mostly an address that ends in `/v1`.")
    agent_model: str | None = Field(None, description="Agent `openai`, required: the model to ask.")
    agent_api_key: SecretStr | None = Field(None, description="Agent `openai`: its key. It is never recorded.")
    agent_until: Annotated[date, BeforeValidator(as_date)] | None = Field(
        None, description="Agent `optimiser`: use the prices known that day. Default: all prices."
    )
    four_eyes_policy: FilePath | None = Field(None, description="Which decisions need a confirmation (JSON).")
    reason_codes: FilePath | None = Field(None, description="The reasons of decisions (JSON). Default: packaged ones.")
    erasures_file: FilePath | None = Field(
        None, description="The list of erasures that `erasures reapply` needs after a restore. Default: none is kept."
    )
    retention_policy: FilePath | None = Field(None, description="How long records of clients must be kept (JSON).")
    signed_acts_policy: FilePath | None = Field(None, description="Which acts need a signature (JSON). Default: none.")
    access_policy: FilePath | None = Field(None, description="Who may do what (JSON). Default: the packaged policy.")
    register_clients: When = Field("first-request", description="What registers a client: its first request or an act.")
    client_id_pattern: Expression | None = Field(None, description="The form of new identifiers. Default: any name.")
    orphan_after: Seconds = Field(
        300.0, ge=0, le=MAX_ORPHAN_AFTER_S, description="From this age on, a model call without an end is an orphan."
    )
    key: SecretStr | None = Field(None, description="The signing key itself. It needs `key_state`.")
    key_file: FilePath | None = Field(None, description="The signing key's file. Default: `log.key` in `data_dir`.")
    key_state: FilePath | None = Field(None, description="What was signed last. Default: the key's file with `.last`.")
    state_dir: FilePath | None = Field(None, description="The folder of a copy of `key_state`. Default: the user's.")
    recording_key: FilePath | None = Field(
        None, description="The file with the recording key. Default: `recording.key` beside the default of `key_file`."
    )
    attest: bool = Field(True, description="Sign what is recorded with the recording key, if there is one.")
    record_refused: bool = Field(False, description="Go on recording in a database that the signer refuses.")
    sign_every: Seconds = Field(1.0, ge=0.01, le=86_400, description="While events come, sign a checkpoint this often.")
    sign_events: int = Field(10_000, ge=1, description="Sign sooner if this many events wait.")

    witnesses: Words = Field(
        (),
        description="Witnesses that cosign checkpoints, each as `URL=VERIFIER_KEY`. The process that signs asks them.",
    )
    witness_quorum: int | None = Field(None, description="How many witnesses have to cosign. Default: a majority.")
    timestamp_authority: str | None = Field(
        None,
        description="The URL of an RFC 3161 timestamp authority. It needs `timestamp_ca` and the extra `timestamps`.",
    )
    timestamp_ca: FilePath | None = Field(None, description="The certificates (PEM) to verify its timestamps with.")
    timestamp_every: Seconds = Field(3600.0, ge=1, description="The shortest time between two timestamps.")

    witness_logs: Words = Field((), description="Be a witness for these: `VERIFIER_KEY` or `ORIGIN=VERIFIER_KEY`.")
    witness_key_file: FilePath | None = Field(None, description="Its key, from `advice-ledger witness keygen`.")
    witness_state: FilePath | None = Field(None, description="The file of its state, which the same command makes.")

    verify_rate: int = Field(
        5000, ge=0, description="Verify the whole chain again and again, this many events per second; 0 turns it off."
    )
    exports_dir: FilePath | None = Field(None, description="The folder for exports. Default: in `data_dir`.")
    export_keep: int = Field(7, ge=1, le=3650, description="How many days the file of an export is kept.")
    endpoint_keys: FilePath | None = Field(None, description="The folder of endpoints' keys. Default: in `data_dir`.")
    endpoint_networks: Words = Field((), description="Private networks of endpoints, such as `127.0.0.0/8`.")
    smtp_server: str | None = Field(None, description="For mail: `smtps://HOST`, or `smtp://HOST:587` with STARTTLS.")
    smtp_user: str | None = Field(None, description="The login at `smtp_server`, always over TLS.")
    smtp_password: SecretStr | None = Field(None, description="Its password. It is never recorded.")
    mail_from: str | None = Field(None, description="The address that mail comes from. It needs `smtp_server`.")


OWN_FORMS = {
    "root_path": "empty or a path such as /ledger, without a slash at its end",
    "client_id_pattern": "a regular expression such as C-[0-9]{6}, which a whole identifier must match",
}
# For each type of a setting: the types of a TOML value, and the form in a message.
FORMS: Mapping[Any, tuple[tuple[type, ...], str]] = {
    str: ((str,), "a text"),
    SecretStr: ((str,), "a text"),
    Path: ((str,), "the name of a file; ~user needs an account of that name"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    bool: ((bool,), "true or false"),
    date: ((date, str), "a date such as 2015-12-31"),
    tuple: ((list,), "a list of texts"),
    Literal: ((str,), "one of"),
}


def type_of(name: str) -> Any:
    """Return the type of a setting: int for `int | None`, tuple for a list, Literal for a choice."""
    annotation: Any = Settings.model_fields[name].annotation
    while (origin := typing.get_origin(annotation)) is not None:
        if origin is Literal or origin is tuple:
            return origin
        annotation = next(part for part in typing.get_args(annotation) if part is not types.NoneType)
    return annotation


def form_of(name: str) -> str:
    """Return the values that a setting may have, in words, as in "a whole number from 0 to 65535"."""
    form = OWN_FORMS.get(name, FORMS[type_of(name)][1])
    if type_of(name) is Literal:
        return f"{form} {', '.join(typing.get_args(Settings.model_fields[name].annotation))}"
    for bound, word in (("ge", "from"), ("le", "to")):
        for constraint in Settings.model_fields[name].metadata:
            if hasattr(constraint, bound):
                form += f" {word} {getattr(constraint, bound):.15g}"
    return form


def load_settings(
    flags: Mapping[str, object], config: Path | None, environment: Mapping[str, str], default_data_dir: Path
) -> Settings:
    """Merge the sources. Raises SettingsError.

    `flags` are the settings from the command line; None means that the flag was not used. `config` is the TOML file;
    without it the environment names one, or `advice-ledger.toml` is read from the data folder if it is there.
    """
    merged = _Merged()
    merged.add({name: value for name, value in flags.items() if value is not None}, flag)
    merged.add(_from_environment(environment), variable)
    path = config or (Path(environment[CONFIG]) if environment.get(CONFIG) else None)
    if path is None and "database_url" not in merged.values:
        path = _default_file(Path(str(merged.values.get("data_dir", default_data_dir))))
    if path is not None:
        merged.add(_from_file(path), lambda name: f"{path}: {name}")
    return merged.settings()


def flag(name: str) -> str:
    """Return the flag of a setting, as in `--database-url`."""
    return FLAGS.get(name, f"--{name.replace('_', '-')}")


def variable(name: str) -> str:
    """Return the environment variable of a setting, as in `ADVICE_LEDGER_DATABASE_URL`."""
    return f"{PREFIX}{name.upper()}"


class _Merged:
    """The values so far, and the source of each. Sources are added in the order of precedence."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self._origin: dict[str, str] = {}

    def add(self, source: Mapping[str, object], origin: Callable[[str], str]) -> None:
        """Add the settings of a source that no earlier source decided. Raises SettingsError for both of a pair."""
        decided = set(self.values)
        for pair in PAIRS:
            if decided.intersection(pair):
                decided.update(pair)
            elif all(name in source for name in pair):
                raise SettingsError(f"{origin(pair[0])} and {origin(pair[1])} exclude each other: give one of them")
        for name, value in source.items():
            if name not in decided:
                self.values[name] = value
                self._origin[name] = origin(name)

    def settings(self) -> Settings:
        """Validate. Raises SettingsError with one line for all that is wrong."""
        try:
            return Settings.model_validate(self.values)
        except ValidationError as error:
            # A list may have several errors.
            names = dict.fromkeys(str(detail["loc"][0]) for detail in error.errors(include_input=False))
            raise SettingsError("; ".join(_reason(self._origin[name], name) for name in names)) from None


def _reason(origin: str, name: str) -> str:
    """Describe what is wrong with a setting, without the value, which may be secret, or pydantic's message."""
    if name in Settings.model_fields:
        return f"{origin} must be {form_of(name)}"
    return f"{origin}: there is no such setting (docs/operate/settings.md lists all)"


def _from_environment(environment: Mapping[str, str]) -> dict[str, object]:
    ours = {name for name, text in environment.items() if name.startswith(PREFIX) and text}
    if unknown := ours.difference(OTHER_VARIABLES, map(variable, Settings.model_fields)):
        raise SettingsError("; ".join(_reason(name, name) for name in sorted(unknown)))
    values: dict[str, object] = {
        name: text for name in Settings.model_fields if (text := environment.get(variable(name)))
    }
    if values.keys() >= {"database_url", "data_dir"}:
        del values["data_dir"]  # of these two variables, the URL wins
    return values


def _default_file(folder: Path) -> Path | None:
    # A folder that cannot be read is reported when the database in it is opened.
    with contextlib.suppress(OSError, RuntimeError):
        if (file := folder.expanduser() / FILE_NAME).is_file():
            return file
    return None


def _from_file(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES)
        values = tomllib.loads(raw.decode("utf-16" if raw[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{path} is not a TOML file: {error}") from None
    if len(raw) == MAX_FILE_BYTES:
        raise SettingsError(f"{path} is too long: it must have less than {MAX_FILE_BYTES} bytes")
    if wrong := [name for name, value in values.items() if not _has_type(name, value)]:
        raise SettingsError("; ".join(_reason(f"{path}: {name}", name) for name in wrong))
    return {name: _beside(path, name, value) for name, value in values.items()}


def _has_type(name: str, value: object) -> bool:
    """Return True for a value of the setting's type: true is not a number. Return False for an unknown name."""
    return name in Settings.model_fields and type(value) in FORMS[type_of(name)][0]


def _beside(path: Path, name: str, value: object) -> object:
    """Make the name of a file relative to the folder of the TOML file, unless it begins with `~`."""
    if type_of(name) is Path and isinstance(value, str) and not value.startswith("~"):
        return str(path.parent / value)
    return value

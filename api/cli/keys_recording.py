"""advice-ledger keys recording: show, register and rotate the keys that attest what is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from api.cli.configure import configured, opened, operator, origin_of
from api.cli.public_keys import Origin, name_for, show_key
from api.cli.recording import IN_DATA_DIR, key_path
from api.cli.shared import AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir
from api.cli.streams import naming
from api.postgres.connect import connect
from api.settings import Settings, variable
from ledger.proof.tlog.note import VerifierKey
from ledger.store.envelope import Actor
from ledger.tlog import recording_keys

app = typer.Typer(
    help="The key that attests what this installation records. Only its public part is ever shown.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--recording-key",
        metavar="FILE",
        show_default=False,
        help=f"The recording key. Default: {IN_DATA_DIR} beside the embedded database.",
    ),
]
NewKey = Annotated[str, typer.Argument(metavar="KEY", help="The public part of the other key, as `show` prints it.")]


@app.command()
def generate(
    recording_key: KeyFile = None,
    origin: Origin = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make a key in a new file, and print its public part. The next `serve` registers it if the ledger has none."""
    settings = configured(config, recording_key=recording_key, database_url=database_url, data_dir=data_dir)
    path = _path(settings)
    made = recording_keys.generate(name_for(settings, origin), path)
    with naming(f"the key is in {path}"):
        show_key(made.verifier, as_json=as_json)


@app.command()
def show(
    recording_key: KeyFile = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Print the key's public part, for a process that registers it. Reads no database."""
    settings = configured(config, recording_key=recording_key, database_url=database_url, data_dir=data_dir)
    show_key(recording_keys.read(_path(settings)).verifier, as_json=as_json)


@app.command()
def register(
    key: NewKey,
    recording_key: KeyFile = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Register the key of another process on this ledger; the key of this installation attests it."""
    settings = configured(config, recording_key=recording_key, database_url=database_url, data_dir=data_dir)
    other = VerifierKey.parse(key)
    path = _path(settings)
    own = recording_keys.read(path)
    if recording_keys.origin_of(other) != recording_keys.origin_of(own.verifier):
        raise CannotRun(f"{other.name} is no recording key of {recording_keys.origin_of(own.verifier)}")
    with opened(settings) as url, connect(url, "reader") as reader, connect(url, "writer") as writer:
        if not recording_keys.check_in_use(reader, own, origin_of(reader), path):
            raise CannotRun("this ledger has no recording key yet: start serve with the first one")
        recording_keys.register(writer, own, other, _operator())
    with naming("the key is registered"):
        show_key(other, as_json=as_json)


@app.command()
def rotate(
    recording_key: KeyFile = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Rotate the key: make a new one, and record an event, attested by the old one, that it takes its place.

    In a ledger without recording keys nothing is recorded. Stop serve before, and start it again after: from then on
    the ledger takes nothing that the old key attests. After a crash, run it again: it finishes the rotation.
    """
    settings = configured(config, recording_key=recording_key, database_url=database_url, data_dir=data_dir)
    path = _path(settings)
    with opened(settings) as url, connect(url, "reader") as reader, connect(url, "writer") as writer:
        new = recording_keys.rotate(reader, writer, path, _operator())
    with naming(f"the key is rotated; the new one is in {path}"):
        show_key(new.verifier, as_json=as_json)


def _path(settings: Settings) -> Path:
    path = key_path(settings)
    if path is None:
        raise CannotRun(f"no recording key is configured: set {variable('recording_key')}")
    return path


def _operator() -> Actor:
    return Actor(id=operator(), kind="human", role="operator")

"""advice-ledger keys: make, show and rotate the signing key. Also find the key for the other commands."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from api.cli import keys_recording
from api.cli.configure import configured, data_folder, opened, operator, state_folder
from api.cli.public_keys import Origin, name_for, show_key
from api.cli.recording import recorder_of
from api.cli.shared import AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir
from api.cli.streams import naming, notes_after
from api.postgres.connect import connect
from api.settings import Settings, variable
from ledger.database import Url, conninfo
from ledger.proof.tlog.note import VerifierKey
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.store.recorder import Recorder
from ledger.store.writer import Writer
from ledger.tlog.sign import keys
from ledger.tlog.sign import rotate as rotation
from ledger.tlog.sign.errors import KeyUnusable
from ledger.tlog.sign.last_signed import LastSigned
from ledger.tlog.sign.recorded_rotations import STREAM
from ledger.tlog.signing_keys import SigningKey

app = typer.Typer(
    help="The key that signs the checkpoints. Only its public part is ever shown.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

app.add_typer(keys_recording.app, name="recording")

# The variable that holds the key itself, if the key is not in a file.
SIGNING_KEY = variable("key")
IN_DATA_DIR = "log.key"
NOTHING_SIGNED = (
    "nothing is signed, as this process has no key: make one with advice-ledger keys generate, and use --key"
    " (docs/operate/tlog.md)"
)

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key",
        metavar="FILE",
        show_default=False,
        help=f"The signing key. Default: that in {SIGNING_KEY}, or {IN_DATA_DIR} beside the embedded database.",
    ),
]
KeyState = Annotated[
    Path | None,
    typer.Option(
        "--key-state",
        metavar="FILE",
        show_default=False,
        help="The state file, which holds what was signed last. Default: the key's file with .last after its name.",
    ),
]


@dataclass(frozen=True)
class Place:
    """The places of a signing key, of its state file, and of the folder with the copy of that file.

    `path` is None if the key itself is in the settings; `copies` is None without a folder for the copy.
    """

    path: Path | None
    state: Path
    copies: Path | None
    secret: SecretStr | None = None

    def key(self) -> SigningKey:
        """Read the key. Raises KeyUnusable, also while a rotation is under way."""
        if self.secret is not None:
            return keys.parse(self.secret.get_secret_value(), SIGNING_KEY)
        assert self.path is not None, "a key is in the settings or in a file"
        if rotation.pending(self.path):
            raise KeyUnusable(
                f"a rotation of {self.path} was begun and not finished: run advice-ledger keys rotate again"
            )
        return keys.read(self.path)

    def last_signed(self) -> LastSigned:
        """Return what was signed last, by all files that hold it. Raises KeyUnusable."""
        return LastSigned(self.state, self.copies, self.key().verifier)


@app.command()
def generate(
    key: KeyFile = None,
    origin: Origin = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make a key in a new file, and print its public part, for those who verify."""
    settings = configured(config, key_file=key, database_url=database_url, data_dir=data_dir)
    path = _file(settings)
    made = keys.generate(name_for(settings, origin), path)
    with naming(f"the key is in {path}"):
        show_key(made.verifier, as_json=as_json)


@app.command()
def show(
    key: KeyFile = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Print the key's public part, a line for the key file of those who verify. Reads no database."""
    settings = configured(config, key_file=key, database_url=database_url, data_dir=data_dir)
    key_place = place(settings, state_needed=False)
    if key_place is None:
        raise CannotRun(f"no key is configured: use --key, or set {SIGNING_KEY}")
    show_key(key_place.key().verifier, as_json=as_json)


@app.command()
def rotate(
    key: KeyFile = None,
    key_state: KeyState = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Rotate the key: make a new one, and record an event, signed by both, that it replaces the old key.

    No other process may sign meanwhile. After a crash, run it again: it finishes the rotation.
    """
    with notes_after():
        settings = configured(config, key_file=key, key_state=key_state, database_url=database_url, data_dir=data_dir)
        key_place = place(settings)
        if key_place is None or key_place.path is None:
            raise CannotRun("a rotation needs the key in a file: use --key")
        with opened(settings) as url:
            recorder = recorder_of(settings, url)
            new = _rotated(url, key_place.path, key_place.state, key_place.copies, recorder)
        with naming(f"the key is rotated; the new one is in {key_place.path}"):
            show_key(new, as_json=as_json)


def place(settings: Settings, *, state_needed: bool = True) -> Place | None:
    """Return the place of the key; None if no key is configured. Raises CannotRun for a key without its state file."""
    if settings.key is not None:
        if settings.key_state is None and state_needed:
            raise CannotRun(f"with the key in {SIGNING_KEY}, set its state file too: {variable('key_state')}")
        return Place(None, settings.key_state or Path(), state_folder(settings), settings.key)
    path = settings.key_file
    if path is None:
        folder = data_folder(settings)
        if folder is None:
            return None
        path = folder / IN_DATA_DIR
    return Place(path, settings.key_state or rotation.beside(path, "last"), state_folder(settings))


def _file(settings: Settings) -> Path:
    folder = data_folder(settings)
    if settings.key_file is None and folder is None:
        raise CannotRun("name the new file for the key: --key FILE")
    return settings.key_file or (folder or Path()) / IN_DATA_DIR


def _rotated(
    url: Url, path: Path, state: Path, copies: Path | None = None, recorder: Recorder | None = None
) -> VerifierKey:
    """Do the steps of ledger/tlog/sign/rotate.py, from where an earlier attempt ended."""
    old = keys.read(path)
    with connect(url, "signer") as conn:
        if rotation.finish(conn, old, state, copies):
            return old.verifier
        with rotation.leading(conn, old, state, copies) as signer:
            if signer is None:
                raise CannotRun(
                    "another process signs: stop advice-ledger serve and advice-ledger sign for the rotation"
                )
            if not rotation.successors(conn, old.verifier):
                while signer.step() is not None:
                    # The old key signs the events before the rotation, provided that its checkpoints are in order.
                    pass
            new, recorded = rotation.prepare(conn, old.verifier, path)
            if not recorded:
                asyncio.run(_record(url, old, new, recorder))
            rotation.replace(path, old.verifier)
            rotation.finish(conn, new, state, copies)
    return new.verifier


async def _record(url: Url, old: SigningKey, new: SigningKey, recorder: Recorder | None) -> None:
    writer = Writer(conninfo(url, "writer", lock_timeout="3s"), recorder=recorder)
    await writer.start()
    try:
        actor = Actor(id=operator(), kind="human", role="operator")
        await writer.append([NewEvent(uuid7(), STREAM, rotation.rotated(old, new), actor)])
    finally:
        await writer.close()

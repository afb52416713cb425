"""advice-ledger keys: what the log is signed with, and where it is for the other commands."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from api.cli.replay import operator
from api.cli.shared import AsJson, CannotRun, DatabaseUrl, DataDir, chosen, given, opened, say, say_json
from api.postgres.connect import connect
from api.postgres.embedded import default_data_dir
from ledger.database import Connection, conninfo
from ledger.proof.tlog.note import SigningKey, VerifierKey
from ledger.store.envelope import Actor, NewEvent, uuid7
from ledger.tlog.sign import keys
from ledger.tlog.sign import rotate as rotation
from ledger.tlog.sign.errors import KeyUnusable
from ledger.tlog.sign.recorded_rotations import STREAM

app = typer.Typer(
    help="The key that the log is signed with. Only its public part is ever shown.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

# The key itself, where it is not in a file.
SIGNING_KEY = "ADVICE_LEDGER_KEY"
IN_DATA_DIR = "log.key"
ORIGIN = "SELECT origin FROM head"
NOTHING_SIGNED = (
    "nothing is signed: this process has no key; make one with advice-ledger keys generate and give it with --key"
    " (docs/operate/tlog.md)"
)

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key",
        envvar="ADVICE_LEDGER_KEY_FILE",
        metavar="FILE",
        show_default=False,
        help=f"The log's signing key. Default: that in {SIGNING_KEY}, or {IN_DATA_DIR} beside the embedded database.",
    ),
]
KeyState = Annotated[
    Path | None,
    typer.Option(
        "--key-state",
        envvar="ADVICE_LEDGER_KEY_STATE",
        metavar="FILE",
        show_default=False,
        help="What was signed last, outside the database. Default: the key's file with .last after its name.",
    ),
]
Origin = Annotated[
    str | None,
    typer.Option(metavar="NAME", show_default=False, help="The ledger's name, to make a key without its database."),
]


@dataclass(frozen=True)
class Place:
    """Where the key is and where its state; `path` is None for a key in the environment."""

    path: Path | None
    state: Path

    def key(self) -> SigningKey:
        """The key. Raises KeyUnusable, also while a rotation is under way."""
        if self.path is None:
            return keys.parse(os.environ[SIGNING_KEY], SIGNING_KEY)
        if rotation.pending(self.path):
            raise KeyUnusable(f"a rotation of {self.path} was begun and not ended: run advice-ledger keys rotate again")
        return keys.read(self.path)


@app.command()
def generate(
    ctx: typer.Context,
    key: KeyFile = None,
    origin: Origin = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key in a new file, and print its public part, for those who verify."""
    path = _file(ctx, key, database_url, data_dir)
    if origin is None:
        with opened(ctx, database_url, data_dir) as url, connect(url, "reader") as conn:
            origin = origin_of(conn)
    _show(keys.generate(origin, path).verifier, as_json=as_json)


@app.command()
def show(
    ctx: typer.Context,
    key: KeyFile = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Print the key's public part, for those who verify: a line for their key file. Reads no database."""
    found = place(ctx, key, Path(), database_url, data_dir)
    if found is None:
        raise CannotRun(f"which key: give --key, or set {SIGNING_KEY}")
    _show(found.key().verifier, as_json=as_json)


@app.command()
def rotate(
    ctx: typer.Context,
    key: KeyFile = None,
    key_state: KeyState = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Sign with a new key from here on. Records, signed by both keys, that it takes the old one's place.

    Nobody may be signing meanwhile. Run again after a crash, it ends what was begun.
    """
    found = place(ctx, key, key_state, database_url, data_dir)
    if found is None or found.path is None:
        raise CannotRun("a rotation needs the key in a file: give --key")
    with opened(ctx, database_url, data_dir) as url:
        new = _rotated(url, found.path, found.state)
    _show(new, as_json=as_json)


def place(
    ctx: typer.Context, key: Path | None, state: Path | None, database_url: str | None, data_dir: Path | None
) -> Place | None:
    """Where the key is, by options and environment; None where nothing says so. Raises CannotRun."""
    text = os.environ.get(SIGNING_KEY) and not given(ctx, "key")
    if text and key is not None:
        raise CannotRun(f"{SIGNING_KEY} and ADVICE_LEDGER_KEY_FILE exclude each other: set one of them")
    if text:
        if state is None:
            raise CannotRun(f"with the key in {SIGNING_KEY}, say where its state is kept: --key-state FILE")
        return Place(None, state)
    if key is None:
        folder = data_folder(ctx, database_url, data_dir)
        if folder is None:
            return None
        key = folder / IN_DATA_DIR
    key = key.expanduser()
    return Place(key, state or rotation.beside(key, "last"))


def data_folder(ctx: typer.Context, database_url: str | None, data_dir: Path | None) -> Path | None:
    """The embedded database's folder; None for a server of the user's."""
    url, folder = chosen(ctx, database_url, data_dir)
    return None if url is not None else (folder or default_data_dir()).expanduser()


def origin_of(conn: Connection) -> str:
    """The ledger's name."""
    row = conn.execute(ORIGIN).fetchone()
    if row is None:
        raise CannotRun("this database has no ledger yet: run advice-ledger migrate")
    return str(row[0])


def _file(ctx: typer.Context, key: Path | None, database_url: str | None, data_dir: Path | None) -> Path:
    folder = data_folder(ctx, database_url, data_dir)
    if key is None and folder is None:
        raise CannotRun("say where the key is to be: --key FILE")
    return (key or (folder or Path()) / IN_DATA_DIR).expanduser()


def _rotated(url: str, path: Path, state: Path) -> VerifierKey:
    """The steps of ledger/tlog/sign/rotate.py, from wherever an earlier try ended."""
    old = keys.read(path)
    with connect(url, "signer") as conn:
        if rotation.finish(conn, old, state):
            return old.verifier
        with rotation.leading(conn, old, state) as signer:
            if signer is None:
                raise CannotRun("somebody is signing: stop advice-ledger serve and advice-ledger sign for the rotation")
            if not rotation.successors(conn, old.verifier):
                while signer.step() is not None:
                    pass  # what was recorded under the old key is signed by it, and only where the log is in order
            new, recorded = rotation.prepare(conn, old.verifier, path)
            if not recorded:
                asyncio.run(_record(url, old, new))
            rotation.replace(path, old.verifier)
            rotation.finish(conn, new, state)
    return new.verifier


async def _record(url: str, old: SigningKey, new: SigningKey) -> None:
    from ledger.store.writer import Writer  # noqa: PLC0415 - the other commands write nothing

    writer = Writer(conninfo(url, "writer", lock_timeout="3s"))
    await writer.start()
    try:
        actor = Actor(id=operator(), kind="human", role="operator")
        await writer.append([NewEvent(uuid7(), STREAM, rotation.rotated(old, new), actor)])
    finally:
        await writer.close()


def _show(key: VerifierKey, *, as_json: bool) -> None:
    if as_json:
        say_json({"name": key.name, "key_id": f"{key.key_id:08x}", "verifier_key": key.text})
    else:
        say(key.text)

"""Share parts of the commands about signing keys and recording keys: the name of a new key, and its public part."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.configure import opened, origin_of
from api.cli.shared import say, say_json
from api.postgres.connect import connect
from api.settings import Settings
from ledger.proof.tlog.note import VerifierKey

Origin = Annotated[
    str | None,
    typer.Option(metavar="NAME", show_default=False, help="The ledger's name, to make a key without its database."),
]


def name_for(settings: Settings, origin: str | None) -> str:
    """Return the ledger's name for a new key: the given name, or the database's. Raises CannotRun."""
    if origin is not None:
        return origin
    with opened(settings) as url, connect(url, "reader") as conn:
        return origin_of(conn)


def show_key(key: VerifierKey, *, as_json: bool) -> None:
    """Print the public part of a key."""
    if as_json:
        say_json({"name": key.name, "key_id": f"{key.key_id:08x}", "verifier_key": key.text})
    else:
        say(key.text)

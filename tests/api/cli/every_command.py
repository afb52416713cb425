"""Every command of the program, and arguments with which each does its work and prints a result.

The tests that walk over all commands fail for one that has no arguments here, so that a new command is tested too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from typer.core import TyperGroup

from api.cli.commands import COMMANDS, load
from ledger.tlog.signing_keys import SigningKey
from tests.api.served import make_tokens
from tests.api.witness.processes import keygen
from tests.ledger.tlog.logs import key_for, sign
from tests.support import append, connect, new, requested

# Commands that run until they are ended. They print no result, but for the first tokens that `serve` makes.
SERVERS = frozenset({"serve", "witness serve"})
# It makes a ledger of its own, and takes a quarter of a minute.
SLOW = frozenset({"demo"})


class Scene(NamedTuple):
    """What the commands work on: a ledger with a request and a checkpoint, its key, and a folder."""

    url: str
    folder: Path
    key: SigningKey

    def arguments(self, command: str, url: str | None = None) -> list[str]:
        """Return the command with its arguments, for this ledger or that at another `url`."""
        given = [*command.split(), *map(str, self._given()[command])]
        without = command == "demo" or command.startswith("witness")
        return given if without else [*given, "--database-url", url or self.url]

    def _given(self) -> Mapping[str, list[object]]:
        key, new = ("--key", self.folder / "log.key"), self.folder / "new"
        witness = [("--key", self.folder / "key"), ("--state", self.folder / "state")]
        at: list[object] = [part for pair in witness for part in pair]
        return {
            "serve": ["--port", 0, "--no-worker"],
            "migrate": [],
            "rebuild": [],
            "status": [],
            "orphans": [],
            "replay": ["--request", 1],
            "verify": [],
            "sign": ["--once", *key],
            "export": ["--request", 1, "--output", new, *key],
            "backup": ["--output", new],
            "restore": [new],
            "demo": ["--clients", 1, "--years", 1],
            "tokens create": ["somebody", "--role", "auditor"],
            "tokens list": [],
            "tokens revoke": ["advisor"],
            "keys generate": ["--origin", "example", "--key", new],
            "keys show": [*key],
            "keys rotate": [*key],
            "witness keygen": ["--name", "w", "--key", new, "--state", self.folder / "new-state"],
            "witness serve": [*at, "--port", 0, "--log", SigningKey.generate("l").verifier.text],
            "witness status": [*at],
        }


def scene(url: str, folder: Path) -> Scene:
    """Make what the commands work on."""
    with connect(url, "writer") as conn:
        append(conn, new("request-", requested()))
    make_tokens(url)
    key = key_for(url)
    (folder / "log.key").write_text(key.reveal() + "\n")
    (folder / "log.key").chmod(0o600)
    sign(url, key, folder / "log.key.last")
    keygen(folder)
    return Scene(url, folder, key)


def leaves(commands: Mapping[str, Any], *path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, by its name in full."""
    for name, found in commands.items():
        if isinstance(found, TyperGroup):
            yield from leaves(found.commands, *path, name)
        else:
            yield " ".join((*path, name)), found


EVERY = dict(leaves({name: load(name) for name in COMMANDS}))

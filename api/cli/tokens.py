"""advice-ledger tokens: make, list and revoke bearer tokens."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from api.cli.configure import configured, opened
from api.cli.shared import AsJson, ConfigFile, DatabaseUrl, DataDir, say, say_json, say_table
from api.http.auth import tokens
from api.postgres.connect import connect

app = typer.Typer(
    help="Bearer tokens for the HTTP API. Only their SHA-256 is stored.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="The name of its holder. Events carry it as the actor, so no personal data. a to z, 0 to 9, and . _ @ -",
    ),
]
Role = Annotated[str, typer.Option(metavar="|".join(tokens.ROLES), help="The role of its holder.")]


@app.command()
def create(
    name: Name,
    role: Role,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make a token and print it. It cannot be shown again."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    # If the token cannot be printed, none is made.
    with opened(settings) as url, connect(url, "owner") as conn, conn.transaction():
        token = tokens.create(conn, name, role)
        if as_json:
            say_json({"name": name, "role": role, "token": token})
        else:
            say(token)


@app.command(name="list")
def list_tokens(
    as_json: AsJson = False, database_url: DatabaseUrl = None, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """List all tokens: name, role, when made, when revoked."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url, connect(url, "owner") as conn:
        listed = tokens.listed(conn)
    if as_json:
        say_json(listed)
        return
    rows = [(token.name, token.role, _minute(token.created_at), _minute(token.revoked_at)) for token in listed]
    say_table(("name", "role", "created (UTC)", "revoked (UTC)"), rows)


@app.command()
def revoke(
    name: Name,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """End a token; running servers refuse it within a second. Its name stays taken."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url, connect(url, "owner") as conn:
        tokens.revoke(conn, name)
    if as_json:
        say_json({"name": name, "revoked": True})
    else:
        say(f"revoked {name}")


def _minute(time: datetime | None) -> str:
    return "" if time is None else f"{time:%Y-%m-%d %H:%M}"

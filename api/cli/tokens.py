"""advice-ledger tokens: who may call."""

from __future__ import annotations

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
        help="Who holds it: the actor that events carry, so no personal data. a to z, 0 to 9, and . _ @ -",
    ),
]
Role = Annotated[str, typer.Option(metavar="|".join(tokens.ROLES), help="What its holder may do.")]


@app.command()
def create(
    name: Name,
    role: Role,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Make a token and print it: the only time that it can be seen."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url, connect(url, "owner") as conn:
        token = tokens.create(conn, name, role)
    if as_json:
        say_json({"name": name, "role": role, "token": token})
    else:
        say(token)


@app.command(name="list")
def list_tokens(
    as_json: AsJson = False, database_url: DatabaseUrl = None, data_dir: DataDir = None, config: ConfigFile = None
) -> None:
    """List who holds a token, in which role, since when, and until when if it was revoked."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url, connect(url, "owner") as conn:
        found = tokens.listed(conn)
    if as_json:
        say_json(found)
        return
    rows = [
        (token.name, token.role, f"{token.created_at:%Y-%m-%d %H:%M}", f"{token.revoked_at:%Y-%m-%d %H:%M}")
        if token.revoked_at
        else (token.name, token.role, f"{token.created_at:%Y-%m-%d %H:%M}", "")
        for token in found
    ]
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

"""advice-ledger credentials: issue, rotate, revoke and list the tokens of subjects."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from api.cli.administration import (
    Expires,
    Name,
    command,
    grace_end,
    made,
    minute,
    rows_of,
    shown,
    subject_of,
    time_text,
)
from api.cli.configure import configured, opened
from api.cli.register_identity import register_identity
from api.cli.register_key import register_key
from api.cli.shared import AsJson, ConfigFile, DatabaseUrl, DataDir, say, say_json, say_table
from api.http.auth.tokens import new_token
from api.postgres.connect import connect
from api.settings import Settings
from ledger.domain.subject_commands import NewToken
from projections.credentials.model import CREDENTIALS, IssuedCredential
from schema.events import CredentialRevoked

LAST_USES = "SELECT subject, credential, last_used_at FROM credential_uses"

app = typer.Typer(
    help="Bearer tokens for the HTTP API, and other credentials of subjects. Only the SHA-256 of a token is recorded.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app.command()
def issue(
    name: Name,
    expires: Expires = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Issue one more token to a subject and print it. It cannot be shown again."""
    text, sha256 = new_token()
    token = NewToken(sha256, time_text(expires))
    _issue(name, text, token, as_json, configured(config, database_url=database_url, data_dir=data_dir))


@app.command()
def rotate(  # noqa: PLR0913, PLR0917 - each option is an argument
    name: Name,
    credential: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", show_default=False, help="The number of the token to replace. Default: the only one."
        ),
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            show_default=False,
            help="How long the old token still works, such as 30m, 1h or 2d. Default: not at all.",
        ),
    ] = None,
    expires: Expires = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Issue a token in the place of another one, and print it. The subject stays who it is."""
    text, sha256 = new_token()
    token = NewToken(sha256, time_text(expires), credential, grace_end(grace))
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    _issue(name, text, token, as_json, settings, rotated=True)


@app.command()
def revoke(
    name: Name,
    credential: Annotated[int, typer.Argument(min=1, metavar="N", help="The number of the credential.")],
    reason: Annotated[
        str | None, typer.Option(metavar="TEXT", show_default=False, help="Why. It is recorded as a sealed value.")
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """End a credential; running servers refuse it within a second."""
    event = made(CredentialRevoked, credential=credential, reason=reason)
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        receipt = command(settings, url, lambda ledger, actor: ledger.change(actor, name, event))
    if as_json:
        say_json({"name": name, "credential": credential, "position": receipt.position})
    else:
        say(f"revoked credential {credential} of {name}")


app.command(name="register-key")(register_key)
app.command(name="register-identity")(register_identity)


@app.command(name="list")
def list_credentials(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", show_default=False, help="Of this subject. Default: of all.")
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List credentials: whose, when issued, until when they are good. Secrets are not recorded and not shown."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        if name is not None:
            subject_of(url, name)
        found = rows_of(url, CREDENTIALS, IssuedCredential, **({} if name is None else {"subject": name}))
        with connect(url, "reader") as conn:
            uses = {(subject, number): at for subject, number, at in conn.execute(LAST_USES)}
    if as_json:
        used = {key: at.astimezone(UTC).isoformat() for key, at in uses.items()}
        say_json(
            [{**one.model_dump(mode="json"), "last_used_at": used.get((one.subject, one.credential))} for one in found]
        )
        return
    now = datetime.now(UTC)
    rows = [
        (
            one.subject,
            one.credential,
            one.kind,
            minute(one.created_at),
            minute(one.ends_at),
            minute(uses.get((one.subject, one.credential))),
            _state(one, now),
        )
        for one in found
    ]
    say_table(("subject", "credential", "kind", "issued (UTC)", "ends (UTC)", "last used (UTC)", "state"), rows)


def _issue(name: str, text: str, token: NewToken, as_json: bool, settings: Settings, *, rotated: bool = False) -> None:
    with opened(settings) as url:
        receipt = command(settings, url, lambda ledger, actor: ledger.issue(actor, name, token, rotate=rotated))
        result = {"name": name, "position": receipt.position, "token": text}
        shown(settings, url, name, token.sha256, lambda: say_json(result) if as_json else say(text))


def _state(one: IssuedCredential, now: datetime) -> str:
    if one.revoked_at is not None:
        return f"revoked {minute(one.revoked_at)}" if one.replaced_by is None else f"replaced by {one.replaced_by}"
    if one.ends_at is not None and one.ends_at <= now:
        return "ended"
    return "good" if one.replaced_by is None else f"good, replaced by {one.replaced_by}"

"""advice-ledger credentials register-identity: let a subject sign in at an OpenID Connect provider."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from api.cli.administration import Expires, Name, command, made, rows_of, time_text
from api.cli.configure import configured, opened
from api.cli.shared import AsJson, CannotRun, ConfigFile, DatabaseUrl, DataDir, say, say_json
from api.oidc.fetch import is_safe
from ledger.database import Url
from projections.credentials.model import CREDENTIALS, IssuedCredential
from schema.events import CredentialIssued


def register_identity(  # noqa: PLR0913, PLR0917 - each option is an argument
    name: Name,
    sub: Annotated[
        str,
        typer.Option(
            "--sub", metavar="SUB", help="The identity at the provider: the value of `sub`. It is recorded sealed."
        ),
    ],
    issuer: Annotated[
        str | None,
        typer.Option(metavar="URL", show_default=False, help="The provider. Default: the setting oidc_issuer."),
    ] = None,
    expires: Expires = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Let a subject sign in with an identity at an OpenID Connect provider: one more credential of it."""
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    at = issuer or settings.oidc_issuer
    if at is None or not is_safe(at):
        raise CannotRun("name the provider with --issuer: an https address, or an http address of this machine")
    members = {"kind": "oidc", "issuer": at, "identity": sub, "expires_at": time_text(expires)}
    event = made(CredentialIssued, credential=1, **members)
    with opened(settings) as url:
        _check_free(url, at, event.identity)
        receipt, _ = command(
            settings,
            url,
            lambda ledger, actor: ledger.register_identity(actor, name, at, event.identity or "", event.expires_at),
        )
    if as_json:
        say_json({"name": name, "issuer": at, "position": receipt.position})
    else:
        say(f"registered an identity at {at} as a credential of {name}")


def _check_free(url: Url, issuer: str, identity: str | None) -> None:
    """Raise CannotRun if a subject already has this identity.

    If two subjects register it at once, only the first gets it.
    """
    now = datetime.now(UTC)
    for one in rows_of(url, CREDENTIALS, IssuedCredential):
        ended = one.revoked_at is not None or (one.ends_at is not None and one.ends_at <= now)
        if (one.issuer, one.identity) == (issuer, identity) and not ended:
            raise CannotRun(
                f"this identity is credential {one.credential} of {one.subject}: an identity belongs to one subject;"
                f" revoke it there first, with advice-ledger credentials revoke {one.subject} {one.credential}"
            )

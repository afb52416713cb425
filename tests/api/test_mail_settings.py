"""The settings of mail, before a server starts: what goes together, and which server is meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from api.cli import assemble
from api.cli.shared import CannotRun
from api.settings import Settings

GOOD: dict[str, Any] = {"smtp_server": "smtps://mail.example", "mail_from": "ledger@firm.example"}


def settings(**members: Any) -> Settings:
    """Return settings with a folder for addresses."""
    return Settings(**{"endpoint_keys": Path("/keys"), **members})


@pytest.mark.parametrize(
    ("server", "host", "port", "implicit"),
    [
        ("smtps://mail.example", "mail.example", 465, True),
        ("smtps://mail.example:2465/", "mail.example", 2465, True),
        ("smtp://mail.example", "mail.example", 587, False),
        ("smtp://127.0.0.1:25", "127.0.0.1", 25, False),
        ("smtp://[::1]:25", "::1", 25, False),
    ],
)
def test_a_mail_server(server: str, host: str, port: int, implicit: bool) -> None:
    """The scheme says how TLS begins, and the port that is meant if none is named."""
    found = assemble.mail(settings(**{**GOOD, "smtp_server": server}))
    assert found is not None
    assert (found.host, found.port, found.implicit_tls, found.user) == (host, port, implicit, None)
    assert (found.domain, found.folder) == ("firm.example", Path("/keys"))


def test_the_password_is_not_shown() -> None:
    """Neither by the settings nor by what is made of them."""
    login = {"smtp_user": "ledger", "smtp_password": SecretStr("s3cret")}
    found = assemble.mail(settings(**GOOD, **login))
    assert found is not None
    assert found.password == SecretStr("s3cret")
    assert "s3cret" not in repr(found)


def test_no_mail_server() -> None:
    """Then no mail is sent, and messages to endpoints of mail wait."""
    assert assemble.mail(settings()) is None


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"mail_from": None}, "go together"),
        ({"smtp_server": None}, "go together"),
        ({"smtp_user": "ledger"}, "smtp_user and smtp_password go together"),
        ({"smtp_password": SecretStr("s3cret")}, "smtp_user and smtp_password go together"),
        (
            {"smtp_server": None, "mail_from": None, "smtp_user": "u", "smtp_password": SecretStr("s3cret")},
            "needs them",
        ),
        ({"mail_from": "Ledger <ledger@firm.example>"}, "one address"),
        ({"mail_from": "ledger@firm.example\nBcc: x@y.example"}, "one address"),
        *(
            ({"smtp_server": server}, "smtp_server must be such as")
            for server in (
                *(
                    "mail.example",
                    "https://mail.example",
                    "smtp://",
                    "smtp://u:p@mail.example",
                    "smtp://mail.example/x",
                ),
                *("smtp://mail.example?x", "smtp://mail.example:0", "smtp://mail.example:99999", "smtp://mail example"),
            )
        ),
    ],
)
def test_settings_that_cannot_be_used(members: dict[str, Any], words: str) -> None:
    """One line says why, without a value that may be secret."""
    with pytest.raises(CannotRun, match=words) as found:
        assemble.mail(settings(**{**GOOD, **members}))
    assert "s3cret" not in str(found.value)
    assert "u:p" not in str(found.value)

"""Sending one mail: over which TLS, what is known of it afterwards, and what a header may hold."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from api.jobs import mail
from api.jobs.addresses import BadAddresses, NoAddress, address_of
from api.jobs.mail import MailSettings, is_address, send_mail, text_of
from api.jobs.webhook import NoAnswer, NotSent
from tests.api.jobs.certificates import Authority
from tests.api.jobs.mailing import MailServer, taking_mail

MESSAGE = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
TO = "anna@client.example"
LOGIN: dict[str, Any] = {"user": "ledger", "password": SecretStr("pa ss")}


def settings(server: MailServer, folder: Path, **options: Any) -> MailSettings:
    """Return settings for a server on this machine."""
    return MailSettings("localhost", server.port, "ledger@firm.example", folder, **options)


def sent(found: MailSettings, *lines: str) -> int | str:
    """Send a mail with these lines; return the code of the answer, or the name of why there is none."""
    content = text_of(found, TO, MESSAGE, "Portfolio monitoring, run 1", list(lines))

    async def work() -> int | str:
        try:
            return await send_mail(found, TO, content)
        except NotSent as error:
            return error.reason
        except NoAnswer:
            return "no-answer"

    return asyncio.run(work())


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that the ledger trusts."""
    found = Authority(tmp_path)
    context = ssl.create_default_context(cafile=str(found.ca))
    monkeypatch.setattr(mail, "tls_context", lambda: context)
    return found


def test_a_mail_is_what_was_written(tmp_path: Path) -> None:
    """Envelope, headers and text arrive as they were made; a line that begins with a dot too."""
    with taking_mail() as server:
        assert sent(settings(server, tmp_path), "one", ".two", "..", "") == 250
        [taken] = server.mails
    assert (taken.sender, taken.to, taken.tls) == ("ledger@firm.example", TO, False)
    assert taken.parsed.get_content() == "one\r\n.two\r\n..\r\n\r\n"
    assert taken.parsed["Message-ID"] == f"<{MESSAGE}@firm.example>"
    assert (taken.parsed["To"], taken.parsed["Auto-Submitted"]) == (TO, "auto-generated")
    assert all(line.endswith(b"\r\n") for line in taken.content.splitlines(keepends=True))


def test_a_link_may_have_any_letters(tmp_path: Path) -> None:
    """An address of the server beyond ASCII is no reason to send nothing."""
    with taking_mail() as server:
        assert sent(settings(server, tmp_path), "https://zoë.example/alerts/1") == 250
        [taken] = server.mails
    assert taken.content.isascii()
    assert taken.parsed.get_content().split() == ["https://zoë.example/alerts/1"]


@pytest.mark.parametrize("at_once", [False, True], ids=["STARTTLS", "TLS"])
def test_a_login_goes_over_tls(authority: Authority, tmp_path: Path, at_once: bool) -> None:
    """The certificate is that of the name, and the password leaves after it was verified."""
    with taking_mail(tls=authority.server("localhost"), at_once=at_once) as server:
        assert sent(settings(server, tmp_path, implicit_tls=at_once, **LOGIN)) == 250
        [taken] = server.mails
    assert (taken.tls, taken.login) == (True, ("ledger", "pa ss"))
    assert ("starttls" in server.commands) is not at_once


@pytest.mark.parametrize("at_once", [False, True], ids=["STARTTLS", "TLS"])
@pytest.mark.parametrize("fault", ["another name", "expired", "another authority"])
def test_nothing_is_sent_over_tls_that_fails(authority: Authority, tmp_path: Path, fault: str, at_once: bool) -> None:
    """Neither the password nor the mail."""
    (tmp_path / "other").mkdir()
    made = {
        "another name": lambda: authority.server("mail.example"),
        "expired": lambda: authority.server("localhost", days=-1),
        "another authority": lambda: Authority(tmp_path / "other").server("localhost"),
    }
    with taking_mail(tls=made[fault](), at_once=at_once) as server:
        assert sent(settings(server, tmp_path, implicit_tls=at_once, **LOGIN)) == "tls-failed"
        assert (server.mails, {"auth", "mail"} & set(server.commands)) == ([], set())


@pytest.mark.usefixtures("authority")
def test_tls_is_demanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that offers none gets no login; and no mail at all, unless it is on this machine."""
    with taking_mail() as server:
        assert sent(settings(server, tmp_path, **LOGIN)) == "no-tls"
        assert "auth" not in server.commands
        monkeypatch.setattr(mail, "is_loopback", lambda _: False)
        assert sent(settings(server, tmp_path)) == "no-tls"
        assert server.mails == []


@pytest.mark.usefixtures("authority")
@pytest.mark.parametrize(
    ("script", "found"),
    [
        ({"greeting": "554 no"}, "refused"),
        ({"greeting": "reset"}, "unreachable"),
        ({"greeting": "drip"}, "unreachable"),
        ({"greeting": "silence"}, "unreachable"),
        ({"ehlo": "550 no"}, "refused"),
        ({"mail": "451 later"}, 451),
        ({"mail": "354 what"}, "refused"),
        ({"rcpt": "550 nobody"}, 550),
        ({"rcpt": "silence"}, "unreachable"),
        ({"data": "451 later"}, 451),
        ({"data": "250 what"}, "refused"),
        ({"data": "reset"}, "unreachable"),
        ({"text": "250 taken"}, 250),
        ({"text": "452 full"}, 452),
        ({"text": "554 spam"}, 554),
        ({"text": "silence"}, "no-answer"),
        ({"text": "drip"}, "no-answer"),
        ({"text": "reset"}, "no-answer"),
        ({"text": "hello"}, "no-answer"),
        ({"quit": "reset"}, 250),
    ],
    ids=str,
)
def test_what_is_known_afterwards(tmp_path: Path, script: Mapping[str, str], found: int | str) -> None:
    """Before the text has left, a mail was not sent. After it, an answer that was not read leaves it open."""
    with taking_mail(script) as server:
        assert sent(settings(server, tmp_path, timeout_s=0.5), "text") == found
        assert len(server.mails) == (found in {250, 452, 554, "no-answer"})


@pytest.mark.usefixtures("authority")
def test_a_server_that_is_not_there_or_refuses_the_login(tmp_path: Path, authority: Authority) -> None:
    """The mail is not at fault: it is tried again."""
    with taking_mail({"auth": "535 no"}, tls=authority.server("localhost")) as server:
        assert sent(settings(server, tmp_path, **LOGIN)) == "login-refused"
    assert sent(settings(server, tmp_path)) == "unreachable"
    gone = MailSettings("nowhere.invalid", 25, "ledger@firm.example", tmp_path)
    assert sent(gone) == "unknown-host"


@pytest.mark.parametrize("text", [TO, "a.b+c@x.example", "a@x-y.example"])
def test_a_plain_address_is_taken(text: str) -> None:
    """One plain address."""
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "anna", "@x.example", "a@", "a b@x.example", "a@x.example\n", "a@x.example\r\nBcc: b@x.example"),
        *("a@x\0.example", "Anna <a@x.example>", "a@x.example,b@x.example", "ä@x.example", '"a"@x.example'),
        *("a@x..example", "a@-x.example", f"{'a' * 65}@x.example", f"a@{'x' * 300}.example", "a;b@x.example"),
    ],
)
def test_what_could_end_a_header_is_refused(text: str) -> None:
    """Nothing that could end a header, or add a receiver."""
    assert not is_address(text)


@pytest.mark.parametrize("subject", ["one\r\nBcc: b@x.example", "one\nTwo: 2", "one\rtwo"])
def test_a_header_has_one_line(tmp_path: Path, subject: str) -> None:
    """The standard library refuses more."""
    found = MailSettings("localhost", 25, "ledger@firm.example", tmp_path)
    with pytest.raises(ValueError, match="Header values"):
        text_of(found, TO, MESSAGE, subject, ["x"])


def test_the_file_of_addresses(tmp_path: Path) -> None:
    """A line a portfolio, `*` for the others; a message has one receiver."""
    file = tmp_path / "clients.addresses"
    with pytest.raises(NoAddress, match="is not there"):
        address_of(tmp_path, "clients", ["p1"])
    file.write_text("p1 a@x.example\n\np2 b@x.example\np3 a@x.example\n")
    assert address_of(tmp_path, "clients", ["p1"]) == address_of(tmp_path, "clients", ["p1", "p3"]) == "a@x.example"
    for portfolios in (["p4"], ["p1", "p2"], ["p1", "p4"], []):
        with pytest.raises(NoAddress, match="no address for these"):
            address_of(tmp_path, "clients", portfolios)
    file.write_text("p1 a@x.example\n* c@x.example\n")
    assert address_of(tmp_path, "clients", ["p4"]) == "c@x.example"


@pytest.mark.parametrize(
    "content",
    [b"p1\n", b"p1 a@x.example b@x.example\n", b"p1 a@x.example\np1 b@x.example\n", b"p1 <a@x.example>\n", b"\xff\n"],
)
def test_a_file_of_addresses_that_cannot_be_used(tmp_path: Path, content: bytes) -> None:
    """The message names the file, and no address."""
    (tmp_path / "clients.addresses").write_bytes(content)
    with pytest.raises(BadAddresses, match=r"clients\.addresses") as found:
        address_of(tmp_path, "clients", ["p1"])
    assert "x.example" not in str(found.value)

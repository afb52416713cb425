"""Send one message by SMTP over TLS, with a time limit, and report what is known of it afterwards.

An attempt that fails before the text was sent has reached nobody. If the answer after the text was not read, the
result is unknown: no system recognises a mail that arrives twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import smtplib
import socket
import ssl
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from uuid import UUID

from pydantic import SecretStr

from api.jobs.webhook import THREADS, NoAnswer, NotSent, tls_context

# The limit of a whole attempt, from the connection to the answer to the text.
TIMEOUT_S = 60.0
# The pause between two checks whether a thread that was told to end has ended.
CUT_S = 0.2
# One address, without a name: no blank, no quote, and no character that ends a header or an address.
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
GO_AHEAD = 354


@dataclass(frozen=True)
class MailSettings:
    """The mail server that forwards messages, and the sender. `folder` has the addresses.

    With `implicit_tls` the connection begins with TLS. Otherwise STARTTLS is required, except on a server on this
    machine without a login.
    """

    host: str
    port: int
    sender: str
    folder: Path
    implicit_tls: bool = False
    user: str | None = None
    password: SecretStr | None = field(default=None, repr=False)
    timeout_s: float = TIMEOUT_S

    @property
    def domain(self) -> str:
        """Return the sender's domain: the name of this client, and the domain of message ids."""
        return self.sender.partition("@")[2]


def is_address(text: str) -> bool:
    """Return True for one plain mail address in ASCII."""
    return len(text) <= 254 and ADDRESS.fullmatch(text) is not None and ".." not in text


def text_of(settings: MailSettings, to: str, message: UUID, subject: str, lines: list[str]) -> bytes:
    """Return a mail as it is sent.

    Its Message-ID is the same for all attempts. Raises ValueError for an invalid header.
    """
    found = EmailMessage(policy=SMTP)
    found["From"], found["To"], found["Subject"] = settings.sender, to, subject
    found["Date"] = format_datetime(datetime.now(UTC))
    found["Message-ID"] = f"<{message}@{settings.domain}>"
    found["Auto-Submitted"] = "auto-generated"
    text = "\n".join(lines) + "\n"
    # The operator's address in the link may have letters beyond ASCII.
    charset, cte = ("us-ascii", "7bit") if text.isascii() else ("utf-8", "quoted-printable")
    found.set_content(text, charset=charset, cte=cte)
    return found.as_bytes()


async def send_mail(settings: MailSettings, to: str, content: bytes) -> int:
    """Send a mail; return the code of the answer to it, or of one that refused it. Raises NotSent or NoAnswer."""
    session = _Session(settings)
    task = asyncio.get_running_loop().run_in_executor(THREADS, session.deliver, to, content)
    try:
        await asyncio.wait({task}, timeout=settings.timeout_s)
    except asyncio.CancelledError:
        session.cut()
        raise
    while not task.done():
        session.cut()
        await asyncio.wait({task}, timeout=CUT_S)
    return await task


class _Session:
    """One connection, in a thread that another thread may end."""

    def __init__(self, settings: MailSettings) -> None:
        self.settings, self.is_sent = settings, False
        self.ended = threading.Event()
        self.context = tls_context()
        if settings.implicit_tls:
            self.smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                local_hostname=settings.domain, timeout=settings.timeout_s, context=self.context
            )
        else:
            self.smtp = smtplib.SMTP(local_hostname=settings.domain, timeout=settings.timeout_s)
        # The name that TLS verifies, because connect() does not keep it.
        self.smtp._host = settings.host  # type: ignore[attr-defined]  # noqa: SLF001

    def cut(self) -> None:
        """End the connection, even while the thread waits."""
        self.ended.set()
        if self.smtp.sock is not None:
            with contextlib.suppress(OSError):
                self.smtp.sock.shutdown(socket.SHUT_RDWR)

    def deliver(self, to: str, content: bytes) -> int:
        """Send; return the code of an answer. Raises NotSent or NoAnswer."""
        try:
            self._greet()
            return self._send(to, content)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            if self.is_sent:
                raise NoAnswer from error
            raise NotSent(_reason(error)) from error
        finally:
            self.smtp.close()

    def _greet(self) -> None:
        """Connect, begin TLS, and log in. Raises NotSent, OSError or SMTPException."""
        settings = self.settings
        _check(self.smtp.connect(settings.host, settings.port)[0])
        _check(self.smtp.ehlo()[0])
        if not settings.implicit_tls and (settings.user is not None or not is_loopback(self.smtp)):
            if not self.smtp.has_extn("starttls"):
                raise NotSent("no-tls")
            _check(self.smtp.starttls(context=self.context)[0])
            _check(self.smtp.ehlo()[0])
        if settings.user is not None:
            password = settings.password
            self.smtp.login(settings.user, "" if password is None else password.get_secret_value())

    def _send(self, to: str, content: bytes) -> int:
        code = self.smtp.mail(self.settings.sender)[0]
        if code // 100 == 2:
            code = self.smtp.rcpt(to)[0]
        if code // 100 != 2:
            return _refusal(code)
        code = self.smtp.docmd("DATA")[0]
        if code != GO_AHEAD:
            return _refusal(code)
        if self.ended.is_set():
            raise NotSent("unreachable")
        self.is_sent = True
        self.smtp.send(re.sub(rb"(?m)^\.", b"..", content) + b".\r\n")
        code = self.smtp.getreply()[0]
        if self.ended.is_set() or code // 100 not in {
            2,
            4,
            5,
        }:  # smtplib also reads a code from a line that was cut off
            raise NoAnswer
        return code


def is_loopback(smtp: smtplib.SMTP) -> bool:
    """Return True if the server is on this machine."""
    assert smtp.sock is not None
    return ipaddress.ip_address(smtp.sock.getpeername()[0].partition("%")[0]).is_loopback


def _check(code: int) -> None:
    """Raise NotSent if the server refuses all mail: this mail is not at fault."""
    if code // 100 != 2:
        raise NotSent("refused")


def _refusal(code: int) -> int:
    """Return the code of an answer that refuses a mail. Raises NotSent for any other."""
    if code // 100 not in {4, 5}:
        raise NotSent("refused")
    return code


def _reason(error: Exception) -> str:
    match error:
        case smtplib.SMTPServerDisconnected():
            return "unreachable"
        case smtplib.SMTPAuthenticationError() | smtplib.SMTPNotSupportedError():
            return "login-refused"
        case socket.gaierror():
            return "unknown-host"
        case ssl.SSLError():
            return "tls-failed"
        case smtplib.SMTPException() | ValueError():
            return "refused"
    return "unreachable"

"""A mail server for tests: it takes mail, or answers as a script says, and keeps what it took."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import BinaryIO

# What a server answers to each command, if nothing else is said. A text is answered by "text".
REPLIES = {
    "greeting": "220 mail.test ESMTP",
    "ehlo": "250 PIPELINING",
    "starttls": "220 go ahead",
    "auth": "235 welcome",
    "mail": "250 ok",
    "rcpt": "250 ok",
    "data": "354 go on",
    "text": "250 taken",
    "quit": "221 bye",
}


@dataclass(frozen=True)
class Mail:
    """A mail that was taken: its envelope, its text, whether it came over TLS, and who had logged in."""

    sender: str
    to: str
    content: bytes
    tls: bool
    login: tuple[str, str] | None

    @property
    def parsed(self) -> EmailMessage:
        """The mail, as the standard library reads it."""
        found = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(found, EmailMessage)
        return found


@dataclass
class MailServer:
    """What came in. `scripts` are those of the connections in turn, the last one for all others.

    A script says what is answered to a command. "reset" and "silence" are no answer; "drip" is one that never ends.
    """

    port: int
    scripts: list[Mapping[str, str]] = field(default_factory=lambda: [{}])
    tls: ssl.SSLContext | None = None
    at_once: bool = False
    mails: list[Mail] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def serve(self, connection: socket.socket) -> None:
        """Take mail on one connection."""
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        with contextlib.suppress(OSError, ConnectionError):
            if self.at_once and self.tls is not None:
                connection = self.tls.wrap_socket(connection, server_side=True)
            _Conversation(self, connection, script).run()
        with contextlib.suppress(OSError):
            connection.close()


class _Conversation:
    def __init__(self, server: MailServer, connection: socket.socket, script: Mapping[str, str]) -> None:
        self.server, self.connection, self.script = server, connection, script
        self.lines: BinaryIO = connection.makefile("rb")
        self.login: tuple[str, str] | None = None

    @property
    def is_tls(self) -> bool:
        return isinstance(self.connection, ssl.SSLSocket)

    def run(self) -> None:
        self.reply("greeting")
        sender = to = ""
        while line := self.lines.readline():
            verb, _, rest = line.decode("ascii").strip().partition(" ")
            name = verb.lower()
            self.server.commands.append(name)
            if name == "ehlo" and "ehlo" not in self.script:
                self.say("250-mail.test")
                if self.server.tls is not None and not self.is_tls:
                    self.say("250-STARTTLS")
                self.say("250-AUTH PLAIN")
            if name == "auth":
                _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
                self.login = (user, password)
            sender = rest if name == "mail" else sender
            to = rest if name == "rcpt" else to
            self.reply(name)
            if name == "quit":
                return
            if name == "starttls" and "starttls" not in self.script:
                self.begin_tls()
            if name == "data" and self.script.get("data", "354").startswith("354"):
                self.take(sender, to)

    def begin_tls(self) -> None:
        assert self.server.tls is not None
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.lines = self.connection.makefile("rb")

    def take(self, sender: str, to: str) -> None:
        content = b""
        while (line := self.lines.readline()) != b".\r\n":
            if not line:
                raise ConnectionError("the sender has gone")
            content += line.removeprefix(b".") if line.startswith(b"..") else line
        sender, to = (text.partition("<")[2].partition(">")[0] for text in (sender, to))
        self.server.mails.append(Mail(sender, to, content, self.is_tls, self.login))
        self.reply("text")

    def reply(self, name: str) -> None:
        answer = self.script.get(name, REPLIES.get(name, "502 what?"))
        if answer == "silence":
            self.server.stopping.wait(20)
            raise ConnectionError
        if answer == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.lines.close()
            raise ConnectionError
        if answer == "drip":
            while not self.server.stopping.wait(0.02):
                self.connection.sendall(b"2")
        self.say(answer)

    def say(self, text: str) -> None:
        self.connection.sendall(f"{text}\r\n".encode())


@contextlib.contextmanager
def taking_mail(
    *scripts: Mapping[str, str], tls: ssl.SSLContext | None = None, at_once: bool = False
) -> Iterator[MailServer]:
    """Listen on a free port of this machine while the block runs. `tls` offers STARTTLS, or TLS `at_once`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = MailServer(listener.getsockname()[1], list(scripts) or [{}], tls, at_once)

        def accept() -> None:
            while not server.stopping.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    connection.settimeout(20)
                    threading.Thread(target=server.serve, args=[connection], daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            with contextlib.suppress(OSError):
                socket.create_connection(listener.getsockname(), 5).close()
            thread.join(10)

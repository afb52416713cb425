"""Sending one message: to which addresses, over which TLS, and what is known of it afterwards."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from ipaddress import ip_network
from pathlib import Path
from threading import Event, Thread
from unittest.mock import patch

import pytest

from api.jobs import webhook
from api.jobs.webhook import NoAnswer, NotSent, WebhookAnswer, WebhookSettings, is_allowed, plain_address, send
from tests.api.jobs.certificates import Authority
from tests.api.jobs.listening import receiving

PUBLIC = ("8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1")
# This machine, private networks, links, carriers, multicast, documentation, tunnels to private addresses, metadata.
REFUSED = (
    "0.0.0.0",  # noqa: S104
    *("127.0.0.1", "127.255.255.254", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.127.255.255", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
    *("192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "192.0.0.1", "192.88.99.1"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "ff0e::1"),
    *("2001:db8::1", "3fff::1", "100::1", "2001:10::1", "5f00::1", "::127.0.0.1", "::ffff:0:127.0.0.1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    *("64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::", "2002:c0a8:101::1", "2001:0:7f00:1::1"),
)
LOOPBACK = (ip_network("127.0.0.0/8"),)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    """Also where an IPv4 address is written as an IPv6 one."""
    assert is_allowed(plain_address(address), ())


@pytest.mark.parametrize("address", REFUSED)
def test_another_address_is_refused(address: str) -> None:
    """However it is written."""
    assert not is_allowed(plain_address(address), ())


def test_a_network_of_the_operator_is_allowed() -> None:
    """Only this network; an address that is mapped into IPv6 belongs to the IPv4 network."""
    networks = (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    allowed = ("10.1.2.3", "::ffff:10.1.2.3", "fd12::1")
    assert [one for one in allowed if not is_allowed(plain_address(one), networks)] == []
    assert [one for one in ("10.2.0.1", "127.0.0.1", "fe80::1") if is_allowed(plain_address(one), networks)] == []


class Names:
    """A resolver that answers with these addresses, each time with the next list, and counts the questions."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = list(answers), 0

    def look_up(self, _host: str, _port: int) -> list[str]:
        """Answer as the system does."""
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not found:
            raise socket.gaierror("no such name")
        return list(found)


def sent(url: str, settings: WebhookSettings, names: Names | None = None) -> WebhookAnswer | str:
    """Send a message; return the answer, or the name of why there is none."""

    async def work() -> WebhookAnswer | str:
        try:
            with nullcontext() if names is None else patch.object(webhook, "look_up", names.look_up):
                return await send(url, {"webhook-id": "m"}, b"{}", settings)
        except NotSent as error:
            return error.reason
        except NoAnswer:
            return "no-answer"

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([], "unknown-host"),
        (["127.0.0.1"], "address-refused"),
        (["8.8.8.8", "127.0.0.1"], "address-refused"),
        (["127.0.0.1", "8.8.8.8"], "address-refused"),
        (["2606:4700:4700::1111", "::1"], "address-refused"),
        (["8.8.8.8", "::ffff:10.0.0.1"], "address-refused"),
        (["fe80::1%eth0"], "address-refused"),
    ],
)
def test_what_a_name_resolves_to(tmp_path: Path, answer: list[str], reason: str) -> None:
    """One address that is not public is enough: which one is connected to would be chance."""
    assert sent("https://alerts.example/in", WebhookSettings(tmp_path), Names(answer)) == reason


def test_a_name_is_looked_up_once(tmp_path: Path) -> None:
    """A name that resolves to another address the second time cannot lead elsewhere: there is no second time."""
    with receiving() as receiver:
        names = Names(["127.0.0.1"], ["169.254.169.254"])
        port = receiver.url.rpartition(":")[2]
        answer = sent(f"http://alerts.example:{port}", WebhookSettings(tmp_path, LOOPBACK), names)
        [received] = receiver.received
    assert (answer, names.asked) == (WebhookAnswer(200), 1)
    assert received.headers["host"] == f"alerts.example:{port.partition('/')[0]}"


def test_plain_http_is_for_networks_of_the_operator_alone(tmp_path: Path) -> None:
    """Nothing leaves in clear for the internet, whatever the URL says."""
    assert sent("http://alerts.example/in", WebhookSettings(tmp_path, LOOPBACK), Names(["8.8.8.8"])) == "no-tls"
    mixed = Names(["127.0.0.1", "8.8.8.8"])
    assert sent("http://alerts.example/in", WebhookSettings(tmp_path, LOOPBACK), mixed) == "no-tls"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """An authority that the ledger trusts."""
    found = Authority(tmp_path)
    context = ssl.create_default_context(cafile=str(found.ca))
    monkeypatch.setattr(webhook, "tls_context", lambda: context)
    return found


def test_a_message_goes_over_tls(authority: Authority, tmp_path: Path) -> None:
    """The certificate has to be that of the name, although the connection is to the address."""
    with receiving(tls=authority.server("alerts.example")) as receiver:
        port = receiver.url.rpartition(":")[2]
        answer = sent(f"https://alerts.example:{port}", WebhookSettings(tmp_path, LOOPBACK), Names(["127.0.0.1"]))
        [received] = receiver.received
    assert (answer, received.body, received.headers["webhook-id"]) == (WebhookAnswer(200), b"{}", "m")


@pytest.mark.parametrize("fault", ["another name", "the address", "expired", "another authority", "no TLS"])
def test_nothing_is_sent_over_tls_that_fails(authority: Authority, tmp_path: Path, fault: str) -> None:
    """The receiver gets no byte of the message. It is tried again: somebody may see to the certificate."""
    (tmp_path / "other").mkdir()
    made: dict[str, Callable[[], ssl.SSLContext | None]] = {
        "another name": lambda: authority.server("other.example"),
        "the address": lambda: authority.server("127.0.0.1"),
        "expired": lambda: authority.server("alerts.example", days=-1),
        "another authority": lambda: Authority(tmp_path / "other").server("alerts.example"),
        "no TLS": lambda: None,
    }
    tls = made[fault]()
    with receiving(tls=tls) as receiver:
        port = receiver.url.rpartition(":")[2]
        settings = WebhookSettings(tmp_path, LOOPBACK, timeout_s=20.0 if tls else 0.5)
        found = sent(f"https://alerts.example:{port}", settings, Names(["127.0.0.1"]))
        # A server that waits for a plain request does not answer a greeting of TLS.
        assert (found, receiver.received) == ("tls-failed" if tls else "unreachable", [])


def test_an_attempt_has_an_end(tmp_path: Path) -> None:
    """A receiver that takes the request and says nothing, or that sends its answer slowly: nobody knows."""
    with receiving("silence") as receiver:
        assert sent(receiver.url, WebhookSettings(tmp_path, LOOPBACK, timeout_s=0.3)) == "no-answer"
        assert len(receiver.received) == 1


# The beginning of an answer, and what follows without end.
ENDLESS = {
    "a head": (b"HTTP/1.1 200 OK\r\n", b"x-more: %b\r\n" % (b"x" * 1000)),
    "one header": (b"HTTP/1.1 200 OK\r\nx-more: ", b"x" * 1000),
    "early answers": (b"", b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" * 100),
    "a body": (b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n", b"x" * 1000),
    "no HTTP": (b"", b"\x00" * 1000),
}
# Buffers of the kernel on both sides hold some of what is sent; the sender itself reads less.
MOST_TAKEN = 32 * 2**20


@contextmanager
def endless(begin: bytes, more: bytes) -> Iterator[tuple[int, list[int]]]:
    """A server that answers its one request without end. Yield its port, and the bytes sent once the caller is gone."""
    taken: list[int] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):
            connection.recv(65536)
            connection.sendall(begin)
            taken.append(0)
            while taken[0] < 2 * MOST_TAKEN:
                connection.sendall(more)
                taken[0] += len(more)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Thread(target=serve, args=[listener])
        server.start()
        yield listener.getsockname()[1], taken
        server.join()


@pytest.mark.parametrize("what", ENDLESS)
def test_an_answer_without_end(tmp_path: Path, what: str) -> None:
    """The attempt ends: the status is enough, and what comes before it has a limit in bytes."""
    with endless(*ENDLESS[what]) as (port, taken):
        answer = sent(f"http://127.0.0.1:{port}/in", WebhookSettings(tmp_path, LOOPBACK, timeout_s=60))
    assert answer == (WebhookAnswer(200) if what == "a body" else "no-answer")
    assert taken[0] < MOST_TAKEN


def test_name_servers_that_do_not_answer_hold_no_thread_of_others(tmp_path: Path) -> None:
    """Each attempt ends in time. The threads that still look up are not those that parse requests and judge runs."""
    answers = Event()

    def look_up(_host: str, _port: int) -> list[str]:
        answers.wait(20)
        raise socket.gaierror("no answer")

    async def work() -> list[str]:
        settings = WebhookSettings(tmp_path, timeout_s=0.3)
        urls = [f"https://{number}.example/in" for number in range(40)]
        found = await asyncio.gather(*(send(url, {}, b"", settings) for url in urls), return_exceptions=True)
        await asyncio.wait_for(asyncio.to_thread(answers.is_set), 5)
        answers.set()
        return [one.reason for one in found if isinstance(one, NotSent)]

    with patch.object(webhook, "look_up", look_up):
        assert asyncio.run(work()) == ["unreachable"] * 40


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "017700000001", "127。0。0。1", "[::ffff:7f00:1]"])
def test_an_address_by_another_name(tmp_path: Path, host: str) -> None:
    """However a URL writes the address of this machine, nothing is sent to it."""
    assert sent(f"https://{host}/in", WebhookSettings(tmp_path)) == "address-refused"


def test_a_redirect_is_an_answer(tmp_path: Path) -> None:
    """It is not followed, not even to an address that is allowed."""
    with receiving() as other, receiving(f"307\nLocation: {other.url}") as receiver:
        assert sent(receiver.url, WebhookSettings(tmp_path, LOOPBACK)) == WebhookAnswer(307)
        assert other.received == []


@pytest.mark.parametrize(("text", "expected"), [("30", 30.0), ("-1", None), ("1e9", None), ("soon", None), ("²", None)])
def test_the_pause_that_a_receiver_asks_for(tmp_path: Path, text: str, expected: float | None) -> None:
    """Whole seconds; anything else is left to our own pauses."""
    with receiving(f"503\nRetry-After: {text}") as receiver:
        assert sent(receiver.url, WebhookSettings(tmp_path, LOOPBACK)) == WebhookAnswer(503, expected)

"""Tokens of a real authority (`openssl ts` behind a small server): only what verifies is stored."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ledger.database import conninfo
from ledger.tlog.endorse.endorsers import EndorserConfig, Endorsers
from ledger.tlog.endorse.poller import RetryPolicy
from ledger.tlog.endorse.timestamp_client import Authority, BadAuthority, TimestampPoller, TokenRefused, checked_token
from ledger.tlog.sign.signer_thread import SigningConfig
from tests.api.served import served
from tests.ledger.tlog.endorse.servers import Behave, answering, endless, hanging, saying
from tests.ledger.tlog.logs import key_for
from tests.support import connect, eventually

pytest.importorskip("rfc3161_client", reason="the extra `timestamps` is not installed")
NO_OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to run an authority with")
# The notes that are stamped here are none of a log, which `verify` says of them.
pytestmark = [NO_OPENSSL, pytest.mark.tampers]

PACE = RetryPolicy(timeout_s=2.0, first_s=0.05, most_s=0.2)
NOTE = "ledger.example/test\n1\nAAAA\n"

CONFIG = """
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[stamping]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[tsa]
default_tsa = ts_default
[ts_default]
serial = {folder}/serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
ordering = no
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


def openssl(*arguments: object) -> None:
    """Runs it."""
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


@dataclass(frozen=True)
class Signer:
    """An authority's files."""

    folder: Path

    @property
    def root(self) -> Path:
        """The certificate that it leads to."""
        return self.folder / "ca.pem"

    def stamp(self, query: bytes, *more: object) -> bytes:
        """The response to a request; `more` are options of openssl."""
        (self.folder / "query").write_bytes(query)
        files = ("-queryfile", self.folder / "query", "-out", self.folder / "reply", "-config", self.folder / "config")
        openssl("ts", "-reply", *files, "-signer", self.folder / "tsa.pem", "-inkey", self.folder / "tsa.key", *more)
        return (self.folder / "reply").read_bytes()


def make_signer(folder: Path) -> Signer:
    """A root and an authority."""
    folder.mkdir()
    config = folder / "config"
    config.write_text(CONFIG.format(folder=folder))
    (folder / "serial").write_text("01\n")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", config)
    root = ("-subj", "/CN=root", "-extensions", "ca", "-days", 2)
    openssl("req", "-x509", *new, "-keyout", folder / "ca.key", "-out", folder / "ca.pem", *root)
    openssl("req", "-new", *new, "-keyout", folder / "tsa.key", "-out", folder / "tsa.csr", "-subj", "/CN=authority")
    signed_by = ("-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-set_serial", 7, "-days", 2)
    purpose = ("-extfile", config, "-extensions", "stamping")
    openssl("x509", "-req", "-in", folder / "tsa.csr", *signed_by, *purpose, "-out", folder / "tsa.pem")
    return Signer(folder)


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """The authority that is trusted."""
    return make_signer(tmp_path_factory.mktemp("tsa") / "good")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """An authority whose certificate nobody trusts."""
    return make_signer(tmp_path_factory.mktemp("tsa") / "other")


def stamping(signer: Signer) -> Behave:
    """An authority over HTTP."""
    return lambda body, send: saying(200, signer.stamp(body), "Content-Type: application/timestamp-reply")(body, send)


@pytest.fixture
def ledger(database_url: str) -> str:
    """A ledger with one checkpoint, of which nothing but the text matters here."""
    checkpoint(database_url, 1)
    return database_url


def checkpoint(url: str, size: int) -> None:
    """Another checkpoint."""
    with connect(url) as conn:
        conn.execute("ALTER TABLE checkpoints DISABLE TRIGGER check_checkpoint")
        conn.execute("INSERT INTO checkpoints (size, note) VALUES (%s, %s)", [size, f"{NOTE}{size}\n"])


def tokens(url: str) -> list[Any]:
    """Return the stored tokens."""
    with connect(url, "reader") as conn:
        return conn.execute("SELECT size, authority, token FROM checkpoint_timestamps ORDER BY size").fetchall()


def endorsers(url: str, authority: Authority) -> Endorsers:
    """Asks this authority."""
    return Endorsers(conninfo(url, "signer"), EndorserConfig(authorities=[authority], pace=PACE))


def test_a_token_is_stored(ledger: str, signer: Signer, tmp_path: Path) -> None:
    """The newest checkpoint is stamped, and openssl finds the stored token good for the note, and for no other."""
    with answering(stamping(signer)) as there, endorsers(ledger, Authority.of(there, signer.root)).running():
        eventually("a token", lambda: tokens(ledger))
    ((size, authority, token),) = tokens(ledger)
    assert (size, authority) == (1, there)
    (tmp_path / "token.der").write_bytes(token)
    (tmp_path / "note").write_text(f"{NOTE}1\n")
    check = ("ts", "-verify", "-token_in", "-in", tmp_path / "token.der", "-CAfile", signer.root, "-data")
    openssl(*check, tmp_path / "note")
    (tmp_path / "note").write_text(f"{NOTE}2\n")
    with pytest.raises(subprocess.CalledProcessError):
        openssl(*check, tmp_path / "note")


@pytest.mark.slow
def test_tokens_come_as_often_as_configured(ledger: str, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints in between get no token; when it is time the newest does; without a new one nothing is asked."""
    asked = []
    polls: list[float | None] = []
    real_poll = TimestampPoller.poll

    def counted(poller: TimestampPoller) -> float | None:
        polls.append(real_poll(poller))
        return polls[-1]

    monkeypatch.setattr(TimestampPoller, "poll", counted)

    def counting(body: bytes, send: Any) -> None:
        asked.append(body)
        stamping(signer)(body, send)

    with answering(counting) as there:
        asking = endorsers(ledger, Authority.of(there, signer.root, every_s=1.5))
        with asking.running():
            eventually("the first token", lambda: len(tokens(ledger)) == 1)
            for size in (2, 3):
                checkpoint(ledger, size)
                asking.checkpoint_signed()
            eventually("the second token", lambda: len(tokens(ledger)) == 2)
            apart_s = apart(ledger)
            with connect(ledger) as conn:  # time for another one passes
                conn.execute("ALTER TABLE checkpoint_timestamps DISABLE TRIGGER ALL")
                conn.execute("UPDATE checkpoint_timestamps SET created_at = created_at - interval '1 hour'")
            for _ in range(3):
                before = len(polls)
                asking.checkpoint_signed()
                eventually("the poller looks again", lambda before=before: len(polls) > before)
    assert [size for size, *_ in tokens(ledger)] == [1, 3]
    assert len(asked) == 2
    assert apart_s >= 1.4


def apart(url: str) -> float:
    """Seconds between the first and the last token."""
    query = "SELECT extract(epoch FROM max(created_at) - min(created_at)) FROM checkpoint_timestamps"
    with connect(url) as conn:
        return float(conn.execute(query).fetchall()[0][0])


def replaying(signer: Signer) -> Behave:
    """An authority that repeats its first answer, of another request."""
    first: dict[str, bytes] = {}

    def behave(body: bytes, send: Any) -> None:
        if not first:
            query = signer.folder / "replayed"
            data = signer.folder / "data"
            data.write_text(f"{NOTE}1\n")
            openssl("ts", "-query", "-data", data, "-sha256", "-cert", "-out", query)
            first["answer"] = signer.stamp(query.read_bytes())
        saying(200, first["answer"])(body, send)

    return behave


@pytest.mark.parametrize(
    ("kind", "trouble"),
    [
        ("stranger", "does not verify"),
        ("replay", "Nonce"),
        ("garbage", "no timestamp: ASN.1 parse error"),
        ("empty", "no timestamp: ASN.1 parse error"),
        ("flipped", "refused"),
        ("rejected", "not GRANTED"),
        ("503", "answered 503"),
        ("hang", "no answer within 2 s"),
        ("endless", "more than 262144 bytes"),
    ],
)
def test_a_token_that_does_not_verify_is_not_stored(
    ledger: str, signer: Signer, stranger: Signer, kind: str, trouble: str
) -> None:
    """A token by another authority, of another request, or changed, and whatever is no token, is not stored."""

    def flipping(body: bytes, send: Any) -> None:
        raw = bytearray(signer.stamp(body))
        raw[-5] ^= 1
        saying(200, bytes(raw))(body, send)

    behave: Behave = {
        "stranger": stamping(stranger),
        "replay": replaying(signer),
        "garbage": saying(200, b"garbage"),
        "empty": saying(200, b""),
        "flipped": flipping,
        "rejected": saying(200, bytes.fromhex("30053003020102")),
        "503": saying(503, b"later"),
        "hang": hanging,
        "endless": endless,
    }[kind]
    with answering(behave) as there:
        asking = endorsers(ledger, Authority.of(there, signer.root))
        with asking.running():
            found = eventually("it is named", lambda: asking.progress()[0].error)
    assert trouble in found or kind == "flipped", found
    assert tokens(ledger) == []


def test_every_bit_counts(signer: Signer) -> None:
    """A response with one byte changed is refused, or holds the same token."""
    from cryptography import x509
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    roots = x509.load_pem_x509_certificates(signer.root.read_bytes())
    request = TimestampRequestBuilder(b"note", HashAlgorithm.SHA256).build()
    raw = signer.stamp(request.as_bytes())
    assert checked_token(raw, b"note", request.nonce, roots, datetime.now(UTC))
    for at in range(0, len(raw), 7):
        changed = raw[:at] + bytes([raw[at] ^ 0x01]) + raw[at + 1 :]
        try:
            checked_token(changed, b"note", request.nonce, roots, datetime.now(UTC))
        except TokenRefused:
            continue
        # Only what no signature covers may differ: certificates that come along, and the frame.
        assert sha256(b"note").digest() in changed
    for data, nonce in ((b"another", request.nonce), (b"note", 1)):
        with pytest.raises(TokenRefused):
            checked_token(raw, data, nonce, roots, datetime.now(UTC))


def test_a_token_over_another_digest_is_refused(signer: Signer) -> None:
    """A token is over SHA-256; and one whose time is far from ours is refused."""
    from cryptography import x509
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    roots = x509.load_pem_x509_certificates(signer.root.read_bytes())
    request = TimestampRequestBuilder(b"note", HashAlgorithm.SHA512).build()
    with pytest.raises(TokenRefused):
        checked_token(signer.stamp(request.as_bytes()), b"note", request.nonce, roots, datetime.now(UTC))


@pytest.mark.parametrize(("skew", "side"), [(timedelta(hours=2), "behind"), (timedelta(hours=-2), "ahead of")])
def test_a_token_of_another_time_is_refused(signer: Signer, skew: timedelta, side: str) -> None:
    """A token whose time is far from ours, in either direction, says nothing, and is refused."""
    from cryptography import x509
    from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

    roots = x509.load_pem_x509_certificates(signer.root.read_bytes())
    request = TimestampRequestBuilder(b"note", HashAlgorithm.SHA256).build()
    answer = signer.stamp(request.as_bytes())
    with pytest.raises(TokenRefused, match=f"{side} ours"):
        checked_token(answer, b"note", request.nonce, roots, datetime.now(UTC) + skew)


def test_a_wrong_configuration_is_refused(tmp_path: Path, signer: Signer) -> None:
    """No file, no certificates, no URL: each is refused with what is wrong."""
    (tmp_path / "empty").write_text("nothing")
    for url, path in [
        ("http://tsa.example", tmp_path / "gone"),
        ("http://tsa.example", tmp_path / "empty"),
        ("tsa.example", signer.root),
        ("http://u:hunter2@tsa.example", signer.root),
    ]:
        with pytest.raises(BadAuthority) as caught:
            Authority.of(url, path)
        assert "hunter2" not in str(caught.value)


def test_the_server_says_how_it_stands(database_url: str, signer: Signer, stranger: Signer, tmp_path: Path) -> None:
    """/readyz and /metrics: size and age of the newest token by each authority, and the error of one that lies."""
    with answering(stamping(signer)) as good, answering(stamping(stranger)) as bad:
        endorsers = EndorserConfig(authorities=[Authority.of(url, signer.root) for url in (good, bad)], pace=PACE)
        signing = SigningConfig(key_for(database_url), tmp_path / "last", every_s=0.05)
        with served(database_url, signing=signing, endorsers=endorsers) as api:
            api.asked()

            def standing() -> list[dict[str, Any]]:
                found: list[dict[str, Any]] = api.get("/readyz", None).json()["checkpoint"]["timestamps"]
                return found

            eventually("a token", lambda: standing()[0]["size"] and standing()[1]["error"])
            trusted, other = standing()
            kept = [(size, authority) for size, authority, _ in tokens(database_url)]
            assert kept == [(trusted["size"], good)]  # the only one: the next may come in an hour
            assert (trusted["authority"], trusted["error"]) == (good, None)
            assert 0 <= trusted["age_s"] < 60
            assert (other["authority"], other["size"], other["age_s"]) == (bad, None, None)
            assert "does not verify" in other["error"]
            told = api.get("/metrics", None).text
            for url, troubled in ((good, 0), (bad, 1)):
                assert f'advice_ledger_timestamp_failing{{authority="{url}"}} {troubled}.0\n' in told

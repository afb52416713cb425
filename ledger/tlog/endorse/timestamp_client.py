"""Ask a timestamp authority (RFC 3161) for timestamps on checkpoints. A timestamp shows that a tree existed at a time,
by the authority's clock.

A token covers the SHA-256 of the note as it was signed. It is stored if it is for that digest and for our nonce, its
time is within an hour of ours, and it is signed by an authority that the configured certificates certify.
`rfc3161-client` (extra `timestamps`) reads ASN.1 and CMS.

    EndorserError (http.py)
    └── TokenRefused    the answer holds no valid token
    BadAuthority        the configuration cannot be used
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from cryptography import x509

from ledger.database import connect
from ledger.tlog.endorse.certificate_order import with_sorted_certificates
from ledger.tlog.endorse.http import EndorserError, HttpClient, Unreachable
from ledger.tlog.endorse.poller import Poller, RetryPolicy
from ledger.tlog.endorser_url import check_url

EVERY_S = 3600.0
MAX_TOKEN_BYTES = 262_144
MAX_CERTIFICATES_BYTES = 1024 * 1024
MAX_SKEW = timedelta(hours=1)
SHA256 = "2.16.840.1.101.3.4.2.1"

STORE = """
    INSERT INTO checkpoint_timestamps (size, authority, token) VALUES (%s, %s, %s)
    ON CONFLICT (size, authority) DO NOTHING
"""

NEWEST = Path(__file__).with_name("newest_timestamped.sql").read_text("utf-8")


class BadAuthority(ValueError):
    """The configuration of timestamps cannot be used. The message says why."""


class TokenRefused(EndorserError):
    """The authority answered without a valid token."""


@dataclass(frozen=True)
class Authority:
    """A timestamp authority, the certificates that certify it, and the shortest time between two of its tokens."""

    url: str
    roots: tuple[x509.Certificate, ...]
    every_s: float = EVERY_S

    @classmethod
    def of(cls, url: str, certificates: Path, every_s: float = EVERY_S) -> Authority:
        """Read the certificates of a PEM file: roots, and intermediate ones that tokens lack. Raises BadAuthority."""
        if importlib.util.find_spec("rfc3161_client") is None:
            raise BadAuthority("timestamps need the extra: pip install 'advice-ledger[timestamps]'")
        try:
            check_url(url)
        except ValueError as error:
            raise BadAuthority(f"the timestamp authority is {error}") from None
        try:
            with certificates.open("rb") as file:
                pem = file.read(MAX_CERTIFICATES_BYTES)
            return cls(url, tuple(x509.load_pem_x509_certificates(pem)), every_s)
        except OSError as error:
            raise BadAuthority(f"{certificates}: {error.strerror}") from error
        except ValueError:
            raise BadAuthority(f"{certificates} holds no certificates in PEM") from None


class TimestampPoller(Poller):
    """Poll one timestamp authority."""

    def __init__(
        self, conninfo: str, authority: Authority, pace: RetryPolicy, *, clock: Callable[[], float] = time.time
    ) -> None:
        http = HttpClient(authority.url, timeout_s=pace.timeout_s, max_bytes=MAX_TOKEN_BYTES, keep_open=False)
        super().__init__(authority.url, http, pace)
        self._conninfo = conninfo
        self._authority = authority
        self._clock = clock

    def poll(self) -> float | None:
        """Get a token for the newest checkpoint, unless it has one or the last token is too recent.

        Raises EndorserError.
        """
        with connect(self._conninfo) as conn:
            row = conn.execute(NEWEST, {"authority": self.endorser}).fetchone()
            if row is None:
                return None
            size, note, has_token, age_s = row
            if has_token:
                self.size = size
                return None
            if age_s is not None and age_s < self._authority.every_s:
                return float(self._authority.every_s - age_s)
            token = self._token(note.encode())
            conn.execute(STORE, [size, self.endorser, token])
            self.size = size
        return None

    def _token(self, note: bytes) -> bytes:
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder  # noqa: PLC0415 - an extra

        request = TimestampRequestBuilder(note, HashAlgorithm.SHA256, nonce=True, cert_req=True).build()
        answer = self._http.post(request.as_bytes(), "application/timestamp-query")
        if answer.status != 200:
            raise Unreachable(f"answered {answer.status_line}")
        now = datetime.fromtimestamp(self._clock(), UTC)
        return checked_token(answer.body, note, request.nonce, self._authority.roots, now)


def checked_token(
    raw: bytes, note: bytes, nonce: int | None, roots: Sequence[x509.Certificate], now: datetime
) -> bytes:
    """Verify the token in a response that came at `now`, and return its DER. Raises TokenRefused."""
    from rfc3161_client import VerificationError, decode_timestamp_response  # noqa: PLC0415 - an extra
    from rfc3161_client.verify import VerifierBuilder  # noqa: PLC0415

    try:
        response = decode_timestamp_response(with_sorted_certificates(raw))
        VerifierBuilder(nonce=nonce, roots=list(roots)).build().verify(response, sha256(note).digest())
        stamped = response.tst_info
    except VerificationError as error:
        raise TokenRefused(f"the token does not verify: {_cause(error)}") from None
    except ValueError as error:
        raise TokenRefused(f"the answer is no timestamp: {_cause(error)}") from None
    if stamped.message_imprint.hash_algorithm.dotted_string != SHA256:
        raise TokenRefused("the token does not use SHA-256")
    difference = stamped.gen_time.replace(tzinfo=UTC) - now
    if abs(difference) > MAX_SKEW:
        raise TokenRefused(
            f"the token's time is {abs(difference)} {'ahead of' if difference > timedelta() else 'behind'} ours"
        )
    return response.time_stamp_token()


def _cause(error: Exception) -> str:
    """Return the library's words about an answer: kinds and places of ASN.1, without the answer's values."""
    return "".join(character for character in " ".join(str(error).split())[:200] if character.isprintable())

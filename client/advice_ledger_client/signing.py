"""Sign acts with a key of the caller, so that the ledger can show who did them (docs/formats/signed-acts.md).

    key = SigningKey.load("ada.key")
    client = LedgerClient(url, token, signing_key=key)

A key file holds a private key: only its owner may read it. To sign, `pip install 'advice-ledger-client[signing]'`.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import unicodedata
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advice_ledger_client.canonical import canonical
from advice_ledger_client.errors import SigningError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from advice_ledger_client.wire import HttpRequest

HEADER = "Ledger-Signature"
FORMAT = "advice-ledger/signing-key/v1"
ACT_PREFIX = b"advice-ledger/act/v1\n"
SEALED_PREFIX = b"advice-ledger/sealed/v1\n"
ID_PREFIX = "advice-ledger/idempotency/v1\n"
MAX_FILE_BYTES = 10_000


@dataclass(frozen=True)
class Act:
    """A kind of act: its event, its sealed members, what the signature covers, and which member the path names."""

    path: re.Pattern[str]
    event: str
    sealed: frozenset[str]
    covers: frozenset[str]
    # "stream", "causation", or the member of `data` that is the number in the path.
    about: str


RESULT = frozenset(
    {
        "latency_ms",
        "response_finish_reasons",
        "response_id",
        "response_model",
        "time_to_first_chunk_ms",
        "usage_cache_read_input_tokens",
        "usage_cache_write_input_tokens",
        "usage_input_tokens",
        "usage_output_tokens",
        "usage_reasoning_output_tokens",
    }
)
REQUEST, RECOMMENDATION = r"/portfolio/requests/(\d+)", r"/recommendations/(\d+)"
ACTS = tuple(
    Act(re.compile(path), event, frozenset(sealed), frozenset(covers), about)
    for path, event, sealed, covers, about in (
        (
            f"{REQUEST}/recommendations",
            "recommendation.recorded",
            ("prompt", "recommendation"),
            ("model_call_id", "model_name", "model_version", "parameters"),
            "stream",
        ),
        (f"{REQUEST}/failures", "request.failed", ("detail",), ("reason",), "stream"),
        (r"/model-calls/(\d+)/completion", "model-call.completed", ("output_messages",), RESULT, "causation"),
        (r"/model-calls/(\d+)/failure", "model-call.failed", ("detail",), ("error_type", "latency_ms"), "causation"),
        (
            f"{RECOMMENDATION}/decisions",
            "recommendation.decided",
            ("rationale", "replacement", "response"),
            ("digest", "outcome", "reason_code"),
            "recommendation_id",
        ),
        (
            r"/decisions/(\d+)/confirmations",
            "recommendation.confirmed",
            ("rationale",),
            ("digest", "outcome"),
            "decision_id",
        ),
        (
            f"{RECOMMENDATION}/communications",
            "recommendation.communicated",
            ("message",),
            ("channel", "digest"),
            "recommendation_id",
        ),
    )
)


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 key of a subject of one ledger. `credential` is its number once it is registered."""

    ledger: str
    subject: str
    private: bytes = field(repr=False)
    credential: int | None = None

    @classmethod
    def generate(cls, *, ledger: str, subject: str) -> SigningKey:
        """Make a new key. `ledger` is the origin of the ledger, `subject` the name of the caller there."""
        return cls(ledger, subject, secrets.token_bytes(32))

    @classmethod
    def load(cls, path: str | Path) -> SigningKey:
        """Read a key file. Raises SigningError."""
        try:
            with Path(path).open("rb") as file:
                members = json.loads(file.read(MAX_FILE_BYTES))
            private = _decoded(members["private_key"])
            key = cls(str(members["ledger"]), str(members["subject"]), private, int(members["credential"]))
        except OSError as error:
            raise SigningError(f"{path}: {error.strerror}") from error
        except (ValueError, LookupError, TypeError) as error:
            raise SigningError(f"{path} is not a key file of advice-ledger") from error
        if members.get("format") != FORMAT or len(private) != 32:
            raise SigningError(f"{path} is not a key file of advice-ledger")
        return key

    def save(self, path: str | Path) -> None:
        """Write a key file that only its owner may read. Raises FileExistsError, so that no key is lost."""
        members = {
            "format": FORMAT,
            "ledger": self.ledger,
            "subject": self.subject,
            "credential": self.credential,
            "private_key": encoded(self.private),
        }
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(members, file, indent=1)
            file.write("\n")

    def registered(self, credential: int) -> SigningKey:
        """Return the key with the number that the ledger gave it."""
        return replace(self, credential=credential)

    def registration(self) -> dict[str, Any]:
        """Return the body of `POST /me/signing-keys`: the public key, and its signature over the registration."""
        public = self._key().public_key().public_bytes_raw()
        data = {"scheme": "ed25519", "purpose": "sign", "public_key": encoded(public)}
        prepared_at = _now()
        statement = {
            "data": data,
            "ledger": self.ledger,
            "prepared_at": prepared_at,
            "schema": 1,
            "subject": self.subject,
            "type": "signing-key.registered",
        }
        return {**data, "proof": {"prepared_at": prepared_at, "signature": self._sign(canonical(statement))}}

    def signed(self, request: HttpRequest, causation_key: str | None = None) -> HttpRequest:
        """Return the request with its signature; a request that is no act of this format as it is.

        `causation_key` is the idempotency key of the start of a model call, for its end. Raises SigningError.
        """
        for act in ACTS:
            found = act.path.fullmatch(request.path)
            if found is not None and request.body is not None and request.key is not None:
                return replace(request, headers={HEADER: self._header(act, int(found[1]), request, causation_key)})
        return request

    def _header(self, act: Act, number: int, request: HttpRequest, causation_key: str | None) -> str:
        if self.credential is None:
            raise SigningError("this key is not registered yet")
        content = json.loads(request.body or b"{}")
        salts = {name: secrets.token_bytes(32) for name in sorted(act.sealed & content.keys())}
        prepared_at = _now()
        statement: dict[str, Any] = {
            "actor": self.subject,
            "data": {name: _text(name, content[name]) for name in act.covers & content.keys()},
            "id": str(event_id(self.subject, str(request.key))),
            "ledger": self.ledger,
            "prepared_at": prepared_at,
            "schema": 1,
            "sealed": {name: commitment(name, salt, content[name]) for name, salt in salts.items()},
            "type": act.event,
        }
        if act.about == "stream":
            statement["stream"] = f"request-{number}"
        elif act.about == "causation":
            if causation_key is None:
                raise SigningError("to sign the end of a model call, use model_call(): its id follows from the start")
            statement["causation"] = str(event_id(self.subject, causation_key))
        else:
            statement["data"][act.about] = number
        members = {
            "key": self.credential,
            "prepared_at": prepared_at,
            "salts": {name: salt.hex() for name, salt in salts.items()},
            "scheme": "ed25519",
            "signature": self._sign(canonical(statement)),
        }
        return json.dumps(members, separators=(",", ":"))

    def _sign(self, statement: bytes) -> str:
        return encoded(self._key().sign(ACT_PREFIX + statement))

    def _key(self) -> Ed25519PrivateKey:
        try:
            from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 (an extra)
        except ImportError as error:
            raise SigningError("to sign, run: pip install 'advice-ledger-client[signing]'") from error
        return ed25519.Ed25519PrivateKey.from_private_bytes(self.private)


def event_id(subject: str, key: str) -> uuid.UUID:
    """Return the id that the ledger gives the event of a command with this idempotency key."""
    digest = int.from_bytes(sha256(f"{ID_PREFIX}{subject}\n{key}".encode()).digest()[:16], "big")
    return uuid.UUID(int=(digest & ~(0xF << 76) & ~(0b11 << 62)) | (0x8 << 76) | (0b10 << 62))


def commitment(name: str, salt: bytes, value: object) -> str:
    """Return the commitment to a sealed value."""
    return sha256(SEALED_PREFIX + salt + canonical([name, value])).hexdigest()


def encoded(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _text(name: str, value: Any) -> Any:
    """Write names as the ledger does, in Unicode's NFC. Parameters are recorded as they are."""
    if isinstance(value, str) and name != "parameters":
        return unicodedata.normalize("NFC", value)
    if isinstance(value, list):
        return [_text(name, item) for item in value]
    return value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

"""Identity providers on loopback: one that a test controls, and one that others made, in a process of its own."""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tests.support import eventually

AUDIENCE = "advice-ledger"


class Controlled:
    """A provider whose documents, keys and claims a test changes. It counts the requests that come."""

    def __init__(self) -> None:
        self.key: Any = RSAKey.generate_key(2048, {"kid": "one"})
        self.keys: Any = None
        self.metadata: dict[str, Any] = {}
        # Answers in the place of the documents.
        self.answer: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.asked = 0
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def issuer(self) -> str:
        """Its name and address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def token(self, header: dict[str, Any] | None = None, key: Any = None, **claims: Any) -> str:
        """Make a token; None as the value of a claim leaves it out."""
        now = int(time.time())
        whole = {"iss": self.issuer, "sub": "ada", "aud": AUDIENCE, "iat": now, "exp": now + 300, **claims}
        used = key or self.key
        named = {"alg": "RS256", "kid": used.kid, **(header or {})}
        head = {name: value for name, value in named.items() if value is not None}
        present = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(head, present, used, algorithms=[head["alg"]])

    def close(self) -> None:
        """Stop it."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(provider) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Answer for the metadata and the keys."""
                provider.asked += 1
                if provider.answer is not None:
                    provider.answer(self)
                    return
                if self.path == "/keys":
                    keys = provider.keys or {"keys": [provider.key.as_dict(private=False)]}
                    send(self, json.dumps(keys).encode())
                else:
                    metadata = {"issuer": provider.issuer, "jwks_uri": f"{provider.issuer}/keys", **provider.metadata}
                    send(self, json.dumps(metadata).encode())

            def log_message(self, *_: object) -> None:
                """Write nothing."""

        return Handler


def send(handler: BaseHTTPRequestHandler, content: bytes, status: int = 200) -> None:
    """Send an answer; who asked may be gone."""
    with contextlib.suppress(OSError):
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)


def with_public_key_as_secret(token: str, key: Any) -> str:
    """Sign the claims of a token with HMAC under the provider's public key, which everybody has."""
    head = json.dumps({"alg": "HS256", "kid": key.kid}).encode()
    signed = f"{_base64url(head)}.{token.split('.')[1]}"
    return f"{signed}.{_base64url(hmac.digest(key.as_pem(private=False), signed.encode(), 'sha256'))}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


ANOTHER_KIND: dict[str, Callable[[], Any]] = {
    "ES256": lambda: ECKey.generate_key("P-256", {"kid": "ec"}),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519", {"kid": "ed"}),
    "PS256": lambda: RSAKey.generate_key(2048, {"kid": "rsa"}),
}


@contextlib.contextmanager
def real_provider() -> Iterator[str]:
    """Run oidc-provider-mock as a process of its own; yield its issuer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**os.environ, "AUTHLIB_INSECURE_TRANSPORT": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--user", "ada"]
    issuer = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            eventually("the provider", lambda: _answers(issuer))
            yield issuer
        finally:
            process.terminate()


def _answers(issuer: str) -> bool:
    try:
        return httpx.get(f"{issuer}/.well-known/openid-configuration").status_code == 200
    except httpx.TransportError:
        return False


def real_token(issuer: str, sub: str = "ada") -> str:
    """Sign in at the real provider as a person in a browser would; return the token that says who it is."""
    with httpx.Client(base_url=issuer) as browser:
        where = {
            "client_id": AUDIENCE,
            "redirect_uri": "http://127.0.0.1/back",
            "response_type": "code",
            "scope": "openid",
            "state": "s",
        }
        answer = browser.post("/oauth2/authorize", params=where, data={"sub": sub})
        code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": where["redirect_uri"]}
        found = browser.post("/oauth2/token", data=form, auth=(AUDIENCE, "secret")).raise_for_status().json()
    return str(found["id_token"])

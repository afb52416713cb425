"""Log a browser in with the authorization code flow with PKCE (RFC 7636), and keep its session.

The server stores nothing. Between the two requests of a login, an encrypted cookie has the values that must come back.
After it, another cookie has the user's identity at the provider. Each request looks up the subject of this identity in
the ledger.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import urlencode

from api.oidc.cookies import Cookies
from api.oidc.fetch import ProviderUnavailable, fetch_json, is_safe
from api.oidc.provider import WITHIN_S, Identity, Provider

LOGIN, SESSION = "login", "session"
# The most seconds for a person at the provider, and for a session.
LOGIN_S = 600
SESSION_S = 8 * 3600
MAX_RETURN_CHARS = 500
DEFAULT_RETURN = "/docs"
BACK = "/login/callback"


class Begun(NamedTuple):
    """A begun login: the address at the provider, and the encrypted cookie."""

    address: str
    cookie: str


class Ended(NamedTuple):
    """A completed login: the identity, the cookie of the session and its CSRF token, and the path to continue at."""

    identity: Identity
    cookie: str
    csrf: str
    return_to: str


class Session(NamedTuple):
    """The session of a browser."""

    identity: Identity
    csrf: str

    def allows(self, given: str | None) -> bool:
        """Return True if the CSRF token of a write is that of the session."""
        return given is not None and hmac.compare_digest(given.encode("utf-8", "replace"), self.csrf.encode())


@dataclass
class Login:
    """The login at a provider, for browsers that reach this server at `origin`, such as https://ledger.example."""

    provider: Provider
    client_id: str
    client_secret: str = field(repr=False)
    # Includes the path under which a proxy serves the application.
    origin: str
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._cookies = Cookies(self.client_secret)

    @property
    def is_secure(self) -> bool:
        """Return True if cookies are sent only over https; False for tests and trials on this machine."""
        return self.origin.startswith("https:")

    async def begin(self, return_to: str | None) -> Begun:
        """Begin a login. Raises ProviderUnavailable."""
        metadata = await self.provider.metadata()
        endpoint = metadata.get("authorization_endpoint")
        if not is_safe(endpoint):
            raise ProviderUnavailable("the identity provider names no safe address to sign in at")
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        question = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.origin + BACK,
            "scope": "openid",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        kept = {"state": state, "nonce": nonce, "verifier": verifier, "return_to": safe_return(return_to)}
        separator = "&" if "?" in str(endpoint) else "?"
        until_s = int(self.clock()) + LOGIN_S
        return Begun(f"{endpoint}{separator}{urlencode(question)}", self._cookies.encrypt(LOGIN, kept, until_s))

    async def end(self, cookie: str | None, state: str, code: str) -> Ended | None:
        """End the login that a cookie began; None if state or code do not belong to it. Raises ProviderUnavailable."""
        kept = self._cookies.decrypt(LOGIN, cookie, self.clock())
        if kept is None or not hmac.compare_digest(kept["state"].encode(), state.encode("utf-8", "replace")):
            return None
        endpoint = (await self.provider.metadata()).get("token_endpoint")
        if not is_safe(endpoint):
            raise ProviderUnavailable("the identity provider names no safe address for codes")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.origin + BACK,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "code_verifier": kept["verifier"],
        }
        answer = await fetch_json(str(endpoint), within_s=WITHIN_S, form=form)
        token = answer.get("id_token")
        claims = await self.provider.claims(token, self.client_id) if type(token) is str else None
        if claims is None or claims.get("nonce") != kept["nonce"]:
            return None
        csrf, sub = secrets.token_urlsafe(32), str(claims["sub"])
        until_s = int(self.clock()) + SESSION_S
        session = self._cookies.encrypt(SESSION, {"sub": sub, "csrf": csrf}, until_s)
        return Ended(Identity(self.provider.config.issuer, sub), session, csrf, kept["return_to"])

    def session(self, cookie: str) -> Session | None:
        """Return the session of a cookie; None if it has expired, or is invalid."""
        members = self._cookies.decrypt(SESSION, cookie, self.clock())
        if members is None:
            return None
        return Session(Identity(self.provider.config.issuer, members["sub"]), members["csrf"])


def login_of(provider: Provider, origins: Sequence[str], root_path: str) -> Login | None:
    """Return the login, if the provider knows this ledger as a client and browsers have an address for it."""
    client_id, secret = provider.config.client_id, provider.config.client_secret
    if client_id is None or secret is None or not origins:
        return None
    return Login(provider, client_id, secret.get_secret_value(), origins[0] + root_path)


def safe_return(path: str | None) -> str:
    """Return the path of this server to continue at after the login; the documentation's path for any other address."""
    if path is None or len(path) > MAX_RETURN_CHARS or not path.isascii() or not path.isprintable():
        return DEFAULT_RETURN
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else DEFAULT_RETURN

"""Check tokens of an OpenID Connect provider with its keys.

The provider's metadata and keys are read when the first token arrives. They are read again when they grow old or a
token names an unknown key, at most once in PAUSE_S. All callers who wait for an answer share it. Each answer has a
deadline.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from joserfc import jwt
from joserfc.errors import BadSignatureError, JoseError
from pydantic import SecretStr

from api.oidc.fetch import ProviderUnavailable, fetch_json, is_safe
from api.oidc.keys import Key, read_keys

log = logging.getLogger(__name__)

DISCOVERY = "/.well-known/openid-configuration"
# Algorithms that sign with a private key, which only the provider has. "none" and HS256 are no such algorithms.
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
# The types of a JWT that states an identity. Others, such as logout+jwt, do not.
TYPES = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})
MAX_TOKEN_BYTES = 16 * 1024
MAX_SUB_CHARS = 200
# How far the clocks of the provider and of this server may differ.
SKEW_S = 60
# The deadline for both requests together.
WITHIN_S = 3.0
# The shortest time between two attempts.
PAUSE_S = 10.0
# The age after which keys are read again in the background, and the age after which they are not used.
FRESH_S = 900.0
LONGEST_S = 86_400.0


@dataclass(frozen=True)
class ProviderConfig:
    """A provider, and the names of this ledger there."""

    issuer: str
    # The value that a token's `aud` must have.
    audience: str
    # Needed for the login in a browser.
    client_id: str | None = None
    client_secret: SecretStr | None = None


class Identity(NamedTuple):
    """An identity at a provider."""

    issuer: str
    sub: str


class _UnknownKey(Exception):
    """No known key can have signed the token: the provider may have a new key."""


@dataclass
class _Read:
    """Content read from the provider, and the time of reading (monotonic, seconds)."""

    metadata: dict[str, Any]
    keys: list[Key]
    at_s: float


@dataclass
class Provider:
    """The provider of a ledger. `identity` is for tokens that come with requests."""

    config: ProviderConfig
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    _read: _Read | None = None
    _tried_s: float | None = None
    # The reason for which the last attempt failed.
    _failure: ProviderUnavailable | None = None
    _reading: asyncio.Task[None] | None = field(default=None, repr=False)

    async def close(self) -> None:
        """Stop reading from the provider."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading})

    async def identity(self, token: str) -> Identity | None:
        """Return the identity of a token; None if the token is invalid.

        Raises ProviderUnavailable if it cannot be checked.
        """
        claims = await self.claims(token, self.config.audience)
        return None if claims is None else Identity(self.config.issuer, claims["sub"])

    async def claims(self, token: str, audience: str) -> dict[str, Any] | None:
        """Return the claims of a token for this audience; None if it is invalid. Raises ProviderUnavailable."""
        if len(token) > MAX_TOKEN_BYTES:
            return None
        known = await self._known()
        try:
            return self._check(token, known.keys, audience)
        except _UnknownKey:
            await self._read_again()
        if self._failure is not None:
            raise self._failure
        now = await self._known()
        try:
            return None if now is known else self._check(token, now.keys, audience)
        except _UnknownKey:
            return None

    async def metadata(self) -> dict[str, Any]:
        """Return the provider's own description. Raises ProviderUnavailable."""
        return (await self._known()).metadata

    async def _known(self) -> _Read:
        """Return the provider's keys and metadata, if they are not too old. Raises ProviderUnavailable."""
        age_s = None if self._read is None else self.monotonic() - self._read.at_s
        if age_s is None or age_s > LONGEST_S:
            self._read = None
            await self._read_again()
        elif age_s > FRESH_S:
            self._start()
        if self._read is None:
            raise self._failure or ProviderUnavailable("the identity provider was not asked yet; try again")
        return self._read

    async def _read_again(self) -> None:
        """Read from the provider, unless it was read just now; wait for the answer."""
        self._start()
        if self._reading is not None:
            # Use a separate task: if this caller goes away, others may still wait for it.
            await asyncio.shield(self._reading)

    def _start(self) -> None:
        if self._reading is not None and not self._reading.done():
            return
        now_s = self.monotonic()
        if self._tried_s is not None and now_s - self._tried_s < PAUSE_S:
            self._reading = None
            return
        self._tried_s = now_s
        self._reading = asyncio.create_task(self._ask(), name="identity-provider")

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(WITHIN_S):
                self._read, self._failure = await self._answer(), None
        except TimeoutError:
            self._fail(ProviderUnavailable("the identity provider does not answer in time"))
        except ProviderUnavailable as error:
            self._fail(error)

    async def _answer(self) -> _Read:
        """Return the provider's answer. Raises ProviderUnavailable."""
        metadata = await fetch_json(self.config.issuer.rstrip("/") + DISCOVERY, within_s=WITHIN_S)
        if metadata.get("issuer") != self.config.issuer or not is_safe(metadata.get("jwks_uri")):
            raise ProviderUnavailable("the identity provider describes another issuer, or no safe address")
        keys = read_keys(await fetch_json(metadata["jwks_uri"], within_s=WITHIN_S))
        if not keys:
            raise ProviderUnavailable("the identity provider shows no key that can be used")
        return _Read(metadata, keys, self.monotonic())

    def _fail(self, failure: ProviderUnavailable) -> None:
        log.warning("%s", failure)
        self._failure = failure

    def _check(self, token: str, keys: list[Key], audience: str) -> dict[str, Any] | None:
        """Return the claims of a valid token; None for an invalid one. Raises _UnknownKey."""

        unnamed = False

        def key_of(guest: Any) -> Key:
            nonlocal unnamed
            kid = guest.headers().get("kid")
            unnamed = kid is None
            named = keys if kid is None else [key for key in keys if key.kid == kid]
            if len(named) != 1:
                raise _UnknownKey
            return named[0]

        try:
            found = jwt.decode(token, key_of, algorithms=ALGORITHMS)
            typ = found.header.get("typ", "")
            if type(typ) is not str or typ.lower() not in TYPES:
                return None
            self._registry(audience).validate(found.claims)
        except BadSignatureError:
            # If the token names no key, the provider may have a new one.
            if unnamed:
                raise _UnknownKey from None
            return None
        except (JoseError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            return None
        sub = found.claims["sub"]
        return found.claims if 0 < len(sub) <= MAX_SUB_CHARS else None

    def _registry(self, audience: str) -> jwt.JWTClaimsRegistry:
        return jwt.JWTClaimsRegistry(
            now=int(self.clock()),
            leeway=SKEW_S,
            iss={"essential": True, "value": self.config.issuer},
            sub={"essential": True},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
        )

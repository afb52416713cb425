"""Tokens of an identity provider: whom they let in, and what a provider that is down, slow or lying can do."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from joserfc.jwk import RSAKey

from api.oidc import provider as oidc
from api.oidc.provider import ProviderConfig
from schema.events import CredentialIssued, CredentialRevoked, SubjectSuspended
from tests.api.oidc.providers import (
    ANOTHER_KIND,
    AUDIENCE,
    Controlled,
    real_provider,
    real_token,
    send,
    with_public_key_as_secret,
)
from tests.api.program import cli
from tests.api.served import ASK, ASKS, Api, ledger_copy, problem, served
from tests.conftest import Template
from tests.subjects import record, subject
from tests.support import connect, eventually

READ = "/portfolio/requests"


@pytest.fixture(scope="module")
def provider() -> Iterator[Controlled]:
    """A provider that the tests of this module share; each leaves it as it was."""
    made = Controlled()
    yield made
    made.close()


@pytest.fixture(scope="module")
def api(server_url: str, template_database: Template, provider: Controlled) -> Iterator[Api]:
    """A server that believes the provider; the identity ada is that of the advisor."""
    believed = ProviderConfig(provider.issuer, AUDIENCE)
    with ledger_copy(server_url, template_database) as url, served(url, identity_provider=believed) as found:
        record(url, "advisor", identity(provider.issuer, "ada"))
        yield found


@pytest.fixture(autouse=True)
def fresh(provider: Controlled, api: Api) -> None:
    """The provider answers as it should, and the server knows nothing of it yet."""
    provider.key, provider.keys, provider.metadata, provider.answer = KEY, None, {}, None
    known = api.app.state.services.identity_provider
    known._read = known._tried_s = known._failure = known._reading = None
    provider.asked = 0


KEY = RSAKey.generate_key(2048, {"kid": "one"})


def identity(issuer: str, sub: str, credential: int = 2, **more: Any) -> CredentialIssued:
    """The event that gives a subject an identity."""
    return CredentialIssued(credential=credential, kind="oidc", issuer=issuer, identity=sub, **more)


def call(api: Api, token: str, method: str = "GET", path: str = READ, **how: Any) -> httpx.Response:
    """Send a request with this token."""
    headers = {"Authorization": f"Bearer {token}"}
    return api.client.request(method, api.base + path, headers=headers, **how)


def test_an_identity_is_a_credential_of_its_subject(api: Api, provider: Controlled) -> None:
    """A token of the provider acts as the subject: events name it and the number of the identity alone.

    The provider is asked for its documents once, however many tokens come.
    """
    response = call(api, provider.token(), "POST", ASKS, json=ASK)
    assert response.status_code == 202, response.text
    with connect(api.url) as conn:
        query = "SELECT body::json->'actor' FROM events WHERE position = %s"
        [(actor,)] = conn.execute(query, [int(response.headers["ledger-position"])]).fetchall()
        assert actor == {"credential": 2, "id": "advisor", "kind": "human", "role": "advisor"}
        assert conn.execute("SELECT FROM events WHERE strpos(body, '\"ada\"') > 0").rowcount == 0
    for _ in range(5):
        assert call(api, provider.token()).status_code == 200
    assert provider.asked == 2


@pytest.mark.parametrize("algorithm", ANOTHER_KIND)
def test_other_asymmetric_keys_are_good(api: Api, provider: Controlled, algorithm: str) -> None:
    """Elliptic curves and RSA with PSS are checked as RSA is; keys of a set that nobody can use are passed over."""
    key = ANOTHER_KIND[algorithm]()
    odd = [{"kty": "oct", "k": "AA"}, {"kty": "RSA", "n": "x"}, 7, {"kty": "new"}]
    provider.keys = {"keys": [*odd, key.as_dict(private=False)]}
    assert call(api, provider.token({"alg": algorithm}, key)).status_code == 200


def _unsigned(provider: Controlled) -> str:
    _, body, _ = provider.token().split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return f"{none}.{body}."


def _edited(provider: Controlled) -> str:
    one, other = provider.token().split("."), provider.token(sub="eve").split(".")
    return ".".join((one[0], other[1], one[2]))


BAD: dict[str, Callable[[Controlled], str]] = {
    "no signature": _unsigned,
    "signed with the public key as a secret": lambda p: with_public_key_as_secret(p.token(), p.key),
    "another body": _edited,
    "another key under its name": lambda p: p.token(key=RSAKey.generate_key(2048, {"kid": "one"})),
    "a key that nobody knows": lambda p: p.token(key=RSAKey.generate_key(2048, {"kid": "two"})),
    "another issuer": lambda p: p.token(iss="http://127.0.0.1:1"),
    "no issuer": lambda p: p.token(iss=None),
    "another audience": lambda p: p.token(aud="shop"),
    "no audience": lambda p: p.token(aud=None),
    "expired": lambda p: p.token(exp=int(time.time()) - oidc.SKEW_S - 1),
    "without an end": lambda p: p.token(exp=None),
    "an end that is text": lambda p: p.token(exp="tomorrow"),
    "not yet": lambda p: p.token(nbf=int(time.time()) + oidc.SKEW_S + 60),
    "from the future": lambda p: p.token(iat=int(time.time()) + oidc.SKEW_S + 60),
    "nobody": lambda p: p.token(sub=None),
    "a long name": lambda p: p.token(sub="a" * 201),
    "a number": lambda p: p.token(sub=7),
    "another type": lambda p: p.token({"typ": "logout+jwt"}),
    "an extension": lambda p: p.token({"typ": "JWT"}) + "x",
    "too long": lambda p: p.token(more="a" * 20_000),
    "an unknown identity": lambda p: p.token(sub="grace"),
    "garbage": lambda _: "a.b.c",
    "empty parts": lambda _: "..",
}


@pytest.mark.parametrize("bad", BAD)
def test_a_token_that_is_not_good_lets_nobody_in(api: Api, provider: Controlled, bad: str) -> None:
    """Whatever is wrong with a token: 401, named."""
    problem(call(api, BAD[bad](provider)), 401, "unknown-token")


def test_clocks_may_differ_a_little(api: Api, provider: Controlled) -> None:
    """A token that expired a moment ago, and one that is good in a moment, are good. Several audiences are, too."""
    now = int(time.time())
    for claims in ({"exp": now - 20}, {"nbf": now + 20}, {"aud": ["shop", AUDIENCE]}):
        assert call(api, provider.token(**claims)).status_code == 200


def test_a_new_key_is_read_when_it_is_first_used(api: Api, provider: Controlled) -> None:
    """A token by a key that is not known: the provider is asked again, once in ten seconds, whatever comes."""
    assert call(api, provider.token()).status_code == 200
    known = api.app.state.services.identity_provider
    provider.key = RSAKey.generate_key(2048, {"kid": "two"})
    problem(call(api, provider.token()), 401, "unknown-token")
    assert provider.asked == 2, "it was asked just now"
    known._tried_s -= oidc.PAUSE_S
    assert call(api, provider.token()).status_code == 200
    for _ in range(5):
        problem(call(api, provider.token(key=RSAKey.generate_key(2048, {"kid": "three"}))), 401, "unknown-token")
    assert provider.asked == 4


def test_a_new_key_without_a_name_is_found(api: Api, provider: Controlled) -> None:
    """A provider that gives its one key no name: a signature by another key may be one by a new key."""
    nameless = [RSAKey.generate_key(2048) for _ in range(2)]
    documents = [{"keys": [{**key.as_dict(private=False), "kid": None}]} for key in nameless]
    for document in documents:
        del document["keys"][0]["kid"]
    provider.keys = documents[0]
    tokens = [provider.token({"kid": None}, key) for key in nameless]
    assert call(api, tokens[0]).status_code == 200
    provider.keys = documents[1]
    problem(call(api, tokens[1]), 401, "unknown-token")
    api.app.state.services.identity_provider._tried_s -= oidc.PAUSE_S
    assert call(api, tokens[1]).status_code == 200
    problem(call(api, tokens[0]), 401, "unknown-token")


def _late(handler: BaseHTTPRequestHandler) -> None:
    """Answer nothing until the tests are over."""
    PROVIDERS[0].released.wait()


def _drop_by_drop(handler: BaseHTTPRequestHandler) -> None:
    """Answer a byte at a time until the tests are over, or the other side has gone."""
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):
        while not PROVIDERS[0].released.wait(0.05):
            handler.wfile.write(b" ")


PROVIDERS: list[Controlled] = []

OUTAGES: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    "an error": lambda handler: send(handler, b"{}", 500),
    "a redirect": lambda handler: send(handler, b"", 302),
    "garbage": lambda handler: send(handler, b"\x00<html>"),
    "a list": lambda handler: send(handler, b"[]"),
    "too much": lambda handler: send(handler, b'{"a":"' + b"a" * 300_000 + b'"}'),
    "another issuer": lambda handler: send(
        handler, b'{"issuer":"https://evil.example","jwks_uri":"https://e.example"}'
    ),
    "nothing in time": _late,
    "never to the end": _drop_by_drop,
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_a_provider_that_does_not_answer_lets_nobody_in(api: Api, provider: Controlled, outage: str) -> None:
    """Down, slow, or garbage: 503 by name with Retry-After, within the deadline, and at once for those who come after.

    Tokens of the ledger work meanwhile, the administrator's among them.
    """
    PROVIDERS[:] = [provider]
    provider.answer = OUTAGES[outage]
    token = provider.token()
    response = call(api, token)
    problem(response, 503, "identity-provider-unavailable")
    assert int(response.headers["retry-after"]) > 0
    for role in ("advisor", "compliance"):
        assert api.call("GET", READ, role).status_code == 200
    problem(api.call("GET", READ, "admin"), 403, "wrong-role")
    asked = provider.asked
    problem(call(api, token), 503, "identity-provider-unavailable")
    assert provider.asked == asked


def test_a_provider_that_ends_keeps_known_people_in(api: Api, provider: Controlled) -> None:
    """Keys that are known are good while the provider is down; a token by another key is a 503, as nobody can tell."""
    token = provider.token()
    assert call(api, token).status_code == 200
    provider.answer = OUTAGES["an error"]
    known = api.app.state.services.identity_provider
    known._tried_s -= oidc.PAUSE_S
    stranger = provider.token(key=RSAKey.generate_key(2048, {"kid": "two"}))
    problem(call(api, stranger), 503, "identity-provider-unavailable")
    assert call(api, token).status_code == 200
    known._read.at_s -= oidc.LONGEST_S + 1
    problem(call(api, token), 503, "identity-provider-unavailable")


@pytest.mark.parametrize(
    "keys", [{}, {"keys": []}, {"keys": 7}, {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}]}], ids=json.dumps
)
def test_keys_that_nobody_can_use_are_an_outage(api: Api, provider: Controlled, keys: Any) -> None:
    """A set without a usable key, and one with shared secrets alone: 503, never a key."""
    provider.keys = keys or {"none": 1}
    problem(call(api, provider.token()), 503, "identity-provider-unavailable")


def test_short_keys_do_not_count(api: Api, provider: Controlled) -> None:
    """An RSA key of 1,024 bits is passed over."""
    short = RSAKey.generate_key(1024, {"kid": "one"})
    provider.keys = {"keys": [short.as_dict(private=False)]}
    problem(call(api, provider.token(key=short)), 503, "identity-provider-unavailable")


def test_revocation_and_suspension_hold_for_identities(api: Api, provider: Controlled) -> None:
    """An identity that is revoked, or whose subject is suspended, lets nobody in within a second, cached or not.

    It can then be given to another subject. What two subjects have is that of the first.
    """
    subject(api.url, "grete", "compliance")
    subject(api.url, "hans", "compliance")
    token = provider.token(sub="gh")
    problem(call(api, token), 401, "unknown-token")
    record(api.url, "grete", identity(provider.issuer, "gh"))
    record(api.url, "hans", identity(provider.issuer, "gh"))
    assert call(api, token).status_code == 200
    record(api.url, "grete", SubjectSuspended(reason="left"))
    eventually("the suspension", lambda: call(api, token).status_code == 403)
    record(api.url, "grete", CredentialRevoked(credential=2))
    eventually("the other subject", lambda: call(api, token).status_code == 200)
    record(api.url, "hans", CredentialRevoked(credential=2))
    eventually("the revocation", lambda: call(api, token).status_code == 401)


def test_the_read_model_alone_lets_nobody_in(api: Api, provider: Controlled) -> None:
    """A row that no event is behind, and a sealed value that its event does not commit to, give nobody an identity."""
    subject(api.url, "ida", "compliance")
    record(api.url, "ida", identity(provider.issuer, "ida"))
    assert call(api, provider.token(sub="ida")).status_code == 200
    with connect(api.url) as conn:
        row = conn.execute("UPDATE credentials SET identity = 'eve' WHERE identity = 'ida' RETURNING id").fetchone()
        assert row is not None
        try:
            problem(call(api, provider.token(sub="eve")), 401, "unknown-token")
        finally:
            conn.execute("UPDATE credentials SET identity = 'ida' WHERE identity = 'eve'")


def test_a_person_of_a_real_provider_acts(server_url: str, template_database: Template) -> None:
    """With a provider made by others, in its own process: registered on the command line, signed in, an act recorded.

    The identity cannot be given to a second subject; without the provider, tokens of the ledger go on.
    """
    with (
        ledger_copy(server_url, template_database) as url,
        real_provider() as issuer,
        served(url, identity_provider=ProviderConfig(issuer, AUDIENCE)) as found,
    ):
        token = real_token(issuer)
        problem(call(found, token), 401, "unknown-token")
        register = ("credentials", "register-identity", "--sub", "ada", "--issuer", issuer, "--database-url", url)
        assert cli(*register, "advisor").code == 0
        assert call(found, token, "POST", ASKS, json=ASK).status_code == 202
        again = cli(*register, "compliance")
        assert (again.code, "credential 2 of advisor" in again.err) == (2, True)
        problem(call(found, real_token(issuer, "eve")), 401, "unknown-token")

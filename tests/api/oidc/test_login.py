"""The login of a browser at a real provider: PKCE, state, nonce, sessions in encrypted cookies, and CSRF tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from api.http.auth.sessions import CSRF_COOKIE, CSRF_HEADER, SESSION_COOKIE
from api.oidc import login
from api.oidc.cookies import Cookies
from api.oidc.login import BACK, DEFAULT_RETURN, safe_return
from api.oidc.provider import ProviderConfig
from schema.events import CredentialIssued, SubjectSuspended
from tests.api.oidc.providers import AUDIENCE, Controlled, real_provider, send
from tests.api.served import ASK, ASKS, Api, ledger_copy, problem, served
from tests.conftest import Template
from tests.subjects import record, subject
from tests.support import eventually

SECRET = "a client secret"
ORIGIN = "http://127.0.0.1:8000"
READ = "/portfolio/requests"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """A provider that others made."""
    with real_provider() as found:
        yield found


@pytest.fixture(scope="module")
def api(server_url: str, template_database: Template, issuer: str) -> Iterator[Api]:
    """A server with a login there. The identity ada is that of the advisor."""
    config = ProviderConfig(issuer, AUDIENCE, AUDIENCE, SecretStr(SECRET))
    with (
        ledger_copy(server_url, template_database) as url,
        served(url, identity_provider=config, public_origins=(ORIGIN,)) as found,
    ):
        record(url, "advisor", CredentialIssued(credential=2, kind="oidc", issuer=issuer, identity="ada"))
        yield found


@pytest.fixture
def browser(api: Api) -> Iterator[httpx.Client]:
    """A browser without cookies."""
    with httpx.Client(base_url=api.base, timeout=60) as found:
        yield found


def begun(browser: httpx.Client, **params: str) -> dict[str, str]:
    """Begin a login; return the question to the provider, with its address."""
    response = browser.get("/login", params=params)
    assert (response.status_code, response.headers["cache-control"]) == (303, "no-store"), response.text
    parts = urlsplit(response.headers["location"])
    question = {name: value for name, [value] in parse_qs(parts.query).items()}
    return {**question, "address": f"{parts.scheme}://{parts.netloc}{parts.path}"}


def signed_in(question: dict[str, str], sub: str = "ada") -> dict[str, str]:
    """Sign in at the provider as a person; return what it sends back."""
    address = question["address"]
    params = {name: value for name, value in question.items() if name != "address"}
    answer = httpx.post(address, params=params, data={"sub": sub})
    parts = urlsplit(answer.headers["location"])
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == ORIGIN + BACK
    return {name: value for name, [value] in parse_qs(parts.query).items()}


def enter(browser: httpx.Client, sub: str = "ada", **params: str) -> httpx.Response:
    """Log in; return the answer to the last request."""
    return browser.get(BACK, params=signed_in(begun(browser, **params), sub))


def test_a_person_logs_in_acts_and_logs_out(browser: httpx.Client) -> None:
    """The browser comes back to where it was; it reads, writes with the CSRF token, and after the logout gets 401."""
    response = enter(browser, return_to="/portfolio/requests?status=queued")
    assert (response.status_code, response.headers["location"]) == (303, "/portfolio/requests?status=queued")
    [session] = [line for line in response.headers.get_list("set-cookie") if line.startswith(SESSION_COOKIE)]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(session.split("; "))
    assert browser.get(READ).status_code == 200
    problem(browser.post(ASKS, json=ASK), 403, "csrf")
    problem(browser.post(ASKS, json=ASK, headers={CSRF_HEADER: "guessed"}), 403, "csrf")
    token = {CSRF_HEADER: browser.cookies[CSRF_COOKIE]}
    assert browser.post(ASKS, json=ASK, headers=token).status_code == 202
    problem(browser.post("/logout"), 403, "csrf")
    assert browser.post("/logout", headers=token).status_code == 204
    assert not browser.cookies
    problem(browser.get(READ), 401, "no-token")


def test_a_token_in_the_header_goes_before_the_session(api: Api, browser: httpx.Client) -> None:
    """A request with a token of the ledger is its holder's, whatever cookies come with it; it needs no CSRF token."""
    enter(browser)
    headers = {"Authorization": f"Bearer {api.tokens['agent']}"}
    problem(browser.post(ASKS, json=ASK, headers=headers), 403, "wrong-role")


def test_the_question_has_pkce_state_and_nonce(browser: httpx.Client) -> None:
    """Each login has its own; the verifier stays here, and nothing of it is in an address."""
    one, other = begun(browser), begun(browser)
    assert (one["code_challenge_method"], one["response_type"], one["scope"]) == ("S256", "code", "openid")
    for name in ("state", "nonce", "code_challenge"):
        assert len(one[name]) >= 43
        assert one[name] != other[name]


def test_a_login_that_was_not_begun_here_fails(browser: httpx.Client) -> None:
    """Another state, no cookie, an error of the provider, no code: 401, and no session."""
    question = begun(browser)
    back = signed_in(question)
    for changed in ({**back, "state": "other"}, {"error": "access_denied"}, {}, {"state": back["state"]}):
        problem(browser.get(BACK, params=changed), 401, "login-failed")
    with httpx.Client(base_url=browser.base_url) as victim:
        problem(victim.get(BACK, params=back), 401, "login-failed")
    assert SESSION_COOKIE not in browser.cookies
    problem(browser.get(READ), 401, "no-token")


def test_an_identity_of_nobody_has_no_session(browser: httpx.Client) -> None:
    """Somebody whom the provider knows and the ledger does not."""
    problem(enter(browser, "grace"), 401, "login-failed")
    assert SESSION_COOKIE not in browser.cookies


def test_the_code_of_another_login_does_not_fit(browser: httpx.Client) -> None:
    """A code that the provider gave for another question has another nonce: the login fails."""
    theirs = signed_in(begun(browser), "ada")
    mine = begun(browser)
    problem(browser.get(BACK, params={**theirs, "state": mine["state"]}), 401, "login-failed")


def test_a_suspension_holds_for_sessions(api: Api, browser: httpx.Client, issuer: str) -> None:
    """A session says who it is; whether they may do anything is asked for each request."""
    subject(api.url, "hanna", "compliance")
    record(api.url, "hanna", CredentialIssued(credential=2, kind="oidc", issuer=issuer, identity="hanna"))
    assert enter(browser, "hanna").status_code == 303
    assert browser.get(READ).status_code == 200
    record(api.url, "hanna", SubjectSuspended(reason="left"))
    eventually("the suspension", lambda: browser.get(READ).status_code == 403)


@pytest.mark.parametrize("cookie", ["", "x", "AAAA" * 20, "é", "a" * 5000, "another ledger", "another purpose", "over"])
def test_a_cookie_that_is_no_session_is_none(api: Api, browser: httpx.Client, cookie: str) -> None:
    """Garbage, a cookie of another secret or purpose, and one whose time is over: 401 by name, never a session."""
    members = {"sub": "ada", "csrf": "c"}
    far = 2**40
    made = {
        "another ledger": Cookies("another secret").encrypt(login.SESSION, members, far),
        "another purpose": Cookies(SECRET).encrypt(login.LOGIN, members, far),
        "over": Cookies(SECRET).encrypt(login.SESSION, members, 1_000),
    }
    given = f"{SESSION_COOKIE}={made.get(cookie, cookie)}".encode()
    problem(browser.get(READ, headers={b"cookie": given}), 401, "session-over")


ELSEWHERE = ["https://evil.example", "//evil.example", "/\\evil.example", "", "x", "/\r\nX: y", "/é", "/" + "a" * 600]


@pytest.mark.parametrize("path", ELSEWHERE)
def test_a_login_returns_to_this_server_only(path: str) -> None:
    """An address elsewhere, and what is none, is not gone to."""
    assert safe_return(path) == safe_return(None) == DEFAULT_RETURN
    assert safe_return("/portfolio/requests?a=b") == "/portfolio/requests?a=b"


def test_cookies_of_an_https_address_are_secure(server_url: str, template_database: Template, issuer: str) -> None:
    """At https, cookies never go over http. A path of the proxy is in them and in the address to come back to."""
    config = ProviderConfig(issuer, AUDIENCE, AUDIENCE, SecretStr(SECRET))
    parts: dict[str, Any] = {"identity_provider": config, "public_origins": ("https://l.example",), "root_path": "/x"}
    with ledger_copy(server_url, template_database) as url, served(url, **parts) as api:
        response = api.client.get(api.base + "/login")
        [cookie] = response.headers.get_list("set-cookie")
        assert {"Secure", "HttpOnly", f"Path=/x{BACK}"} <= set(cookie.split("; "))
        query = parse_qs(urlsplit(response.headers["location"]).query)
        assert query["redirect_uri"] == [f"https://l.example/x{BACK}"]


def test_a_provider_that_fails_is_an_outage(server_url: str, template_database: Template) -> None:
    """Down before the login, or garbage in the place of the addresses: 503. Without a client, there is no login."""
    provider = Controlled()
    provider.metadata = {"authorization_endpoint": "ftp://evil.example"}
    config = ProviderConfig(provider.issuer, AUDIENCE, "id", SecretStr("s"))
    try:
        with ledger_copy(server_url, template_database) as url:
            with served(url, identity_provider=config, public_origins=(ORIGIN,)) as api:
                problem(api.call("GET", "/login", None), 503, "identity-provider-unavailable")
                provider.answer = lambda handler: send(handler, b"", 500)
                known = api.app.state.services.identity_provider
                known._read = known._tried_s = None
                problem(api.call("GET", "/login", None), 503, "identity-provider-unavailable")
            without = ProviderConfig(provider.issuer, AUDIENCE)
            with served(url, tokens={}, identity_provider=without) as api:
                problem(api.call("GET", "/login", None), 404, "not-found")
    finally:
        provider.close()

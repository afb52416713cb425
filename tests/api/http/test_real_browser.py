"""A passkey in a real browser: Chromium's virtual authenticator registers a key and signs a decision."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import pytest
import rfc8785

from tests.api.acting import Acting
from tests.api.http.test_signed_acts import now, rejection, send
from tests.api.served import Api, problem, served
from tests.client.test_signing import origin, subject, verified
from tests.ledger.proof.acts.signing import b64u

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
# Browsers take localhost for a safe origin; no server needs to be there, as the page is served by the test.
ADDRESS = "http://localhost:4455"
ALGORITHMS = [-7, -8, -257]
DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}
CREATE = """async alg => {
  const bytes = text => Uint8Array.from(text, one => one.charCodeAt(0));
  const made = await navigator.credentials.create({publicKey: {
    challenge: bytes("0123456789abcdef"), rp: {id: "localhost", name: "Ledger"},
    user: {id: bytes("advisor"), name: "advisor", displayName: "advisor"},
    pubKeyCredParams: [{type: "public-key", alg}], attestation: "none",
    authenticatorSelection: {userVerification: "required"}}});
  const list = buffer => Array.from(new Uint8Array(buffer));
  window.made = made.rawId;
  return {id: list(made.rawId), key: list(made.response.getPublicKey()), alg: made.response.getPublicKeyAlgorithm(),
          data: list(made.response.getAuthenticatorData())};
}"""
SIGN = """async ([challenge, verification]) => {
  const found = await navigator.credentials.get({publicKey: {
    challenge: Uint8Array.from(challenge), rpId: "localhost", userVerification: verification,
    allowCredentials: [{type: "public-key", id: window.made}]}});
  const list = buffer => Array.from(new Uint8Array(buffer));
  const {authenticatorData, clientDataJSON, signature} = found.response;
  return [list(authenticatorData), list(clientDataJSON), list(signature)];
}"""


class Browser:
    """A page with a virtual authenticator, as a signer of the tests."""

    scheme = "webauthn"

    def __init__(self, page: Any, algorithm: int) -> None:
        self.page = page
        self.verification = "required"
        self.made = page.evaluate(CREATE, algorithm)

    def data(self) -> dict[str, Any]:
        """Return the members of a registration that describe the key."""
        return {
            "scheme": "webauthn",
            "purpose": "sign",
            "public_key": b64u(bytes(self.made["key"])),
            "alg": self.made["alg"],
            "rp_id": "localhost",
            "origins": [ADDRESS],
            "credential_id": b64u(bytes(self.made["id"])),
            "backup_eligible": bool(self.made["data"][32] & 0x08),
        }

    def sign(self, statement: bytes) -> dict[str, str]:
        """Return the members that the scheme adds to a signature."""
        challenge = list(sha256(statement).digest())
        parts = self.page.evaluate(SIGN, [challenge, self.verification])
        names = ("authenticator_data", "client_data", "signature")
        return {name: b64u(bytes(part)) for name, part in zip(names, parts, strict=True)}


@pytest.fixture
def page() -> Iterator[Any]:
    """Yield a page at ADDRESS, and skip where there is no browser."""
    reason = "needs the package playwright and Debian's package chromium"
    sync_api = pytest.importorskip("playwright.sync_api", reason=reason)
    if CHROMIUM is None:
        pytest.skip(reason)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = browser.new_page()
        found.route("**/*", lambda route: route.fulfill(body="<title>Ledger</title>", content_type="text/html"))
        found.goto(ADDRESS)
        yield found
        browser.close()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_browser_signs_a_decision(fresh_api: Api, page: Any, algorithm: int) -> None:
    """A key of each algorithm is registered, signs a decision that verifies, and refuses to sign without its user."""
    devices = page.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    authenticator = devices.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})["authenticatorId"]
    key = Browser(page, algorithm)
    with served(fresh_api.url, tokens=fresh_api.tokens, public_origins=(ADDRESS,)) as api:
        subject(api, "advisor")
        response = api.call("POST", "/me/signing-keys", "advisor", json=registration(key, origin(api)))
        assert response.status_code == 201, response.text
        number = response.json()["credential"]
        at = Acting(api).proposed()
        body, signature = rejection(api, at, key, number)
        assert send(api, at, body, signature).status_code == 201
        other = Acting(api).proposed()
        devices.send("WebAuthn.setUserVerified", {"authenticatorId": authenticator, "isUserVerified": False})
        key.verification = "discouraged"
        body, signature = rejection(api, other, key, number, command="second")
        with api.records_nothing():
            problem(send(api, other, body, signature, "second"), 422, "signature-device")
        report = verified(api)
    assert (report.ok, report.acts.actors["advisor"].signed) == (True, {str(number): 1}), report.findings


def registration(key: Browser, ledger: str) -> dict[str, Any]:
    """Return the body that registers a key of the advisor."""
    prepared, data = now(), key.data()
    statement: dict[str, Any] = {
        "data": data,
        "ledger": ledger,
        "prepared_at": prepared,
        "schema": 1,
        "subject": "advisor",
        "type": "signing-key.registered",
    }
    return {**data, "proof": {"prepared_at": prepared, **key.sign(rfc8785.dumps(statement))}}

"""A signed act of a client who is erased: no sealed value is left, and the signature still verifies."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.export.bundle import Disclosure, write_bundle
from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.auditor.report import as_text
from ledger.proof.bundle.selection import Selection
from ledger.proof.tlog.trust import Trust
from ledger.verify.database import verify_chain
from tests.api.acting import Acting, second_tokens
from tests.api.http.test_erasure import ERASE, policies
from tests.api.http.test_signed_acts import register, rejection, send
from tests.api.served import Api, served
from tests.client.test_signing import subject
from tests.ledger.proof.acts.signing import ORIGIN, Device
from tests.ledger.tlog.logs import key_for, sign
from tests.support import connect


@pytest.fixture
def api(fresh_api: Api, tmp_path: Path) -> Iterator[Api]:
    """A server whose policy keeps nothing, at the address that the passkeys are for."""
    second_tokens(fresh_api)
    with served(
        fresh_api.url, tokens=fresh_api.tokens, public_origins=(ORIGIN,), policies=policies(tmp_path, 0)
    ) as found:
        subject(found, "advisor")
        yield found


def test_a_signature_verifies_after_every_sealed_value_is_gone(api: Api, tmp_path: Path) -> None:
    """In the database and in a bundle, which say whose key signed the act; nothing of the client opens any more."""
    acting, device = Acting(api), Device()
    number = register(api, device).json()["credential"]
    at = acting.proposed()
    assert send(api, at, *rejection(api, at, device, number)).status_code == 201
    [client] = api.items("/clients")
    asked = acting.post(f"/clients/{client['id']}/erasure", "compliance", ERASE)
    confirmed = acting.post(f"/erasures/{asked.json()['erasure']}/confirmations", "compliance2", {})
    assert confirmed.status_code == 201, confirmed.text
    with connect(api.url, "verifier") as conn:
        [(left,)] = conn.execute(
            "SELECT count(*) FROM sealed_fields s JOIN events e USING (position) WHERE e.stream LIKE 'request-%'"
        ).fetchall()
        report = verify_chain(conn)
    assert (left, report.ok, report.acts.signed) == (0, True, 1)
    key, out = key_for(api.url), io.BytesIO()
    sign(api.url, key, tmp_path / "last")
    with connect(api.url, "verifier") as conn:
        write_bundle(conn, Selection("positions", first_position=1, last_position=api.head()[0]), Disclosure(True), out)
    audit = audit_bundle(out, Trust((key.verifier,)))
    assert audit.ok, audit.findings
    assert audit.acts.actors["advisor"].signed == {str(number): 1}
    assert audit.fields.counts["recommendation.decided.rationale"] == {"disclosed": 0, "withheld": 0, "erased": 1}
    assert any("advisor" in line and f"key {number}" in line for line in as_text(audit))

"""Bundles bring the keys of the subjects that signed acts: whole, and as an attacker changes them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import orjson
import pytest
from advice_ledger_client import LedgerClient

from ledger.export.bundle import Disclosure, write_bundle
from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.auditor.contents import Audit
from ledger.proof.bundle.manifest import SIGNING_KEYS
from ledger.proof.bundle.proven_events import parse_proven
from ledger.proof.bundle.selection import Selection
from ledger.proof.bundle.zip import BundleError, BundleFlaw
from ledger.proof.tlog.trust import Trust
from ledger.tlog.signing_keys import SigningKey
from tests.api.served import Api
from tests.client.test_signing import registered
from tests.ledger.proof.bundle.bundles import Case
from tests.ledger.tlog.logs import key_for, sign
from tests.support import connect


@pytest.fixture
def signed(fresh_api: Api, tmp_path: Path) -> tuple[bytes, SigningKey]:
    """A bundle of a request that an agent answered with a failure, signed by one of its two keys."""
    registered(fresh_api, "agent")
    key = registered(fresh_api, "agent")
    request_id = fresh_api.asked()
    with LedgerClient(fresh_api.base, fresh_api.tokens["agent"], signing_key=key) as agent:
        agent.claim(request_id)
        agent.fail_request(request_id, reason="no-answer", detail="why")
    log_key = key_for(fresh_api.url)
    sign(fresh_api.url, log_key, tmp_path / "last")
    file = io.BytesIO()
    with connect(fresh_api.url, "verifier") as conn:
        write_bundle(conn, Selection("request", request=request_id), Disclosure(), file)
    return file.getvalue(), log_key


def audited(data: bytes, key: SigningKey) -> Audit:
    """Audit a bundle."""
    return audit_bundle(io.BytesIO(data), Trust((key.verifier,)))


def test_a_bundle_of_a_request_shows_who_signed(signed: tuple[bytes, SigningKey]) -> None:
    """The keys of the signer are there with their proofs, and the signature verifies by them alone."""
    data, key = signed
    audit = audited(data, key)
    assert (audit.ok, audit.acts.signed, audit.acts.unchecked) == (True, 1, 0), audit.findings
    assert len(parse_proven(Case.read(data).files[SIGNING_KEYS], BundleFlaw.SIGNING_KEYS)) == 2
    assert any("no revocation of a signing key was left out" in claim for claim in audit.not_proven)


def test_a_bundle_without_the_member_checks_nothing(signed: tuple[bytes, SigningKey]) -> None:
    """Where the maker leaves the keys out, the act is not checked, and the audit says so."""
    case = Case.read(signed[0])
    del case.files[SIGNING_KEYS]
    audit = audited(case.write(), signed[1])
    assert (audit.ok, audit.acts.signed, audit.acts.unchecked) == (True, 0, 1), audit.findings


def _other_key(members: list[dict[str, Any]]) -> None:
    """Put the public key of one registration into the other."""
    bodies = [orjson.loads(each["event"]["body"]) for each in members]
    bodies[1]["data"]["public_key"] = bodies[0]["data"]["public_key"]
    members[1]["event"]["body"] = orjson.dumps(bodies[1], option=orjson.OPT_SORT_KEYS).decode()


def _other_proof(members: list[dict[str, Any]]) -> None:
    """Give one registration the proof of the other."""
    members[1]["inclusion"] = members[0]["inclusion"]


@pytest.mark.parametrize("change", [_other_key, _other_proof])
def test_a_key_that_the_log_has_not_is_found(signed: tuple[bytes, SigningKey], change: Any) -> None:
    """A registration that was changed, or is not in the log, is a finding at its position and gives no key."""
    case = Case.read(signed[0])
    content = orjson.loads(case.files[SIGNING_KEYS])
    change(content["events"])
    case.files[SIGNING_KEYS] = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    audit = audited(case.write(), signed[1])
    position = content["events"][1]["event"]["position"]
    assert [(one.kind, one.position, one.step) for one in audit.findings] == [("signature-key", position, 12)]


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"events":{}}', b'{"events":[{}]}', b'{"events": []}'])
def test_a_malformed_member_is_refused(data: bytes) -> None:
    """What is not the one form of such a list is refused by name."""
    with pytest.raises(BundleError, match="malformed events of signing keys"):
        parse_proven(data, BundleFlaw.SIGNING_KEYS)

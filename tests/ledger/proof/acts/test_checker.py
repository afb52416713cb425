"""Signed acts in a chain and in a bundle: what is found, where, and what the report says of each actor."""

from __future__ import annotations

import copy
import io

from ledger.proof.auditor.audit import audit_bundle
from ledger.proof.auditor.contents import Audit
from ledger.proof.auditor.report import as_text
from ledger.proof.bundle.selection import Selection
from ledger.proof.format.events import EventRow
from ledger.proof.tlog.trust import Trust
from ledger.tlog.signing_keys import SigningKey
from ledger.verify.report import ChainReport
from tests.ledger.proof.acts.chain import SECOND, act, rows
from tests.ledger.proof.acts.signing import (
    LEDGER,
    PREPARED_US,
    Device,
    FileKey,
    registration,
    revocation,
    signed,
)
from tests.ledger.proof.bundle.bundles import make_bundle
from tests.ledger.proof.chains import found, head_of, verify

KEY = SigningKey.generate(LEDGER)


def checked(events: list[EventRow]) -> ChainReport:
    """Verify a chain."""
    return verify(head_of(events), events)


def test_the_report_says_who_signed_what() -> None:
    """Signed acts are counted by actor and key; acts that nobody signed are said to rest on the server's word."""
    key, device = FileKey(), Device(flags=0x1D)
    report = checked(
        rows(
            registration(key, "ada"),
            registration(device, "bob"),
            signed(act(3), key),
            signed(act(4, subject="bob"), device),
            act(5),
            signed(act(6), key),
        )
    )
    assert found(report) == []
    actors = report.acts.as_json()["actors"]
    assert [actor.pop("positions") for actor in actors] == [{"2": [3, 6], "recommendation.decided": [5]}, {"2": [4]}]
    assert actors == [
        {"actor": "ada", "signed": {"2": 2}, "unsigned": {"recommendation.decided": 1}, "unchecked": 0},
        {"actor": "bob", "signed": {"2": 1}, "unsigned": {}, "unchecked": 0},
    ]
    text = "\n".join(report.acts.lines())
    assert "2 acts signed by key 2 (ed25519), registered for 'ada' at position 1 by 'ada'" in text
    assert "passkey that can be backed up), registered for 'bob' at position 2" in text
    assert "1 acts of 'ada' rest on the server's word: 1 recommendation.decided at 5" in text
    assert any("what the screen showed" in claim for claim in report.not_proven)
    assert any("the 1 acts that nobody signed" in claim for claim in report.not_proven)


def test_signatures_verify_after_every_sealed_value_is_erased() -> None:
    """Sealed values enter a statement by their commitments, so an erasure changes nothing."""
    key = FileKey()
    events = rows(registration(key, "ada"), signed(act(2), key))
    erased = [event._replace(salts=None, fields=None) for event in events]
    report = checked(erased)
    assert (found(report), report.acts.signed, report.erased) == ([], 1, 1)


def test_acts_pass_through_a_change_of_key() -> None:
    """Acts before a revocation stay good; after it only the new key signs, and the old one is a finding."""
    old, new = FileKey(), Device()
    events = rows(
        registration(old, "ada", 1),
        signed(act(2), old, 1),
        registration(new, "ada", 2),
        revocation("ada", 1),
        signed(act(5), new, 2),
        signed(act(6), old, 1),
    )
    report = checked(events)
    assert found(report) == [("signature-key", 6)]
    assert report.acts.actors["ada"].signed == {"1": 1, "2": 1}


def test_a_lifted_signature_is_found_at_its_event() -> None:
    """A chain that an attacker wrote with right hashes: the same act again, or its signature on another one."""
    key = FileKey()
    good = signed(act(2), key)
    for body, kind in (
        (good | {"stream": "request-9"}, "signature-repeated"),
        (good | {"id": act(3)["id"]}, "signature-invalid"),
        (good | {"actor": {"id": "bob", "kind": "human", "role": "advisor"}}, "signature-key"),
        (act(3) | {"signature": None}, "signature-encoding"),
        (act(3) | {"signature": good["signature"] | {"covers": ["digest"]}}, "signature-covers"),
    ):
        assert found(checked(rows(registration(key, "ada"), good, body))) == [(kind, 3)]


def test_each_name_of_an_assertion_is_found() -> None:
    """What is wrong with an assertion of a passkey has the name of the step that it breaks."""
    device = Device()
    for change, kind in (
        ({"origin": "https://evil.example"}, "signature-origin"),
        ({"flags": 0x01}, "signature-device"),
        ({"client_members": {"type": "webauthn.create"}}, "signature-challenge"),
    ):
        odd = copy.copy(device)
        for name, value in change.items():
            setattr(odd, name, value)
        assert found(checked(rows(registration(device, "ada"), signed(act(2), odd)))) == [(kind, 2)]


def test_a_registration_that_does_not_hold_is_found() -> None:
    """A key without proof, or one that another subject has, is a finding where it is registered."""
    key = FileKey()
    without = registration(key, "ada")
    without["data"]["proof"]["signature"] = registration(FileKey(), "ada")["data"]["proof"]["signature"]
    assert found(checked(rows(without))) == [("signature-invalid", 1)]
    assert found(checked(rows(registration(key, "ada"), registration(key, "bob")))) == [("signature-key", 2)]


def test_remarks_are_no_findings() -> None:
    """An act that was kept back, and a counter that did not grow, are remarked with the first position."""
    device = Device(counter=5)
    times = [PREPARED_US, PREPARED_US, PREPARED_US + 600 * SECOND, PREPARED_US + 601 * SECOND]
    acts = [signed(act(2), device), signed(act(3), device), signed(act(4), device)]
    report = checked(rows(registration(device, "ada"), *acts, times_us=times))
    assert (found(report), report.acts.late, report.acts.counters) == ([], [1, 4], [2, 3])
    assert [line for line in report.acts.lines() if line.startswith("remark: ")] == [
        "remark: 1 acts recorded more than ten minutes from the time of their statement, first at position 4",
        "remark: 2 counters of a passkey that did not grow, first at position 3",
    ]
    silent = Device()
    report = checked(rows(registration(silent, "ada"), signed(act(2), silent), signed(act(3), silent)))
    assert report.acts.counters == [0, 0]


def test_many_actors_are_counted_together() -> None:
    """The report has a bounded number of actors; the acts of further ones are counted together."""
    many = [act(number, subject=f"person-{number}") for number in range(1, 1010)]
    report = checked(rows(*many))
    assert (len(report.acts.actors), report.acts.actors["(others)"].unsigned) == (
        1001,
        {"recommendation.decided": 9},
    )


def audited(events: list[EventRow], first: int) -> Audit:
    """Audit a bundle of the positions from `first` on."""
    size = len(events)
    selection = Selection("positions", first_position=first, last_position=size)
    data = make_bundle(size, selection, KEY, lambda event: event.position >= first, lambda _: True, events)
    return audit_bundle(io.BytesIO(data), Trust((KEY.verifier,)))


def test_a_bundle_shows_who_signed_what() -> None:
    """A bundle with the registration shows the signature. One without says that it is not checked."""
    key = FileKey()
    events = rows(registration(key, "ada"), signed(act(2), key), act(3))
    audit = audited(events, 1)
    assert (audit.ok, audit.acts.signed, audit.acts.unsigned, audit.acts.unchecked) == (True, 1, 1, 0)
    assert any("rest on the server's word" in line for line in as_text(audit))
    audit = audited(events, 2)
    assert (audit.ok, audit.acts.signed, audit.acts.unchecked) == (True, 0, 1)
    text = "\n".join(as_text(audit))
    assert "holds, but 1 signed acts are not checked, as the bundle does not register their keys" in text
    assert "not proven: that the signatures which were not checked verify" in text


def test_a_forged_signature_in_a_bundle_is_found() -> None:
    """The log's own signature does not make an act somebody's."""
    key = FileKey()
    audit = audited(rows(registration(key, "ada"), signed(act(2), FileKey())), 1)
    assert [(finding.kind, finding.position, finding.step) for finding in audit.findings] == [
        ("signature-invalid", 2, 12)
    ]

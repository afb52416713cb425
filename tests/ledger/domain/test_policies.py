"""Policies from files: what is taken, what is refused and why; when their text is recorded; the list of reasons."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ledger.domain.four_eyes import FourEyes
from ledger.domain.policy import HOME, MAX_BYTES, BadPolicy
from ledger.domain.reasons import ReasonCodes
from ledger.errors import InvalidEvent
from ledger.proof.format.canonical import canonical
from ledger.service.policies import Policies
from ledger.store.envelope import Actor, encode
from schema.events import PolicyAdopted
from tests.ledger.domain.stories import past_of

RULE = {"name": "large", "outcomes": ["edit"], "change_at_least": "0.2"}
CODE = {"code": "other", "group": "other", "label": "Other", "outcomes": ["edit", "reject"]}


def four_eyes(folder: Path, rule: dict[str, Any] | None = None, **members: Any) -> FourEyes:
    """The policy with one rule, or with other members; ... leaves one out."""
    text = {"name": "four-eyes", "version": "1", "rules": [varied(RULE, rule)], "second_roles": ["advisor"]}
    return FourEyes.load(written(folder, varied(text, members)))


def reasons(folder: Path, code: dict[str, Any] | None = None, **members: Any) -> ReasonCodes:
    """The list with one code, or with other members."""
    text = {"name": "reason-codes", "version": "1", "codes": [varied(CODE, code)]}
    return ReasonCodes.load(written(folder, varied(text, members)))


def varied(good: dict[str, Any], change: dict[str, Any] | None) -> dict[str, Any]:
    """With these members instead; those that are ... are missing."""
    return {name: value for name, value in {**good, **(change or {})}.items() if value is not ...}


def written(folder: Path, text: dict[str, Any]) -> Path:
    """A file that has it."""
    path = folder / "policy.json"
    path.write_text(json.dumps(text))
    return path


BAD_RULES: dict[str, dict[str, Any]] = {
    "no name": {"name": ...},
    "a name that is a number": {"name": 1},
    "a name that no event could carry": {"name": "Large Change"},
    "no outcomes": {"outcomes": ...},
    "outcomes that are text": {"outcomes": "edit"},
    "an unknown outcome": {"outcomes": ["edti"]},
    "an outcome that decides nothing": {"outcomes": ["respond"]},
    "an outcome that is a list": {"outcomes": [[]]},
    "no condition": {"change_at_least": ...},
    "two conditions": {"amount_usd_at_least": "1.00"},
    "an unknown member": {"colour": "red"},
    "a JSON number": {"change_at_least": 0.2},
    "a boolean": {"change_at_least": True},
    "a list for a number": {"change_at_least": [1]},
    "an object for a number": {"change_at_least": {}},
    "null for a number": {"change_at_least": None},
    "no number": {"change_at_least": "much"},
    "not a number": {"change_at_least": "NaN"},
    "infinite": {"change_at_least": "Infinity"},
    "underscores": {"change_at_least": ..., "amount_usd_at_least": "1_000"},
    "codes that are text": {"change_at_least": ..., "reason_codes": "other"},
    "codes that are a number": {"change_at_least": ..., "reason_codes": 5},
    "a code that is an object": {"change_at_least": ..., "reason_codes": [{}]},
    "codes that are null": {"change_at_least": ..., "reason_codes": None},
}
BAD_FOUR_EYES: dict[str, dict[str, Any]] = {
    "rules that are an object": {"rules": {}},
    "no rules": {"rules": None},
    "a rule that is text": {"rules": ["large"]},
    "no roles": {"second_roles": []},
    "roles that are text": {"second_roles": "advisor"},
    "an unknown role": {"second_roles": ["advisor", "boss"]},
    "a role that only reads": {"second_roles": ["auditor"]},
    "a role that is a list": {"second_roles": [[]]},
    "an unknown member": {"colour": "red"},
    "no version": {"version": ...},
}
BAD_CODES: dict[str, dict[str, Any]] = {
    "no code": {"code": ...},
    "no group": {"group": ...},
    "no label": {"label": ...},
    "no outcomes": {"outcomes": ...},
    "outcomes that are text": {"outcomes": "edit"},
    "an outcome that is a list": {"outcomes": [[]]},
    "a group that no event could carry": {"group": "Model wrong"},
    "a code that no decision could carry": {"code": "Other!"},
    "an outcome that needs no reason": {"outcomes": ["edit", "reject", "approve"]},
    "no code for an outcome that needs one": {"outcomes": ["edit"]},
    "an unknown member": {"colour": "red"},
}


def test_the_bases_of_these_are_good(tmp_path: Path) -> None:
    """The policy that the bad ones vary is accepted."""
    assert four_eyes(tmp_path).rules[0].name == "large"
    assert reasons(tmp_path).group("other", "edit") == "other"


@pytest.mark.parametrize("wrong", BAD_RULES)
def test_a_malformed_rule_is_refused(tmp_path: Path, wrong: str) -> None:
    """When the policy is read, not when the first decision meets it; the message names the policy."""
    with pytest.raises(BadPolicy, match="policy four-eyes"):
        four_eyes(tmp_path, BAD_RULES[wrong])


@pytest.mark.parametrize("wrong", BAD_FOUR_EYES)
def test_a_malformed_policy_is_refused(tmp_path: Path, wrong: str) -> None:
    """A bad file is refused when it is read, as a malformed rule is."""
    with pytest.raises(BadPolicy, match="policy four-eyes"):
        four_eyes(tmp_path, **BAD_FOUR_EYES[wrong])


@pytest.mark.parametrize("wrong", BAD_CODES)
def test_a_malformed_list_of_codes_is_refused(tmp_path: Path, wrong: str) -> None:
    """A bad file is refused when it is read, as a malformed rule is."""
    with pytest.raises(BadPolicy, match="policy reason-codes"):
        reasons(tmp_path, BAD_CODES[wrong])


FILES: dict[str, bytes] = {
    "not JSON": b"{",
    "not UTF-8": b'{"name": "four-eyes", "version": "\xff"}',
    "a list": b"[]",
    "another name": b'{"name": "reason-codes", "version": "1"}',
    "no version": b'{"name": "four-eyes"}',
    "a version that is a number": b'{"name": "four-eyes", "version": 1}',
    "an empty version": b'{"name": "four-eyes", "version": "", "rules": [], "second_roles": ["advisor"]}',
    "too long": b'{"name": "four-eyes", "version": "1", "x": "' + b"x" * MAX_BYTES + b'"}',
    "a number that no event could carry": (
        b'{"name": "four-eyes", "version": "1", "rules": [], "second_roles": ["advisor"], "x": 9007199254740993}'
    ),
}


@pytest.mark.parametrize("wrong", FILES)
def test_a_file_that_is_no_policy_is_refused(wrong: str, tmp_path: Path) -> None:
    """With a message that names the policy; so is a file that is not there."""
    path = tmp_path / "policy.json"
    path.write_bytes(FILES[wrong])
    with pytest.raises(BadPolicy, match="policy four-eyes"):
        Policies.of(path)
    with pytest.raises(BadPolicy, match=r"policy four-eyes.*No such file"):
        FourEyes.load(tmp_path / "missing")
    with pytest.raises(BadPolicy, match="policy reason-codes"):
        ReasonCodes.load(tmp_path)


def test_the_packaged_policies_are_good() -> None:
    """They are read, each rule's codes are on the list, and the two kinds of error are kept apart."""
    found = Policies.packaged()
    codes = {code: reason.group for code, reason in found.reasons.reasons.items()}
    assert all((rule.reason_codes or set()) <= codes.keys() for rule in found.four_eyes.rules)
    assert {"model-wrong", "model-could-not-know"} <= set(codes.values())
    labels = [item["label"] for item in found.reasons.policy.text["codes"]]
    assert len(set(labels)) == len(codes) == len(labels)
    variants = {"access-assigned"}
    names = {policy.name for policy in (*found.all, found.retention.policy)}
    assert {path.stem for path in HOME.iterdir()} - variants == names
    for outcome in ("edit", "reject", "respond"):
        assert any(outcome in reason.outcomes for reason in found.reasons.reasons.values())


def test_reasons_belong_to_outcomes(tmp_path: Path) -> None:
    """A code gives its group for the outcomes it is for; for others it is refused with those that fit."""
    found = reasons(tmp_path)
    assert found.group(None, "approve") is None
    assert found.version == "1"
    with pytest.raises(InvalidEvent, match="with the outcome reject, must be one of: other") as caught:
        found.group("unknown", "reject")
    assert caught.value.field == "reason_code"
    with pytest.raises(InvalidEvent):
        found.group("other", "respond")


def test_a_policy_is_adopted_once(tmp_path: Path) -> None:
    """Its text is recorded where the last adoption was of another text, and not again; whatever order its keys have."""
    policy = FourEyes.load().policy
    assert policy.sha256 == hashlib.sha256(canonical(policy.text)).hexdigest()
    event = policy.adoption([])
    assert event == PolicyAdopted(version=policy.version, sha256=policy.sha256, policy=policy.text)
    adopted = past_of(event, 10, 1, "ann")
    other = past_of(event.model_copy(update={"sha256": "0" * 64, "version": "x"}), 11, 2, "ann")
    turned = FourEyes.load(written(tmp_path, dict(reversed(policy.text.items())))).policy
    for same in (policy, turned):
        assert same.adoption([adopted]) is None
        assert same.adoption([other, adopted]) is None
        assert same.adoption([adopted, other]) is not None
        assert same.sha256 == policy.sha256
    changed = FourEyes.load(written(tmp_path, {**policy.text, "second_roles": ["compliance"]})).policy
    assert changed.adoption([adopted]) is not None


def test_adoptions_are_expected_where_the_streams_stand() -> None:
    """Each text that is not in force becomes an event of its policy's stream, at the version looked at."""
    policies = Policies.packaged()
    actor = Actor("ann", "human", "advisor")
    first = policies.in_force([[], [], [], []], actor)
    each = first.adoptions
    names = ["policy-four-eyes", "policy-reason-codes", "policy-access"]
    assert [(new.stream, new.expected) for new in each] == [(name, 0) for name in names]
    # A decision finds the streams as they are after that, or is not recorded.
    # The packaged policy of signed acts has no rules: it is on record once it ends another one.
    assert first.preconditions == {**dict.fromkeys(names, 1), "policy-signed-acts": 0}
    four_eyes, reasons, access = ([past_of(new.event, 10 + at, 1, "ann")] for at, new in enumerate(each))
    histories = [four_eyes, reasons, [], access]
    assert policies.in_force(histories, actor).adoptions == []
    assert policies.in_force(histories, actor).preconditions == first.preconditions
    other = policies.in_force([four_eyes, four_eyes, [], access], actor)
    [second] = other.adoptions
    assert (second.stream, second.expected) == ("policy-reason-codes", 1)
    assert other.preconditions == {**first.preconditions, "policy-reason-codes": 2}
    assert encode(second).sealed == ()

"""Whom the auditor trusts: keys as texts and in files, and how witnesses and a policy add up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger.proof.findings import BUNDLE, Findings, Kind
from ledger.proof.tlog.checkpoint import Checkpoint
from ledger.proof.tlog.note import Note, parse
from ledger.proof.tlog.trust import Unusable, judge, trust
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey, sign_checkpoint

ORIGIN = "ledger.example/one"
KEY = SigningKey.generate(ORIGIN)
WITNESSES = [WitnessSigningKey.generate(f"witness.example/{number}") for number in range(4)]
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 7, bytes(32)), KEY).encode()


def cosigned(*who: int) -> bytes:
    """The checkpoint with cosignatures of these witnesses."""
    note = parse(NOTE)
    signed = tuple(WITNESSES[number].cosign(note.text, 1_700_000_000) for number in who)
    return Note(note.text, (*note.signatures, *signed)).encode()


@pytest.mark.parametrize(
    ("given", "listed", "wanted", "enough", "short"),
    [
        ([0], [0], 1, [(0,)], [()]),
        ([0], [0, 1], 1, [(0,), (0, 1)], [(), (1,)]),
        ([0], [0, 1], 2, [(0, 1)], [(0,), (1,)]),
        ([0], [1, 2], 1, [(0, 1), (0, 2)], [(0,), (1, 2)]),
        ([0, 1], [2, 3], 0, [(0, 1)], [(0,), (2, 3), (0, 2, 3)]),
        ([], [0, 1, 2], 2, [(0, 1), (1, 2)], [(2,)]),
    ],
)
def test_witnesses_and_a_policy(
    tmp_path: Path,
    given: list[int],
    listed: list[int],
    wanted: int,
    enough: list[tuple[int, ...]],
    short: list[tuple[int, ...]],
) -> None:
    """Each one given must have cosigned, and of the policy as many as it wants; one in both counts for both."""
    texts = [one.verifier.text for one in WITNESSES]
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"witnesses": [texts[one] for one in listed], "witnesses_needed": wanted}))
    trusted = trust([KEY.verifier.text], [texts[one] for one in given], str(policy))
    for who in (*enough, *short):
        findings = Findings(BUNDLE)
        judge(cosigned(*who), trusted, (), findings)
        assert [one.kind for one in findings] == ([] if who in enough else [Kind.TOO_FEW_WITNESSES]), who


def test_a_long_text_is_taken_as_a_key(tmp_path: Path) -> None:
    """A text that is too long for a file name is read as a key, and refused as a malformed key; files still work."""
    key = SigningKey.generate("x" * 250).verifier
    assert trust([key.text], [], None).log == (key,)
    with pytest.raises(Unusable, match="a given key"):
        trust([key.text[:-1] + "!"], [], None)
    file = tmp_path / "a+b.key"
    file.write_text(f"# mine\n{key.text}\n")
    assert trust([str(file)], [], None).log == (key,)

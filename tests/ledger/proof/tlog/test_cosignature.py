"""Cosignatures of real witnesses verify, ours bind time and text, requests are strict."""

from __future__ import annotations

from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.checkpoint import (
    Checkpoint,
    CheckpointFlaw,
    Cosignature,
    WitnessKey,
    cosignatures,
    open_checkpoint,
    signed_message,
)
from ledger.proof.tlog.merkle import MAX_PATH
from ledger.proof.tlog.note import Note, NoteFlaw, Signature, VerifierKey, open_note, parse_signatures
from ledger.tlog.add_checkpoint import MAX_REQUEST_BYTES, AddCheckpoint, RequestError, RequestFlaw, parse_request
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey, sign_checkpoint
from tests.ledger.proof.mutation import corpus, flaw_of, mutated

# A checkpoint of the arche2025h1 staging log with four public witnesses' cosignatures, from the tests of
# florolf/tlog-scales; the witnesses' keys are those they publish. The first line is by a key of another type.
REAL_ORIGIN = "arche2025h1.staging.ct.transparency.dev"
REAL = f"""{REAL_ORIGIN}
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— {REAL_ORIGIN} zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIg\
IpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— {REAL_ORIGIN} ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden \
2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 \
pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de \
2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu \
Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
""".encode()
REAL_LOG = VerifierKey.parse(f"{REAL_ORIGIN}+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f")
REAL_WITNESSES = [
    WitnessKey.parse(text)
    for text in (
        "transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM",
        "witness1.smartit.nu/witness1+a48c820f+BPSFWg9G6KPiO7QPryYO5Xq4oYJJ+kAvLKLSimDhoxMO",
        "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
        "witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv",
    )
]
# C2SP tlog-cosignature, the line and the message of its example (no key for it is published).
SPEC_TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
SPEC_LINE = (
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
SPEC_MESSAGE = "cosignature/v1\ntime 1679315147\n" + SPEC_TEXT
# C2SP tlog-witness, the example of a request body.
SPEC_REQUEST = (
    "old 20852014\n"
    "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n"
    "jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n"
    "5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n"
    "/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n"
    f"\n{SPEC_TEXT}\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
).encode()

LOG = SigningKey.generate("ledger.example/advice")
WITNESS = WitnessSigningKey.generate("witness.example/w1")
SIGNED = sign_checkpoint(Checkpoint("ledger.example/advice", 5, bytes(32), ("extension",)), LOG)
COSIGNED = SIGNED.add([WITNESS.cosign(SIGNED.text, 1_767_225_600)])


def test_cosignatures_of_real_witnesses() -> None:
    """Four public witnesses cosigned within one second; the log's other signature is by a key we do not know."""
    signed = open_checkpoint(REAL, REAL_ORIGIN, [REAL_LOG], REAL_WITNESSES)
    found = cosignatures(signed.witnesses)
    assert [(one.name, one.timestamp_s) for one in found] == [(key.name, 1_779_573_024) for key in REAL_WITNESSES]
    assert len(signed.unknown) == 1
    other = REAL.replace(b"1432088532", b"1432088533")
    assert flaw_of(open_checkpoint, other, REAL_ORIGIN, [REAL_LOG], REAL_WITNESSES) is NoteFlaw.BAD_SIGNATURE
    assert flaw_of(open_note, other, REAL_WITNESSES[:1]) is NoteFlaw.BAD_SIGNATURE


def test_the_example_cosignature_is_read() -> None:
    """The time in the example's line is the one in its message, and the message is ours."""
    signature = parse_signatures(SPEC_LINE)[0]
    assert cosignatures([signature]) == (Cosignature("witness.example.com/w1", 0x8D66CF3F, 1_679_315_147),)
    assert signed_message(SPEC_TEXT.encode(), 1_679_315_147) == SPEC_MESSAGE.encode()
    assert len(signature.blob) == 72


def test_cosign_and_verify() -> None:
    """A cosignature verifies as the witness's; the log's signature stays beside it."""
    signed = open_checkpoint(COSIGNED.encode(), "ledger.example/advice", [LOG.verifier], [WITNESS.verifier])
    key = WITNESS.verifier
    assert cosignatures(signed.witnesses) == (Cosignature(key.name, key.key_id, 1_767_225_600),)


def test_time_and_text_are_bound() -> None:
    """Another time, another text, extension lines left out, a cut or longer signature: each is a bad signature."""
    signature = COSIGNED.signatures[1]
    later = (1_767_225_601).to_bytes(8, "big") + signature.blob[8:]
    blobs = (
        later,
        signature.blob[:71],
        signature.blob + b"\0",
        signature.blob[8:],
        b"\xff" * 8 + signature.blob[8:],
        b"",
    )
    for blob in blobs:
        assert flaw_of(WITNESS.verifier.check, COSIGNED.text.encode(), blob) is NoteFlaw.BAD_SIGNATURE
    for text in (
        COSIGNED.text.replace("\n5\n", "\n6\n"),
        COSIGNED.text.replace("extension\n", ""),
        COSIGNED.text + "x\n",
    ):
        assert flaw_of(WITNESS.verifier.check, text.encode(), signature.blob) is NoteFlaw.BAD_SIGNATURE
    for bit in range(len(signature.blob) * 8):
        changed = bytearray(signature.blob)
        changed[bit // 8] ^= 1 << bit % 8
        assert flaw_of(WITNESS.verifier.check, COSIGNED.text.encode(), bytes(changed)) is NoteFlaw.BAD_SIGNATURE


def test_a_plain_signature_is_no_cosignature() -> None:
    """The same private key under the same name: types have different key ids and sign different messages."""
    private = Ed25519PrivateKey.generate()
    plain, witness = SigningKey("one.example", private), WitnessSigningKey("one.example", private)
    assert plain.verifier.key_id != witness.verifier.key_id
    text = SIGNED.text.encode()
    assert flaw_of(witness.verifier.check, text, plain.sign(SIGNED.text).blob) is NoteFlaw.BAD_SIGNATURE
    assert flaw_of(plain.verifier.check, text, witness.cosign(SIGNED.text, 1).blob) is NoteFlaw.BAD_SIGNATURE


def test_a_witness_signs_only_checkpoints() -> None:
    """Any other text is refused by name; a time of zero or beyond 2^63 - 1 is the caller's mistake."""
    assert flaw_of(WITNESS.cosign, "pay 100 to Eve\n", 1) is CheckpointFlaw.LINES
    for timestamp_s in (0, -1, 2**63):
        with pytest.raises(ValueError, match="not a time"):
            WITNESS.cosign(SIGNED.text, timestamp_s)


def test_times_beyond_the_format_are_refused() -> None:
    """Even a true signature does not count with a time above 2^63 - 1."""
    private = Ed25519PrivateKey.generate()
    key, text = WitnessSigningKey("w.example", private).verifier, SIGNED.text.encode()
    for timestamp_s, flaw in ((2**63 - 1, None), (2**63, NoteFlaw.BAD_SIGNATURE)):
        blob = timestamp_s.to_bytes(8, "big") + private.sign(signed_message(text, timestamp_s))
        assert flaw_of(key.check, text, blob) is flaw


def test_latest_of_each_witness() -> None:
    """The later of two cosignatures by one witness counts, in any order; they never count as two witnesses."""
    both = [WITNESS.cosign(SIGNED.text, second) for second in (20, 10)]
    opened = open_note(Note(SIGNED.text, tuple(both)).encode(), [WITNESS.verifier])
    assert [one.timestamp_s for one in cosignatures(opened.verified)] == [20]


def test_the_example_request_is_read_and_written() -> None:
    """The example of a request body is read and written back the same."""
    request = parse_request(SPEC_REQUEST)
    assert (request.old_size, len(request.proof)) == (20_852_014, 4)
    assert request.checkpoint.startswith(SPEC_TEXT.encode())
    assert request.encode() == SPEC_REQUEST


@pytest.mark.parametrize(
    ("flaw", "body"),
    [
        (RequestFlaw.TOO_LARGE, b"x" * (MAX_REQUEST_BYTES + 1)),
        (RequestFlaw.STRUCTURE, b""),
        (RequestFlaw.STRUCTURE, b"old 0\n"),
        (RequestFlaw.STRUCTURE, b"old \xd9\xa0\n\ncheckpoint\n"),
        (RequestFlaw.OLD_SIZE, b"old 00\n\ncheckpoint\n"),
        (RequestFlaw.OLD_SIZE, b"old  0\n\ncheckpoint\n"),
        (RequestFlaw.OLD_SIZE, b"old 9223372036854775808\n\ncheckpoint\n"),
        (RequestFlaw.OLD_SIZE, b"new 0\n\ncheckpoint\n"),
        (RequestFlaw.OLD_SIZE, b"\n\ncheckpoint\n"),
        (RequestFlaw.PROOF, b"old 5\r\n\ncheckpoint\n".replace(b"\r", b"\nAAAA")),
        (RequestFlaw.PROOF, b"old 5\n" + (b"A" * 43 + b"=\n") * (MAX_PATH + 1) + b"\ncheckpoint\n"),
    ],
    ids=range(11),
)
def test_a_malformed_request_is_refused_by_name(flaw: RequestFlaw, body: bytes) -> None:
    """Each way a request can be malformed has its name."""
    assert flaw_of(parse_request, body) is flaw


def test_what_cannot_be_a_request() -> None:
    """A request that would not come back is not written."""
    for bad in (AddCheckpoint(-1, (), b"c\n"), AddCheckpoint(1, (b"short",), b"c\n"), AddCheckpoint(2**63, (), b"c\n")):
        with pytest.raises(RequestError):
            bad.encode()


@given(mutated(SPEC_REQUEST) | st.binary(max_size=80))
def test_a_changed_request_is_refused_by_name(body: bytes) -> None:
    """Whatever is read as a request is its encoding; the rest is refused by name."""
    with suppress(EvidenceError):
        assert parse_request(body).encode() == body


def test_every_mutation_of_a_request_is_refused() -> None:
    """The same for every mutation of the corpus."""
    for body in corpus(SPEC_REQUEST):
        with suppress(EvidenceError):
            assert parse_request(body).encode() == body


@given(st.binary(max_size=80))
def test_any_bytes_as_a_cosignature_are_a_bad_signature(blob: bytes) -> None:
    """Any bytes under a witness's name are a bad signature, never another exception."""
    if blob:
        note = COSIGNED.add([Signature(WITNESS.verifier.name, WITNESS.verifier.key_id, blob)]).encode()
        assert flaw_of(open_note, note, [WITNESS.verifier]) is NoteFlaw.BAD_SIGNATURE

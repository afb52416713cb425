"""ledger/proof/tlog/checkpoint.py: checkpoints of real logs open, and only those that the log itself signed."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.checkpoint import (
    Checkpoint,
    CheckpointError,
    CheckpointFlaw,
    decode_hash,
    open_checkpoint,
    parse_checkpoint,
    strict_decimal,
)
from ledger.proof.tlog.merkle import EMPTY_ROOT, MAX_SIZE
from ledger.proof.tlog.note import Note, NoteFlaw, VerifierKey
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey, sign_checkpoint
from tests.ledger.proof.mutation import corpus, flaw_of, mutated

# C2SP tlog-checkpoint, its example (no key for it is published).
SPEC_TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
# A checkpoint of the Go checksum database, 10 January 2023, and the key that the go command knows.
GO_KEY = VerifierKey.parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")
GO_ORIGIN = "go.sum database tree"
GO_CHECKPOINT = f"""{GO_ORIGIN}
15081221
BoMMe1wd25Tco0mYGROkyqxHZWx+hcSCtMV315Lu6Lg=

\u2014 sum.golang.org Az3grilD7vQqTrv66jRgKM84Y80KTprrSt4bKmiOPxgmS5ZVBTeCl6dUvjYnN13R+C8j0jGY1WnUADGMkok3U0m2Zgo=
""".encode()

ORIGIN = "ledger.example/advice"
ROOT = bytes(range(32))
LOG = SigningKey.generate(ORIGIN)
LOG_KEYS = [LOG.verifier]
SIGNED = sign_checkpoint(Checkpoint(ORIGIN, 1000, ROOT), LOG)


def test_a_real_checkpoint_opens() -> None:
    """The Go checksum database's, whose key name is not its origin."""
    signed = open_checkpoint(GO_CHECKPOINT, GO_ORIGIN, [GO_KEY])
    assert (signed.checkpoint.origin, signed.checkpoint.size) == (GO_ORIGIN, 15_081_221)
    assert signed.checkpoint.root.hex() == "06830c7b5c1ddb94dca349981913a4caac47656c7e85c482b4c577d792eee8b8"
    assert signed.text.encode() == GO_CHECKPOINT.split(b"\n\n")[0] + b"\n"
    assert [signature.name for signature in signed.log] == ["sum.golang.org"]


def test_the_example_of_the_specification_is_read() -> None:
    """The example is read and written back the same."""
    checkpoint = parse_checkpoint(SPEC_TEXT)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert checkpoint.text == SPEC_TEXT


def test_sign_and_open() -> None:
    """A signed checkpoint opens; extension lines are kept; another origin is refused by name."""
    checkpoint = Checkpoint(ORIGIN, 7, ROOT, ("one", "two three"))
    data = sign_checkpoint(checkpoint, LOG).encode()
    assert open_checkpoint(data, ORIGIN, LOG_KEYS).checkpoint == checkpoint
    assert flaw_of(open_checkpoint, data, "ledger.example/other", LOG_KEYS) is CheckpointFlaw.ORIGIN
    with pytest.raises(ValueError, match="does not sign for"):
        sign_checkpoint(Checkpoint("ledger.example/other", 7, ROOT), LOG)


def test_witnesses_alone_are_not_enough() -> None:
    """A checkpoint that only known witnesses signed is not the log's."""
    witness = WitnessSigningKey.generate("witness.example/w1")
    cosigned = SIGNED.add([witness.cosign(SIGNED.text, 1)])
    signed = open_checkpoint(cosigned.encode(), ORIGIN, LOG_KEYS, [witness.verifier])
    assert (signed.log, signed.witnesses) == (cosigned.signatures[:1], cosigned.signatures[1:])
    assert open_checkpoint(cosigned.encode(), ORIGIN, LOG_KEYS).unknown == cosigned.signatures[1:]
    alone = Note(cosigned.text, cosigned.signatures[1:]).encode()
    assert flaw_of(open_checkpoint, alone, ORIGIN, LOG_KEYS, [witness.verifier]) is NoteFlaw.UNSIGNED
    assert flaw_of(open_checkpoint, alone, ORIGIN, [witness.verifier]) is NoteFlaw.KEY_TYPE


def test_another_key_is_not_the_logs() -> None:
    """Signed by a new key under the log's name: unsigned, as far as the reader knows. Two keys in rotation: opens."""
    impostor = SigningKey.generate(ORIGIN)
    forged = sign_checkpoint(parse_checkpoint(SIGNED.text), impostor)
    assert flaw_of(open_checkpoint, forged.encode(), ORIGIN, LOG_KEYS) is NoteFlaw.UNSIGNED
    both = SIGNED.add(forged.signatures).encode()
    assert len(open_checkpoint(both, ORIGIN, [*LOG_KEYS, impostor.verifier]).log) == 2


@pytest.mark.parametrize(
    ("flaw", "text"),
    [
        (CheckpointFlaw.LINES, ""),
        (CheckpointFlaw.LINES, "o\n1\n"),
        (CheckpointFlaw.LINES, SPEC_TEXT[:-1]),
        (CheckpointFlaw.LINES, "\n" + SPEC_TEXT.split("\n", 1)[1]),
        (CheckpointFlaw.LINES, SPEC_TEXT + "\n"),
        (CheckpointFlaw.LINES, SPEC_TEXT + "\next\n"),
        (CheckpointFlaw.SIZE, SPEC_TEXT.replace("20852163", "020852163")),
        (CheckpointFlaw.SIZE, SPEC_TEXT.replace("20852163", "+1")),
        (CheckpointFlaw.SIZE, SPEC_TEXT.replace("20852163", "-1")),
        (CheckpointFlaw.SIZE, SPEC_TEXT.replace("20852163", "1_000")),
        (CheckpointFlaw.SIZE, SPEC_TEXT.replace("20852163", "\u0661")),
        (CheckpointFlaw.SIZE, SPEC_TEXT.replace("20852163", " 1")),
        (CheckpointFlaw.SIZE, SPEC_TEXT.replace("20852163", str(2**63))),
        (CheckpointFlaw.SIZE, SPEC_TEXT.replace("20852163", "9" * 100_000)),
        (CheckpointFlaw.ROOT, SPEC_TEXT.replace("q2I=", "q2I")),
        (CheckpointFlaw.ROOT, SPEC_TEXT.replace("q2I=", "q2J=")),
        (CheckpointFlaw.ROOT, SPEC_TEXT.replace("q2I=", "")),
        (CheckpointFlaw.ROOT, SPEC_TEXT.replace("CsUY", "CsUY\u00e9")),
        (CheckpointFlaw.EMPTY, SPEC_TEXT.replace("20852163", "0")),
    ],
)
def test_a_malformed_text_is_refused_by_name(flaw: CheckpointFlaw, text: str) -> None:
    """Each way a text can fail to be a checkpoint has its name, also when it is signed."""
    assert flaw_of(parse_checkpoint, text) is flaw
    if text.endswith("\n"):
        data = Note(text, (LOG.sign(text),)).encode()
        assert flaw_of(open_checkpoint, data, ORIGIN, LOG_KEYS) is flaw


@pytest.mark.parametrize("bad", [("", 1, ROOT), ("a\nb", 1, ROOT), ("o", -1, ROOT), ("o", 2**63, ROOT), ("o", 1, b"")])
def test_values_that_are_no_checkpoint(bad: tuple[str, int, bytes]) -> None:
    """A checkpoint that could not be parsed cannot be made."""
    with pytest.raises(CheckpointError):
        Checkpoint(*bad)


def test_size_0_has_the_root_of_the_empty_tree() -> None:
    """Size 0 goes with the root of the empty tree."""
    checkpoint = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert parse_checkpoint(checkpoint.text) == checkpoint


LINE = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(LINE, st.integers(1, MAX_SIZE), st.binary(min_size=32, max_size=32), st.lists(LINE, max_size=3))
def test_text_and_value_are_one(origin: str, size: int, root: bytes, extensions: list[str]) -> None:
    """Any checkpoint is written and read back the same."""
    checkpoint = Checkpoint(origin, size, root, tuple(extensions))
    assert parse_checkpoint(checkpoint.text) == checkpoint


@given(mutated(SIGNED.encode()))
def test_a_changed_checkpoint_is_refused_by_name(data: bytes) -> None:
    """Whatever opens is what the log signed; the rest is refused by name."""
    with suppress(EvidenceError):
        assert open_checkpoint(data, ORIGIN, LOG_KEYS).text == SIGNED.text


def test_every_mutation_of_a_checkpoint_is_refused() -> None:
    """The same for every mutation of the corpus; texts that parse are written back the same."""
    for data in corpus(SIGNED.encode()):
        with suppress(EvidenceError):
            assert open_checkpoint(data, ORIGIN, LOG_KEYS).text == SIGNED.text
    for data in corpus(SPEC_TEXT.encode()):
        with suppress(EvidenceError, UnicodeDecodeError):
            text = data.decode()
            assert parse_checkpoint(text).text == text


@given(st.text("0123456789+-_ \n\u0661", max_size=21))
def test_a_decimal_is_read_in_one_spelling(text: str) -> None:
    """A text that is read as a decimal is in range, and is written in the same way."""
    with suppress(ValueError):
        value = strict_decimal(text)
        assert str(value) == text
        assert value <= MAX_SIZE


def test_a_hash_line_is_canonical_base64() -> None:
    """A hash is 32 bytes of canonical base64, nothing else."""
    assert decode_hash("A" * 43 + "=") == bytes(32)
    for line in ("", "A" * 44, "A" * 42 + "==", "A" * 43, "A" * 43 + "=\n", " " + "A" * 43 + "="):
        with pytest.raises(ValueError, match=r".+"):
            decode_hash(line)

"""ledger/proof/tlog/note.py: notes of others verify, ours are theirs byte for byte, and the rest is refused by name."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.note import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Note,
    NoteError,
    NoteFlaw,
    Signature,
    VerifierKey,
    open_note,
    parse,
    parse_signatures,
)
from ledger.tlog.signing_keys import SigningKey
from tests.ledger.proof.mutation import corpus, flaw_of, mutated

# golang/mod sumdb/note: keys, text and signatures of note.go and note_test.go (BSD-3-Clause).
PETER_SIGNER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH_KEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
# C2SP signed-note, the example of its section on verifier keys.
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n"
    "\u2014 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)

PETER, ENOCH = VerifierKey.parse(PETER_KEY), VerifierKey.parse(ENOCH_KEY)
NOTE = f"{TEXT}\n{PETER_LINE}{ENOCH_LINE}".encode()


def refuse(flaw: NoteFlaw, data: str | bytes, *known: VerifierKey) -> None:
    """Assert that opening is refused by this name."""
    encoded = data.encode() if isinstance(data, str) else data
    assert flaw_of(open_note, encoded, known or (PETER, ENOCH)) is flaw


def test_notes_of_others_open() -> None:
    """The examples of the specification and of Go verify with their keys."""
    assert open_note(SPEC_NOTE.encode(), [VerifierKey.parse(SPEC_KEY)]).text == "This is an example message.\n"
    opened = open_note(NOTE, [PETER, ENOCH])
    assert opened.text == TEXT
    assert [signature.line for signature in opened.verified] == [PETER_LINE, ENOCH_LINE]
    assert opened.unknown == ()


def test_unknown_signatures_change_nothing() -> None:
    """A signature by a key that is not known is set aside, whatever it holds, even under a known name or key id."""
    peter, enoch = parse(NOTE).signatures
    strangers = (
        Signature("Stranger", 1, b"\0"),
        Signature("PeterNeumann", ENOCH.key_id, b"\1" * 64),
        Signature("EnochRoot", PETER.key_id, b"\1" * 64),
    )
    opened = open_note(Note(TEXT, (strangers[0], peter, *strangers[1:], enoch)).encode(), [PETER])
    assert opened.verified == (peter,)
    assert opened.unknown == (*strangers, enoch)


def test_signing_is_gos_byte_for_byte() -> None:
    """Ed25519 is deterministic: our note is the one Go's tests expect, and the signer key is written back the same."""
    key = SigningKey.parse(PETER_SIGNER)
    assert Note(TEXT, (key.sign(TEXT),)).encode() == f"{TEXT}\n{PETER_LINE}".encode()
    assert key.reveal() == PETER_SIGNER
    assert key.verifier.text == PETER_KEY
    assert "AYEKFALV" not in repr(key) + str(vars(key.verifier))


def test_a_generated_key_signs() -> None:
    """Generate, write, read back, sign, verify; two generated keys differ."""
    key, other = SigningKey.generate("ledger.example/advice"), SigningKey.generate("ledger.example/advice")
    again = SigningKey.parse(key.reveal())
    assert again.verifier == VerifierKey.parse(key.verifier.text) == key.verifier != other.verifier
    signed = Note("text\n", (again.sign("text\n"),)).encode()
    assert open_note(signed, [key.verifier]).text == "text\n"
    refuse(NoteFlaw.UNSIGNED, signed, other.verifier)


def test_known_keys_must_verify() -> None:
    """One bad signature by a known key refuses the note, beside good ones and beside its own good one."""
    changed = NOTE.replace(b"cryptography", b"cryptografy")
    refuse(NoteFlaw.BAD_SIGNATURE, changed)
    enoch = parse(NOTE).signatures[1]
    for blob in (b"\0" * 64, enoch.blob[:63], enoch.blob + b"\0", b"\0"):
        bad = Signature(enoch.name, enoch.key_id, blob)
        refuse(NoteFlaw.BAD_SIGNATURE, Note(TEXT, (*parse(NOTE).signatures, bad)).encode())
        assert open_note(Note(TEXT, (*parse(NOTE).signatures, bad)).encode(), [PETER]).text == TEXT


def test_no_known_key_signed() -> None:
    """Without a signature by a known key the note is refused, with no known key too."""
    refuse(NoteFlaw.UNSIGNED, NOTE, VerifierKey.parse(SPEC_KEY))
    assert flaw_of(open_note, NOTE, []) is NoteFlaw.UNSIGNED


def test_two_keys_of_one_name_and_id_are_refused() -> None:
    """Two different keys under one name and key id are refused; the same key twice is not."""

    class Twin(VerifierKey):
        pass

    refuse(NoteFlaw.AMBIGUOUS, NOTE, PETER, Twin("PeterNeumann", PETER.public))
    assert open_note(NOTE, [PETER, PETER, ENOCH]).text == TEXT


def test_a_repeated_signature_counts_once() -> None:
    """An exact repetition counts once."""
    signatures = parse(NOTE).signatures
    opened = open_note(Note(TEXT, signatures * 3).encode(), [PETER])
    assert (opened.verified, opened.unknown) == (signatures[:1], signatures[1:])


def test_an_added_signature_replaces_that_of_the_same_key() -> None:
    """New signatures stand last and take the place of old ones by the same key."""
    peter, enoch = parse(NOTE).signatures
    stale = Signature(peter.name, peter.key_id, b"stale")
    assert Note(TEXT, (stale, enoch)).add([peter]) == Note(TEXT, (enoch, peter))


@pytest.mark.parametrize(
    ("flaw", "data"),
    [
        (NoteFlaw.STRUCTURE, ""),
        (NoteFlaw.STRUCTURE, TEXT),
        (NoteFlaw.STRUCTURE, f"{TEXT}\n"),
        (NoteFlaw.STRUCTURE, f"{TEXT}{PETER_LINE}"),
        (NoteFlaw.STRUCTURE, f"{TEXT}\n{PETER_LINE[:-1]}"),
        (NoteFlaw.STRUCTURE, f"{TEXT}\n{PETER_LINE}\n"),
        (NoteFlaw.STRUCTURE, f"\n{PETER_LINE}"),
        (NoteFlaw.CHARACTERS, f"\x01{TEXT}\n{PETER_LINE}"),
        (NoteFlaw.CHARACTERS, f"{TEXT}\n{PETER_LINE}".replace("\n", "\r\n")),
        (NoteFlaw.CHARACTERS, f"{TEXT}\t\n\n{PETER_LINE}"),
        (NoteFlaw.CHARACTERS, b"\xff" + NOTE),
        (NoteFlaw.CHARACTERS, b"\xed\xa0\x80" + NOTE),
        (NoteFlaw.SIGNATURE_LINE, f"{TEXT}\n{PETER_LINE}Unexpected line.\n"),
        (NoteFlaw.SIGNATURE_LINE, f"{TEXT}\n{PETER_LINE.replace('PeterNeumann', 'Peter Neumann')}"),
        (NoteFlaw.SIGNATURE_LINE, f"{TEXT}\n{PETER_LINE.replace('PeterNeumann', 'Peter+Neumann')}"),
        (NoteFlaw.SIGNATURE_LINE, f"{TEXT}\n{PETER_LINE.replace('PeterNeumann', f'Peter{chr(0x2003)}Neumann')}"),
        (NoteFlaw.SIGNATURE_LINE, f"{TEXT}\n{PETER_LINE.replace('PeterNeumann ', ' ')}"),
        (NoteFlaw.SIGNATURE_LINE, f"{TEXT}\n{PETER_LINE.replace(chr(0x2014), '-')}"),
        (NoteFlaw.SIGNATURE_LINE, f"{TEXT}\n{PETER_LINE.replace('=', '')}"),
        (NoteFlaw.SIGNATURE_LINE, f"{TEXT}\n{PETER_LINE.replace('nAM=', 'nAN=')}"),
        (NoteFlaw.SIGNATURE_LINE, f"{TEXT}\n\u2014 PeterNeumann x08gow==\n"),
        (NoteFlaw.SIGNATURE_LINE, f"{TEXT}\n\u2014 PeterNeumann\n"),
        (NoteFlaw.TOO_MANY, f"{TEXT}\n{PETER_LINE * (MAX_SIGNATURES + 1)}"),
        (NoteFlaw.TOO_LARGE, "x" * MAX_NOTE_BYTES + f"\n\n{PETER_LINE}"),
    ],
)
def test_a_malformed_note_is_refused_by_name(flaw: NoteFlaw, data: str | bytes) -> None:
    """Each way a note can be malformed has its name."""
    refuse(flaw, data)


def test_limits_leave_room() -> None:
    """The specification wants 16 signatures accepted; we accept MAX_SIGNATURES, and of 3,000 bytes each."""
    large = tuple(Signature("future.example", i, bytes(3000)) for i in range(MAX_SIGNATURES - 1))
    assert open_note(Note(TEXT, (*large, parse(NOTE).signatures[0])).encode(), [PETER]).text == TEXT


def test_text_with_empty_lines() -> None:
    """The last empty line separates: the text may have empty lines, also at its end."""
    key = SigningKey.parse(PETER_SIGNER)
    for text in ("\n", "\n\n\n", "a\n\nb\n", "a\n\n", "\u2014 a b\n\nc\n"):
        assert open_note(Note(text, (key.sign(text),)).encode(), [PETER]).text == text


@pytest.mark.parametrize("text", ["", "no newline", "control\x00\n", "surrogate\ud800\n", "return\r\n"])
def test_what_cannot_be_a_text(text: str) -> None:
    """A text that would not come back is not written."""
    with pytest.raises(NoteError):
        Note(text, parse(NOTE).signatures).encode()


@given(mutated(NOTE))
def test_a_changed_note_is_refused_by_name(data: bytes) -> None:
    """Whatever opens has the text that was signed; the rest is refused by name."""
    with suppress(EvidenceError):
        assert open_note(data, [PETER, ENOCH]).text == TEXT


def test_every_mutation_of_a_note_is_refused() -> None:
    """The same, for every mutation of the corpus of a note with one signature; what parses is encoded as it came."""
    opened = []
    for data in corpus(f"{TEXT}\n{PETER_LINE}".encode()):
        with suppress(EvidenceError):
            assert parse(data).encode() == data
            opened.append(open_note(data, [PETER, ENOCH]))
    assert [note.text for note in opened] == [TEXT], "only the signature line doubled leaves the note as it was"


@given(st.binary(max_size=100) | st.text("\u2014 ab+=\n", max_size=60).map(str.encode))
def test_any_bytes_are_a_note_or_refused_by_name(data: bytes) -> None:
    """Any bytes are a note, and then its encoding, or are refused by name."""
    with suppress(EvidenceError):
        assert parse(data).encode() == data


def test_signature_lines_alone() -> None:
    """The answer of a witness is parsed by itself; an empty answer, or half a line, is refused."""
    assert parse_signatures(PETER_LINE + ENOCH_LINE) == parse(NOTE).signatures
    for lines in ("", PETER_LINE[:-1], "\n", PETER_LINE + "\n"):
        assert flaw_of(parse_signatures, lines) in {NoteFlaw.STRUCTURE, NoteFlaw.SIGNATURE_LINE}

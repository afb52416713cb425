"""Each sentence of C2SP tlog-witness that names a status, against a real server; the docstrings quote it."""

from __future__ import annotations

import base64
import socket
from hashlib import sha256
from pathlib import Path

import pytest

from api.witness.store import WitnessStore, make_store
from api.witness.witness import Witness, parse_logs
from ledger.proof.tlog.checkpoint import Checkpoint, cosignatures
from ledger.proof.tlog.note import Note, NoteError, parse
from ledger.tlog.add_checkpoint import MAX_REQUEST_BYTES, AddCheckpoint
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey, sign_checkpoint
from tests.api.witness.conftest import NOW_S, Served
from tests.api.witness.logs import ORIGIN, Log

HASH = base64.b64encode(b"x" * 32).decode()


def test_200_a_larger_tree_is_cosigned(served: Served) -> None:
    """The body is a cosignature on the checkpoint, by the witness's key and clock; the size it has seen moves on."""
    for old, new in [(0, 3), (3, 4), (4, 64)]:
        found = served.cosigned(served.post(served.log.request(old, new)), new)
        assert [one.timestamp_s for one in cosignatures(found.witnesses)] == [NOW_S]
        assert served.seen() == new


def test_200_the_same_tree_is_cosigned_again(served: Served) -> None:
    """The same size with the same root is cosigned again: a caller that lost the answer gets another."""
    served.post(served.log.request(0, 7))
    served.cosigned(served.post(served.log.request(7, 7)), 7)
    assert served.seen() == 7


def test_200_for_the_empty_tree(served: Served) -> None:
    """A log may begin before its first entry."""
    served.cosigned(served.post(served.log.request(0, 0)), 0)
    served.cosigned(served.post(served.log.request(0, 5)), 5)


def test_200_with_signatures_of_others(served: Served) -> None:
    """MUST ignore signatures from unknown keys: they change nothing, also where they name keys that are known."""
    other = SigningKey.generate("somebody.else")
    note = parse(served.log.note(9))
    more = note.add([other.sign("something else\n")]).encode()
    served.cosigned(served.post(AddCheckpoint(0, (), more).encode()), 9)
    kept = served.state.seen()[ORIGIN].note
    assert kept == served.log.note(9)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"old 0",
        b"old 0\n",
        b"old 00\n\n%s",
        b"old -1\n\n%s",
        b"old +1\n\n%s",
        b"old 1 \n\n%s",
        b"Old 0\n\n%s",
        b"old 99999999999999999999\n\n%s",
        b"old 0\r\n\r\n%s",
        b"old 0\nxyz\n\n%s",
        b"old 0\n" + HASH.encode()[:-4] + b"\n\n%s",
        b"old 0\n" + (HASH + "\n").encode() * 64 + b"\n%s",
        b"old 0\n%s",
        b"old 0\n\nnot a checkpoint\n",
        b"old 0\n\n" + ORIGIN.encode() + b"\n3\n\n",
        b"\xff\n\n%s",
    ],
)
def test_400_for_a_malformed_body(served: Served, body: bytes) -> None:
    """A body that is not an old size, at most 63 hashes, an empty line and a checkpoint is 400, and changes nothing."""
    answer = served.post(body.replace(b"%s", served.log.note(3)))
    assert answer.status_code == 400, answer.text
    assert served.seen() == 0


def test_400_for_an_old_size_above_the_new(served: Served) -> None:
    """The old size MUST be equal to or lower than the checkpoint size: 400, also if it is the size seen last."""
    served.post(served.log.request(0, 9))
    for old in (9, 8):
        assert served.post(AddCheckpoint(old, (), served.log.note(5)).encode()).status_code == 400
    assert served.seen() == 9


def test_400_for_a_signed_text_that_is_no_checkpoint(served: Served) -> None:
    """Signed by the log as it may be."""
    for text in (f"{ORIGIN}\n", f"{ORIGIN}\n07\n{HASH}\n", f"{ORIGIN}\n7\n{HASH[:-1]}\n"):
        note = Note(text, (served.log.key.sign(text),)).encode()
        assert served.post(b"old 0\n\n" + note).status_code == 400


def test_404_unknown_origin(served: Served) -> None:
    """If the checkpoint origin is unknown: 404, by any signer."""
    assert served.post(Log(SigningKey.generate("other.example/log")).request(0, 3)).status_code == 404
    text = Checkpoint("other.example/log", 3, served.log.root(3)).text
    signed = Note(text, (served.log.key.sign(text),)).encode()
    assert served.post(AddCheckpoint(0, (), signed).encode()).status_code == 404
    assert served.state.seen() == {}


def test_403_not_signed(served: Served) -> None:
    """If none of the signatures verify against a trusted key: 403, and the size is not told."""
    stranger = SigningKey.generate(ORIGIN)
    text = Checkpoint(ORIGIN, 3, served.log.root(3)).text
    forged = served.log.key.sign(text)._replace(blob=b"\0" * 64)
    for signatures in ((stranger.sign(text),), (forged,)):
        answer = served.post(AddCheckpoint(0, (), Note(text, signatures).encode()).encode())
        assert (answer.status_code, answer.headers["content-type"]) == (403, "text/plain; charset=utf-8")
    assert served.seen() == 0


@pytest.mark.parametrize("old", [0, 2, 4, 9])
def test_409_another_old_size(served: Served, old: int) -> None:
    """If the old size doesn't match: 409, the size in decimal and a newline, text/x.tlog.size."""
    if old != 0:
        answer = served.post(served.log.request(old, 9))
        assert (answer.status_code, answer.text, answer.headers["content-type"]) == (409, "0\n", "text/x.tlog.size")
    served.post(served.log.request(0, 3))
    answer = served.post(served.log.request(old, 9))
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (409, "3\n", "text/x.tlog.size")
    assert served.seen() == 3


def test_422_another_root_of_the_same_size(served: Served) -> None:
    """If the old size matches the checkpoint size, and the root hashes don't: 422, and both notes are kept."""
    served.post(served.log.request(0, 9))
    fork = Log(served.log.key, fork=4)
    answer = served.post(AddCheckpoint(9, (), fork.note(9)).encode())
    assert (answer.status_code, answer.text) == (422, "another tree of the same size\n")
    assert served.state.seen()[ORIGIN].note == served.log.note(9)
    assert [one.note for one in served.state.refused_notes()] == [fork.note(9)]


def test_a_fork_that_comes_with_another_old_size_gets_the_size_and_is_kept(served: Served) -> None:
    """409 goes before 422, so the caller asks again; but the note alone is proof enough, and kept at once."""
    served.post(served.log.request(0, 9))
    fork = Log(served.log.key, fork=4)
    for old in (0, 4):
        answer = served.post(AddCheckpoint(old, (), fork.note(9)).encode())
        assert (answer.status_code, answer.text, answer.headers["content-type"]) == (409, "9\n", "text/x.tlog.size")
    assert [(one.reason, one.note) for one in served.state.refused_notes()] == [
        ("another tree of the same size", fork.note(9))
    ]


def test_422_a_root_of_size_0_that_is_not_the_empty_trees(served: Served) -> None:
    """A signed checkpoint of size 0 has the root of the empty tree: else 422, but 404 and 403 go before."""
    text = f"{ORIGIN}\n0\n{HASH}\n"
    log, stranger = served.log.key, SigningKey.generate(ORIGIN)
    for signer, told, status in ((log, text, 422), (stranger, text, 403), (log, text.replace(ORIGIN, "other"), 404)):
        note = Note(told, (signer.sign(told),)).encode()
        assert served.post(AddCheckpoint(0, (), note).encode()).status_code == status
    assert served.state.seen() == {}


def test_422_a_proof_that_does_not_hold(served: Served) -> None:
    """If the consistency proof doesn't verify: 422, nothing is cosigned, and what the log signed is kept."""
    served.post(served.log.request(0, 5))
    good = served.log.proof(5, 20)
    bad = [
        good[:-1],
        (*good, b"x" * 32),
        good[::-1],
        (),
        *((*good[:nth], b"\0" * 32, *good[nth + 1 :]) for nth in range(len(good))),
    ]
    for proof in bad:
        assert served.post(AddCheckpoint(5, proof, served.log.note(20)).encode()).status_code == 422
    assert served.seen() == 5
    assert [one.note for one in served.state.refused_notes()] == [served.log.note(20)]


def test_422_a_proof_from_nothing(served: Served) -> None:
    """The proof MUST be empty if the old size is zero, and it is between a size and itself."""
    assert served.post(AddCheckpoint(0, (b"x" * 32,), served.log.note(3)).encode()).status_code == 422
    served.post(served.log.request(0, 3))
    assert served.post(AddCheckpoint(3, (b"x" * 32,), served.log.note(3)).encode()).status_code == 422


def test_the_checkpoint_cosigned_last_is_served_to_everybody(served: Served) -> None:
    """GET /<origin hash>/checkpoint: the log's signature and the same cosignature as the log got; else 404."""
    url = f"{served.base}/{sha256(ORIGIN.encode()).hexdigest()}/checkpoint"
    assert served.client.get(url).status_code == 404
    line = b""
    for old, new in [(0, 3), (3, 9)]:
        line = served.post(served.log.request(old, new)).content
        answer = served.client.get(url)
        assert (answer.status_code, answer.content) == (200, served.log.note(new) + line)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert served.client.head(url).headers["content-length"] == str(len(served.log.note(9) + line))
    for other in ("0" * 64, ORIGIN, sha256(b"another").hexdigest()):
        assert served.client.get(f"{served.base}/{other}/checkpoint").status_code == 404


def test_a_log_whose_origin_is_not_its_keys_name_is_cosigned(tmp_path: Path) -> None:
    """Such as Go's checksum database: written ORIGIN=KEY, it is cosigned; the name of the key alone is no origin."""
    log_key, key = SigningKey.generate("sum.example"), WitnessSigningKey.generate("w")
    make_store(tmp_path / "state", key.verifier.text)
    witness = Witness(
        key,
        parse_logs([f"go.sum database tree={log_key.verifier.text}"]),
        WitnessStore(tmp_path / "state", key.verifier.text),
    )
    tree = Log(log_key)
    for origin, status in (("go.sum database tree", 200), ("sum.example", 404)):
        text = Checkpoint(origin, 5, tree.root(5)).text
        note = Note(text, (log_key.sign(text),)).encode()
        assert witness.add_checkpoint(AddCheckpoint(0, (), note).encode()).status == status


def test_a_log_is_written_as_a_key_or_as_origin_and_key() -> None:
    """A key, or an origin and a key, also where names have equals signs; all keys of one origin count for it."""
    plain, odd = SigningKey.generate("a").verifier, SigningKey.generate("a=b").verifier
    assert parse_logs([plain.text, odd.text]) == {"a": [plain], "a=b": [odd]}
    assert parse_logs([f"a={odd.text}", plain.text]) == {"a": [odd, plain]}
    assert parse_logs([f"x=y={odd.text}"]) == {"x=y": [odd]}
    for wrong in ("", "a", "a=", f"={plain.text}", f"a={plain.text}=", WitnessSigningKey.generate("a").verifier.text):
        with pytest.raises(NoteError):
            parse_logs([wrong])


def test_other_methods_paths_and_sizes_are_refused(served: Served) -> None:
    """Other methods and paths are refused, /healthz answers, connections are kept; a body without end is 413."""
    assert served.client.get(f"{served.base}/add-checkpoint").status_code == 405
    assert served.client.get(f"{served.base}/").status_code == 404
    assert served.client.get(f"{served.base}/healthz").text == "ok\n"
    assert served.post(b"x" * MAX_REQUEST_BYTES).status_code == 400
    assert served.post(b"x" * (MAX_REQUEST_BYTES + 1)).status_code == 413


def test_a_body_that_never_ends_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that drips is answered 408, and others are served meanwhile."""
    monkeypatch.setattr("api.witness.app.BODY_S", 0.5)
    host, port = served.base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\nold ")
        served.cosigned(served.post(served.log.request(0, 3)), 3)
        slow.settimeout(8)  # less than BODY_S is without the patch
        assert b" 408 " in slow.recv(1000)


def test_either_key_of_a_log_is_enough_and_none_may_fail(served: Served) -> None:
    """A log that rotates its key signs with both; either is enough, and a signature that fails is not passed over."""
    old, fresh = served.log.key, SigningKey.generate(ORIGIN)
    text = Checkpoint(ORIGIN, 3, served.log.root(3)).text
    both = Note(text, (fresh.sign(text), old.sign(text))).encode()
    served.cosigned(served.post(AddCheckpoint(0, (), both).encode()), 3)
    alone = sign_checkpoint(Checkpoint(ORIGIN, 3, served.log.root(3)), fresh).encode()
    assert served.post(AddCheckpoint(3, (), alone).encode()).status_code == 403

"""The state of a witness is on disk before a cosignature leaves, belongs to one key, and never begins anew."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from api.witness.store import (
    KEPT_EACH,
    NoStore,
    OtherKey,
    Seen,
    StoreUnavailable,
    WitnessStore,
    make_store,
)
from api.witness.witness import NO_EXTENSION, SPLIT, Witness
from ledger.proof.tlog.checkpoint import cosignatures, open_checkpoint
from ledger.tlog.add_checkpoint import AddCheckpoint
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey
from tests.api.witness.logs import ORIGIN, Log, logs_of

KEY = WitnessSigningKey.generate("witness.example/w1")
Open = Callable[[str], WitnessStore]


@pytest.fixture
def open_state(tmp_path: Path) -> Open:
    """Opens a state that was made for KEY, with the verifier key given."""
    make_store(tmp_path / "state", KEY.verifier.text)
    return lambda key: WitnessStore(tmp_path / "state", key)


class Died(Exception):
    """The process ends here."""


def test_what_was_cosigned_is_remembered(open_state: Open, log_key: SigningKey) -> None:
    """After a new start the witness goes on from what it cosigned, and refuses what does not extend it."""
    log = Log(log_key)
    first = Witness(KEY, logs_of(log_key.verifier), open_state(KEY.verifier.text), lambda: 500)
    assert first.add_checkpoint(log.request(0, 10)).status == 200
    first.store.close()
    second = Witness(KEY, logs_of(log_key.verifier), open_state(KEY.verifier.text), lambda: 1000.9)
    assert second.add_checkpoint(Log(log_key, fork=0).request(0, 12))[:2] == (409, "10\n")
    assert second.add_checkpoint(Log(log_key, fork=0).request(10, 12)).status == 422
    assert [(one.origin, one.note) for one in second.store.refused_notes()] == [(ORIGIN, Log(log_key, fork=0).note(12))]
    assert second.add_checkpoint(log.request(10, 12)).status == 200
    assert second.store.seen() == {ORIGIN: Seen(12, log.root(12), log.note(12), 1000)}


def test_a_caller_gets_a_cosignature_after_a_crash_before_the_answer(
    open_state: Open, log_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state advanced and the cosignature was lost: the caller gets the size, asks again, and gets a cosignature."""
    log = Log(log_key)
    with monkeypatch.context() as patch:
        patch.setattr(WitnessSigningKey, "cosign", dies)
        with pytest.raises(Died):
            Witness(KEY, logs_of(log_key.verifier), open_state(KEY.verifier.text)).add_checkpoint(log.request(0, 10))
    again = Witness(KEY, logs_of(log_key.verifier), open_state(KEY.verifier.text))
    assert again.add_checkpoint(log.request(0, 10))[:2] == (409, "10\n")
    assert again.add_checkpoint(Log(log_key, fork=3).request(10, 10)).status == 422
    assert again.add_checkpoint(log.request(10, 10)).status == 200


def test_a_crash_within_the_transaction_moves_and_locks_nothing(open_state: Open, log_key: SigningKey) -> None:
    """Nothing has moved, and the state is not left locked."""
    state = open_state(KEY.verifier.text)
    with pytest.raises(Died):
        state.advance(ORIGIN, dies)
    assert state.seen() == {}
    state.advance(ORIGIN, lambda _seen: Seen(1, b"r" * 32, b"n", 7))
    with pytest.raises(Died):
        state.advance(ORIGIN, dies)
    assert state.seen() == {ORIGIN: Seen(1, b"r" * 32, b"n", 7)}


def dies(*_: object) -> Seen:
    """Raise in place of being killed."""
    raise Died


def test_concurrent_steps_exclude_each_other(open_state: Open) -> None:
    """Steps exclude each other, also through a second opening of the same state: none is lost."""
    states = [open_state(KEY.verifier.text) for _ in range(4)]

    def count(state: WitnessStore) -> None:
        for _ in range(10):
            state.advance(ORIGIN, lambda seen: Seen(1 if seen is None else seen.size + 1, b"r" * 32, b"n", 7))

    threads = [threading.Thread(target=count, args=[state]) for state in states]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states[0].seen()[ORIGIN].size == 40


def test_each_log_has_a_state_of_its_own(open_state: Open, log_key: SigningKey) -> None:
    """A state that has seen other logs begins with nothing for this one, and keeps what it has of those."""
    other = SigningKey.generate("other.example/log")
    state = open_state(KEY.verifier.text)
    assert Witness(KEY, logs_of(other.verifier), state).add_checkpoint(Log(other).request(0, 30)).status == 200
    both = Witness(KEY, logs_of(other.verifier, log_key.verifier), state)
    assert both.add_checkpoint(Log(log_key).request(0, 5)).status == 200
    assert {origin: seen.size for origin, seen in state.seen().items()} == {"other.example/log": 30, ORIGIN: 5}
    # A key of another log does not sign for this one.
    forged = Log(other).note(6).replace(b"other.example/log\n6", ORIGIN.encode() + b"\n6")
    assert both.add_checkpoint(AddCheckpoint(5, (), forged).encode()).status == 403


def test_a_state_is_refused_with_another_key(open_state: Open) -> None:
    """A state is for the key it was made with: with another it would say that this one saw it."""
    with pytest.raises(OtherKey):
        open_state(WitnessSigningKey.generate("witness.example/w1").verifier.text)


def signed(text: bytes) -> bytes:
    """A note, as far as the state looks into it."""
    return text + b"\n\nsignatures"


def test_refused_notes_are_kept_up_to_a_bound(open_state: Open) -> None:
    """The first and the newest refused notes are kept, each once, however many a log signs."""
    state = open_state(KEY.verifier.text)
    last = 2 * KEPT_EACH + 5
    for nth in range(last):
        for _ in range(2):
            state.keep_refused(ORIGIN, "reason", signed(b"%d" % nth))
    state.keep_refused(ORIGIN, "another", signed(b"for another reason"))
    state.keep_refused("another", "reason", signed(b"of another log"))
    kept = [one.note for one in state.refused_notes() if (one.origin, one.reason) == (ORIGIN, "reason")]
    assert kept == [signed(b"%d" % nth) for nth in (*range(KEPT_EACH), *range(last - KEPT_EACH, last))]
    assert len(state.refused_notes()) == 2 * KEPT_EACH + 2


def test_evidence_is_not_pushed_out(open_state: Open, log_key: SigningKey) -> None:
    """A fork's note is still there after any number of honest checkpoints that came with wrong proofs."""
    honest, fork = Log(log_key, 160), Log(log_key, fork=5)
    witness = Witness(KEY, logs_of(log_key.verifier), open_state(KEY.verifier.text))
    assert witness.add_checkpoint(honest.request(0, 10)).status == 200
    assert witness.add_checkpoint(fork.request(10, 20)).status == 422
    for size in range(20, 20 + 2 * KEPT_EACH + 1):
        wrong = AddCheckpoint(10, (b"x" * 32,), honest.note(size))
        assert witness.add_checkpoint(wrong.encode()).status == 422
    assert fork.note(20) in [one.note for one in witness.store.refused_notes()]


def test_a_note_that_is_later_shown_to_extend_is_no_longer_kept(open_state: Open, log_key: SigningKey) -> None:
    """Whoever sends a public checkpoint with a wrong proof raises an alarm only until the right proof comes."""
    log, fork = Log(log_key), Log(log_key, fork=5)
    witness = Witness(KEY, logs_of(log_key.verifier), open_state(KEY.verifier.text))
    assert witness.add_checkpoint(log.request(0, 10)).status == 200
    for one in (log, fork):
        assert witness.add_checkpoint(AddCheckpoint(10, (b"x" * 32,), one.note(20)).encode()).status == 422
    assert witness.add_checkpoint(log.request(10, 20)).status == 200
    assert [one.note for one in witness.store.refused_notes()] == [fork.note(20)]
    # A caller whose wrong proof was judged before, and is noted only now.
    witness.store.keep_refused(ORIGIN, NO_EXTENSION, log.note(20))
    assert [one.note for one in witness.store.refused_notes()] == [fork.note(20)]


def test_a_note_that_is_later_known_as_a_split_is_shown_as_one(open_state: Open, log_key: SigningKey) -> None:
    """At first it was only not shown to extend; once there is another tree of its size, the two are a proof."""
    log, fork = Log(log_key), Log(log_key, fork=5)
    witness = Witness(KEY, logs_of(log_key.verifier), open_state(KEY.verifier.text))
    assert witness.add_checkpoint(log.request(0, 10)).status == 200
    assert witness.add_checkpoint(fork.request(10, 20)).status == 422
    assert [one.reason for one in witness.store.refused_notes()] == [NO_EXTENSION]
    assert witness.add_checkpoint(log.request(10, 20)).status == 200
    assert witness.add_checkpoint(fork.request(20, 20)).status == 422
    assert [(one.reason, one.note) for one in witness.store.refused_notes()] == [(SPLIT, fork.note(20))]


def test_times_never_fall_when_the_clock_steps_back(open_state: Open, log_key: SigningKey) -> None:
    """Times never fall as sizes rise, also by another process with the same state; then they rise again."""
    log = Log(log_key)
    times = []
    for size, clock_s in enumerate((1000, 500, 999, 1001), 1):
        witness = Witness(KEY, logs_of(log_key.verifier), open_state(KEY.verifier.text), partial(float, clock_s))
        answer = witness.add_checkpoint(log.request(size - 1, size))
        found = open_checkpoint(log.note(size) + answer.body.encode(), ORIGIN, [log_key.verifier], [KEY.verifier])
        times += [one.timestamp_s for one in cosignatures(found.witnesses)]
        witness.store.close()
    assert times == [1000, 1000, 1000, 1001]


def test_a_state_is_never_made_by_itself(tmp_path: Path) -> None:
    """Opening never creates a file, and creating never replaces one."""
    with pytest.raises(NoStore, match="retire the key"):
        WitnessStore(tmp_path / "gone", KEY.verifier.text)
    assert list(tmp_path.iterdir()) == []
    make_store(tmp_path / "state", KEY.verifier.text)
    with pytest.raises(StoreUnavailable, match="never overwritten"):
        make_store(tmp_path / "state", KEY.verifier.text)
    with pytest.raises(StoreUnavailable, match="No such file"):
        make_store(tmp_path / "no folder" / "state", KEY.verifier.text)


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100])
def test_a_damaged_state_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that holds no state is refused by name."""
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(StoreUnavailable):
        WitnessStore(tmp_path / "state", KEY.verifier.text)


def test_each_commit_is_synced_to_the_disk(tmp_path: Path) -> None:
    """Each commit is synced: the write-ahead log, and FULL."""
    make_store(tmp_path / "state", KEY.verifier.text)
    state = WitnessStore(tmp_path / "state", KEY.verifier.text)
    assert state._conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert state._conn.execute("PRAGMA synchronous").fetchone() == (2,)


def test_nothing_is_cosigned_while_another_process_holds_the_state(
    tmp_path: Path, log_key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is cosigned while the state cannot be written."""
    monkeypatch.setattr("api.witness.store.BUSY_S", 0.1)
    make_store(tmp_path / "state", KEY.verifier.text)
    witness = Witness(KEY, logs_of(log_key.verifier), WitnessStore(tmp_path / "state", KEY.verifier.text))
    holder = sqlite3.connect(tmp_path / "state", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked"):
        witness.add_checkpoint(Log(log_key).request(0, 5))
    holder.execute("ROLLBACK")
    assert witness.add_checkpoint(Log(log_key).request(0, 5)).status == 200

"""Whatever is asked, and by however many at once: all that was ever cosigned is one history."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.witness.store import WitnessStore, make_store
from api.witness.witness import Reply, Witness
from ledger.tlog.add_checkpoint import AddCheckpoint
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey
from tests.api.witness.conftest import Served
from tests.api.witness.logs import Log, logs_of

SIZES = st.integers(1, 40)


def fresh(folder: Path, log: SigningKey) -> Witness:
    """A witness that has seen nothing."""
    key = WitnessSigningKey.generate("w")
    make_store(folder / "state", key.verifier.text)
    return Witness(key, logs_of(log.verifier), WitnessStore(folder / "state", key.verifier.text))


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(first=SIZES, second=SIZES, fork=st.integers(0, 39), told=st.booleans())
def test_only_one_of_two_histories_is_cosigned(
    tmp_path_factory: object, log_key: SigningKey, first: int, second: int, fork: int, told: bool
) -> None:
    """After one history was cosigned, another is never, from whatever size, unless both are the same so far."""
    witness = fresh(tmp_path_factory.mktemp("w"), log_key)  # type: ignore[attr-defined]
    ours, theirs = Log(log_key), Log(log_key, fork=fork)
    assert witness.add_checkpoint(ours.request(0, first)).status == 200
    same_so_far = first <= fork
    old = first if told and first <= second else 0
    answer = witness.add_checkpoint(theirs.request(old, second))
    if same_so_far and old == first:
        assert answer.status == 200
    else:
        assert answer.status in {409, 422}
        assert not answer.body.startswith("\u2014")
        # And what it has seen is as before.
        assert witness.add_checkpoint(ours.request(first, 40)).status == 200


@settings(max_examples=30, suppress_health_check=list(HealthCheck))
@given(asked=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.booleans()), max_size=25))
def test_cosigned_trees_only_grow_over_any_requests(
    tmp_path_factory: object, log_key: SigningKey, asked: list[tuple[int, int, bool]]
) -> None:
    """Over any sequence of requests from two histories, sizes never fall and every tree begins with the one before."""
    witness = fresh(tmp_path_factory.mktemp("w"), log_key)  # type: ignore[attr-defined]
    histories = [Log(log_key), Log(log_key, fork=10)]
    cosigned: list[tuple[int, bytes]] = []
    for old, new, other in asked:
        log = histories[other]
        proof = log.proof(old, new) if old <= new else ()
        if witness.add_checkpoint(AddCheckpoint(old, proof, log.note(new)).encode()).status == 200:
            cosigned.append((new, log.root(new)))
    assert [size for size, _ in cosigned] == sorted(size for size, _ in cosigned)
    if cosigned:
        assert any([root for _, root in cosigned] == [log.root(size) for size, _ in cosigned] for log in histories)


@given(body=st.binary(max_size=400) | st.text(max_size=300).map(str.encode))
def test_bytes_that_are_no_request_are_refused(tmp_path_factory: object, log_key: SigningKey, body: bytes) -> None:
    """A malformed request gets 400, 403 or 404, and never raises."""
    witness = Witness(WitnessSigningKey.generate("w"), logs_of(log_key.verifier), Nothing())
    for sent in (body, b"old 0\n\n" + body, b"old 0\n\n" + Log(log_key, 3).note(3)[:-10] + body):
        assert witness.add_checkpoint(sent).status in {400, 403, 404}


class Nothing(WitnessStore):
    """A state that must not be reached."""

    def __init__(self) -> None:
        pass

    def advance(self, *_: object) -> None:
        raise AssertionError


def test_of_many_requests_at_once_one_is_cosigned(served: Served) -> None:
    """If many requests from one size lead to different sizes and histories, one wins; the others get its size."""
    start = threading.Barrier(24)
    histories = [served.log, Log(served.log.key, fork=0)]
    answers: list[tuple[int, Log, httpx.Response]] = []

    def ask(nth: int) -> None:
        log, size = histories[nth % 2], 10 + nth
        start.wait()
        answers.append((size, log, httpx.post(f"{served.base}/add-checkpoint", content=log.request(0, size))))

    threads = [threading.Thread(target=ask, args=[nth]) for nth in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [(size, log, answer) for size, log, answer in answers if answer.status_code == 200]
    assert len(won) == 1
    size, log, answer = won[0]
    served.cosigned(answer, size, log)
    assert {answer.text for *_, answer in answers if answer.status_code == 409} == {f"{size}\n"}
    assert len([1 for *_, answer in answers if answer.status_code == 409]) == 23


def test_racing_callers_never_roll_the_log_back(served: Served) -> None:
    """Many callers race a log forward, each from the size it is told: no size is cosigned twice, none rolls back."""
    replies: list[tuple[int, Reply]] = []
    witness = Witness(served.key, logs_of(served.log.key.verifier), served.state)

    def race(first: int) -> None:
        old = 0
        for size in range(first, 60, 4):
            reply = witness.add_checkpoint(served.log.request(min(old, size), size))
            if reply.status == 409:
                old = int(reply.body)
                if old <= size:
                    reply = witness.add_checkpoint(served.log.request(old, size))
            if reply.status == 200:
                old = size
                replies.append((size, reply))

    threads = [threading.Thread(target=race, args=[first]) for first in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies
    assert served.seen() == max(size for size, _ in replies)
    assert len({size for size, _ in replies}) == len(replies)

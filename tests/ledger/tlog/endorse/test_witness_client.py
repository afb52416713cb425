"""A log and its witnesses, as processes: each cosigns at its own pace, and none that lies or hangs delays another."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.database import conninfo
from ledger.proof.tlog.checkpoint import WitnessKey, open_checkpoint
from ledger.proof.tlog.merkle import check_consistency
from ledger.proof.tlog.note import VerifierKey, parse
from ledger.tlog.add_checkpoint import parse_request
from ledger.tlog.endorse.endorsers import EndorserConfig, Endorsers
from ledger.tlog.endorse.poller import RetryPolicy
from ledger.tlog.endorse.witness_client import SharedSizes, proof_between
from ledger.tlog.quorum import BadWitness, WitnessConfig, WitnessPolicy, quorum_state
from ledger.tlog.sign.last_signed import LastSigned
from ledger.tlog.sign.signer import Signer
from ledger.tlog.signing_keys import SigningKey, WitnessSigningKey
from tests.api.witness.processes import keygen, witnessing
from tests.ledger.tlog.endorse.servers import Behave, answering, closing, dripping, endless, hanging, saying, smtp
from tests.support import append, connect, eventually, new

PACE = RetryPolicy(timeout_s=1.0, first_s=0.05, most_s=0.2)
LIAR = WitnessSigningKey.generate("witness.example/liar")


class Log:
    """A ledger that is signed on demand."""

    def __init__(self, url: str, key: SigningKey, signer: Signer) -> None:
        self.url = url
        self.key = key
        self.signer = signer

    def grow(self, count: int = 1) -> int:
        """Append events and sign; return the size."""
        with connect(self.url) as conn:
            append(conn, *(new("s") for _ in range(count)))
        signed = self.signer.step()
        assert signed is not None
        return signed.size

    def rows(self, query: str) -> list[Any]:
        """Run a query."""
        with connect(self.url) as conn:
            return conn.execute(query.encode()).fetchall()

    def cosigned(self, key: WitnessKey, size: int) -> bool:
        """Return whether this witness's cosignature on the checkpoint is stored, and verify it."""
        witness = f"{key.name}+{key.key_id:08x}"
        with connect(self.url, "reader") as conn:
            row = conn.execute(
                "SELECT c.note || s.line FROM checkpoints c JOIN cosignatures s USING (size)"
                " WHERE c.size = %s AND s.witness = %s",
                [size, witness],
            ).fetchone()
        if row is None:
            return False
        found = open_checkpoint(row[0].encode(), self.key.verifier.name, [self.key.verifier], [key])
        return len(found.witnesses) == 1

    @contextlib.contextmanager
    def asking(self, *witnesses: tuple[str, WitnessKey], pace: RetryPolicy = PACE) -> Iterator[Endorsers]:
        """Asks these witnesses."""
        policy = WitnessPolicy(tuple(WitnessConfig(url, key) for url, key in witnesses), len(witnesses))
        endorsers = Endorsers(conninfo(self.url, "signer"), EndorserConfig(policy, pace=pace))
        with endorsers.running():
            yield endorsers


@pytest.fixture
def log(database_url: str, tmp_path: Path) -> Iterator[Log]:
    """A ledger with a signer."""
    with connect(database_url) as conn:
        key = SigningKey.generate(conn.execute("SELECT origin FROM head").fetchall()[0][0])
    state = LastSigned(tmp_path / "last", None, key.verifier)
    with connect(database_url, "signer") as conn, state.held() as file:
        yield Log(database_url, key, Signer(conn, key, file))


def witness_key(key: WitnessSigningKey) -> WitnessKey:
    """The public part of a witness's key."""
    return WitnessKey.parse(key.verifier.text)


def folder(path: Path) -> Path:
    """A new folder."""
    path.mkdir()
    return path


@pytest.mark.slow
def test_a_killed_witness_delays_only_its_own_cosignature(log: Log, tmp_path: Path) -> None:
    """Each checkpoint gets both cosignatures; a killed witness delays only its own, and catches up once it is back."""
    one, two = folder(tmp_path / "1"), folder(tmp_path / "2")
    first, second = keygen(one, "witness.example/1"), keygen(two, "witness.example/2")
    with witnessing(one, log.key.verifier.text) as (here, _), contextlib.ExitStack() as stack:
        there, process = stack.enter_context(witnessing(two, log.key.verifier.text))
        with log.asking((here, first), (there, second)) as endorsers:
            for count in (1, 300, 7):
                size = log.grow(count)
                endorsers.checkpoint_signed()
                eventually("both cosign", lambda size=size: log.cosigned(first, size) and log.cosigned(second, size))
            process.send_signal(signal.SIGKILL)
            process.wait()
            for count in (100, 200, 3):
                size = log.grow(count)
                endorsers.checkpoint_signed()
                eventually("the other one goes on", lambda size=size: log.cosigned(first, size))
            size = log.grow(1)
            endorsers.checkpoint_signed()
            eventually("the other one goes on", lambda: log.cosigned(first, size))
            troubles = eventually("it is named", lambda: [one for one in endorsers.progress() if one.error])
            assert [one.name.partition("+")[0] for one in troubles] == [second.name]
            assert not log.cosigned(second, size)
            port = int(there.rpartition(":")[2])
            stack.enter_context(witnessing(two, log.key.verifier.text, port=port))
            eventually("it catches up", lambda: log.cosigned(second, size))
            assert eventually("nothing is wrong", lambda: all(one.error is None for one in endorsers.progress()))


def test_a_start_catches_up_on_cosignatures(log: Log, tmp_path: Path) -> None:
    """A checkpoint that was signed while no poller ran is cosigned after a start, without a new checkpoint."""
    key = keygen(tmp_path)
    with witnessing(tmp_path, log.key.verifier.text) as (here, _):
        with log.asking((here, key)) as endorsers:
            endorsers.checkpoint_signed()  # before there is any checkpoint
            size = log.grow(5)
            endorsers.checkpoint_signed()
            eventually("cosigned", lambda: log.cosigned(key, size))
        size = log.grow(600)
        with log.asking((here, key)):
            eventually("cosigned", lambda: log.cosigned(key, size))
        # A cosignature that was given and lost on the way is asked for again.
        with connect(log.url) as conn:
            conn.execute("ALTER TABLE cosignatures DISABLE TRIGGER ALL")
            conn.execute("DELETE FROM cosignatures")
        with log.asking((here, key)):
            eventually("cosigned", lambda: log.cosigned(key, size))


def cosigning(key: WitnessSigningKey, at_s: float, text: str | None = None) -> Behave:
    """Cosigns with this key, at this time, this text, or the checkpoint that it is asked about."""

    def behave(body: bytes, send: Any) -> None:
        asked = parse(parse_request(body).checkpoint).text
        line = key.cosign(text or asked, int(at_s)).line
        saying(200, line.encode())(body, send)

    return behave


LIES: list[tuple[Behave, str]] = [
    (hanging, "no answer within 1 s"),
    (dripping, "no answer within 1 s"),
    (endless, "more than 65536 bytes"),
    (saying(200, b"garbage"), "no signature line"),
    (saying(200, b""), "no signature line"),
    (saying(200, b"\xff\xfe"), "no signature line"),
    (saying(302, b"", "Location: http://127.0.0.1:1/"), "answered 302 Found"),
    (saying(403, b"no\n"), "answered 403 Forbidden"),
    (saying(500, b"oops"), "answered 500"),
    (saying(599, b"oops"), "answered 599"),
    (saying(422, b"no\n"), "does not accept"),
    (saying(409, b"garbage\n"), "409 without a size"),
    (saying(409, b"-1\n"), "409 without a size"),
    (saying(409, b"99999\n"), "has seen a tree of 99999"),
    (saying(409, b"0\n"), "409 with the size 0"),
    (smtp, "no valid HTTP response"),
    (closing, "no valid HTTP response"),
]


@pytest.mark.parametrize(("behave", "trouble"), LIES, ids=[f"{nth} {trouble}" for nth, (_, trouble) in enumerate(LIES)])
def test_a_witness_that_answers_wrongly_is_named_once_and_delays_nobody(
    log: Log, behave: Behave, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of a witness that does not answer as it should is stored; it is named, once; the other is not delayed."""
    requests = []

    def counted(body: bytes, send: Any) -> None:
        requests.append(body)
        behave(body, send)

    caplog.set_level(logging.INFO)
    honest = WitnessSigningKey.generate("witness.example/honest")
    key = witness_key(honest)
    with answering(cosigning(honest, time.time())) as here, answering(counted) as there:
        with log.asking((there, witness_key(LIAR)), (here, key)) as endorsers:
            for _ in range(2):
                size = log.grow()
                endorsers.checkpoint_signed()
                eventually("the honest one cosigns", lambda size=size: log.cosigned(key, size), within_s=5)
            eventually("it is named", lambda: trouble in (endorsers.progress()[0].error or ""))
            before = len(requests)
            eventually("it is asked again", lambda: len(requests) > before + 1)
        assert not [thread for thread in threading.enumerate() if LIAR.verifier.name in thread.name]
    assert log.rows("SELECT DISTINCT witness FROM cosignatures") == [(f"{key.name}+{key.key_id:08x}",)]
    said = [one.message for one in caplog.records if LIAR.verifier.name in one.message]
    assert len(said) == len(set(said))
    assert not [one for one in said if "garbage" in one or "oops" in one]


def impostor() -> WitnessSigningKey:
    """A key whose lines carry the name and the key id of the liar's."""
    other = WitnessSigningKey.generate(LIAR.verifier.name)
    other.verifier = LIAR.verifier
    return other


@pytest.mark.parametrize(
    ("behave", "trouble"),
    [
        (cosigning(WitnessSigningKey.generate(LIAR.verifier.name), time.time()), "by other keys"),
        (cosigning(impostor(), time.time()), "does not verify"),
        (cosigning(LIAR, time.time(), "another/log\n1\n" + "A" * 43 + "=\n"), "does not verify"),
        (cosigning(LIAR, time.time() + 86_400), "ahead of ours"),
        (cosigning(LIAR, 1_000_000_000), "behind ours"),
    ],
    ids=["another key", "a forged line", "another text", "tomorrow", "2001"],
)
def test_cosignatures_that_do_not_hold(log: Log, behave: Behave, trouble: str) -> None:
    """A cosignature is stored only when the configured key made it on this checkpoint, about now."""
    with answering(behave) as there, log.asking((there, witness_key(LIAR))) as endorsers:
        log.grow()
        endorsers.checkpoint_signed()
        eventually("it is refused", lambda: trouble in (endorsers.progress()[0].error or ""))
    assert log.rows("SELECT * FROM cosignatures") == []


@pytest.mark.slow
@pytest.mark.tampers
def test_two_histories_are_seen_by_the_witness(log: Log, tmp_path: Path) -> None:
    """The owner of key and database who signs another history gets no cosignature for it; the log says why."""
    key = keygen(tmp_path)
    with witnessing(tmp_path, log.key.verifier.text) as (here, _):
        with log.asking((here, key)) as endorsers:
            size = log.grow(10)
            endorsers.checkpoint_signed()
            eventually("cosigned", lambda: log.cosigned(key, size))
        from tests.api.witness.logs import Log as Made

        other = Made(log.key, 40)
        with connect(log.url) as conn:
            conn.execute("ALTER TABLE checkpoints DISABLE TRIGGER ALL")
            conn.execute("ALTER TABLE cosignatures DISABLE TRIGGER ALL")
            conn.execute("DELETE FROM cosignatures")
            conn.execute("UPDATE checkpoints SET note = %s", [other.note(10).decode()])
        with log.asking((here, key)) as endorsers:
            eventually("refused", lambda: "another tree of 10" in (endorsers.progress()[0].error or ""))
        with connect(log.url) as conn:
            conn.execute("UPDATE checkpoints SET size = 7, note = %s", [other.note(7).decode()])
        with log.asking((here, key)) as endorsers:
            eventually("refused", lambda: "an older copy" in (endorsers.progress()[0].error or ""))
    assert log.rows("SELECT * FROM cosignatures") == []


SIZE = "Content-Type: text/x.tlog.size"


@pytest.mark.parametrize(
    "split",
    [
        saying(422, b"another tree\n"),
        saying(409, b""),
        saying(409, b"no\n", "Content-Type: text/plain"),
        saying(409, b"1\n", SIZE),
    ],
    ids=["422", "409 without a body", "409 with words", "409 with the size that was asked"],
)
def test_a_split_is_understood_in_each_way_that_witnesses_say_it(log: Log, split: Behave) -> None:
    """A witness that has seen another tree of our size tells the size, and then refuses: that is named as a split."""

    def behave(body: bytes, send: Any) -> None:
        (split if parse_request(body).old_size == 1 else saying(409, b"1\n", SIZE))(body, send)

    with answering(behave) as there, log.asking((there, witness_key(LIAR))) as endorsers:
        assert log.grow() == 1
        endorsers.checkpoint_signed()
        found = eventually("it is named", lambda: endorsers.progress()[0].error)
    assert found == "has seen another tree of 1"
    assert log.rows("SELECT * FROM cosignatures") == []


def test_a_witness_whose_clock_is_wrong_is_logged_once(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """The seconds in the message change with each try, and the log does not repeat it."""
    tries = []

    def behave(body: bytes, send: Any) -> None:
        tries.append(body)
        cosigning(LIAR, time.time() - 100_000 - 1000 * len(tries))(body, send)

    with answering(behave) as there, log.asking((there, witness_key(LIAR))) as endorsers:
        log.grow()
        endorsers.checkpoint_signed()
        eventually("it is asked again", lambda: len(tries) > 3)
        assert "behind ours" in (endorsers.progress()[0].error or "")
    assert len([one for one in caplog.records if "behind ours" in one.message]) == 1


def test_signing_never_waits(log: Log) -> None:
    """With a witness that hangs, checkpoints are announced without waiting; later only the newest is asked for."""
    asked, answered = [], []
    released = threading.Event()

    def slow(body: bytes, send: Any) -> None:
        asked.append(int(parse(parse_request(body).checkpoint).text.split("\n")[1]))
        released.wait(20)
        answered.append(asked[-1])
        cosigning(LIAR, time.time())(body, send)

    pace = RetryPolicy(timeout_s=30, first_s=0.05)
    with answering(slow) as there, log.asking((there, witness_key(LIAR)), pace=pace) as endorsers:
        log.grow()
        endorsers.checkpoint_signed()
        eventually("it is asked", lambda: asked)
        for _ in range(1000):
            endorsers.checkpoint_signed()
        assert answered == []
        log.grow()
        endorsers.checkpoint_signed()
        size = log.grow()
        endorsers.checkpoint_signed()
        released.set()
        eventually("the newest is cosigned", lambda: log.cosigned(witness_key(LIAR), size))
    assert asked == [1, size]


@pytest.mark.parametrize(
    "sizes", [(1, 2, 255, 256, 257, 300), (511, 512, 513, 700), pytest.param((1, 66_000), marks=pytest.mark.slow)]
)
def test_proofs_from_the_database(log: Log, sizes: tuple[int, ...]) -> None:
    """Between any two checkpoints the proof holds, also to an older checkpoint."""
    roots: dict[int, bytes] = {}
    at = 0
    for size in sizes:
        while at < size:
            with connect(log.url) as conn:
                append(conn, *(new("s") for _ in range(min(2000, size - at))))
            at += min(2000, size - at)
        signed = log.signer.step()
        assert signed is not None
        roots[size] = signed.root
    with connect(log.url, "signer") as conn:
        for old in sizes:
            for larger in sizes:
                if old <= larger:
                    check_consistency(old, larger, roots[old], roots[larger], proof_between(conn, old, larger))
        assert proof_between(conn, 0, sizes[-1]) == []


def test_the_quorum_is_met_at_the_newest_size_with_enough_witnesses(log: Log) -> None:
    """The policy is satisfied at the newest checkpoint that enough of the configured witnesses have cosigned."""
    keys = [WitnessSigningKey.generate(f"w{nth}") for nth in range(3)]
    configured = tuple(WitnessConfig("http://127.0.0.1:1", witness_key(key)) for key in keys)
    with connect(log.url, "reader") as conn:
        assert quorum_state(conn, WitnessPolicy(configured, 2)) is None
        for _ in range(4):
            log.grow()
        with connect(log.url, "signer") as writer:
            for size, nth in [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (3, 1)]:
                writer.execute("INSERT INTO cosignatures VALUES (%s, %s, 'line')", [size, configured[nth].witness])
            writer.execute("INSERT INTO cosignatures VALUES (3, 'somebody else', 'line')")

        def witnessed(quorum: int) -> int | None:
            found = quorum_state(conn, WitnessPolicy(configured, quorum))
            assert found is not None
            assert found.size == 4
            return found.witnessed

        assert [witnessed(quorum) for quorum in (0, 1, 2, 3)] == [4, 3, 2, 1]
        found = quorum_state(conn, WitnessPolicy(configured[2:], 1))
        assert found is not None
        assert found.witnessed == 1


def test_pollers_at_different_times_meet_at_the_same_sizes() -> None:
    """Askers that take turns at different times come to the same sizes; nobody goes back or waits for another."""
    chosen = SharedSizes()
    assert chosen.take("a", 1, 0) == 1
    assert chosen.take("b", 2, 0) == 1  # a is at it
    assert chosen.take("a", 4, 1) == 4
    assert chosen.take("b", 5, 1) == 4
    assert chosen.take("a", 6, 4) == 6
    assert chosen.take("a", 7, 6) == 7
    assert chosen.take("a", 7, 7) == 7  # b, which hangs at 4, is not looked back to


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://w.example",
        "ftp://w.example={key}",
        "http://={key}",
        "http://user:hunter2@w.example={key}",
        "http://w.example/?a={key}",
        "http://w.example:99999={key}",
        "http://w.example/\n={key}",
        "http://w.example=nonsense",
        "http://w.example={log}",
    ],
)
def test_how_a_witness_is_written(text: str) -> None:
    """URL=VERIFIER_KEY, the key a witness's; what is not so is refused, and a password is not repeated."""
    key, log = LIAR.verifier.text, SigningKey.generate("l").verifier.text
    with pytest.raises(BadWitness) as caught:
        WitnessConfig.parse(text.format(key=key, log=log))
    assert "hunter2" not in str(caught.value)
    found = WitnessConfig.parse(f" https://w.example/path/={key}")
    assert (found.url, found.key.text) == ("https://w.example/path", key)


def test_a_witness_key_in_the_form_of_a_logs_key_is_refused_with_the_right_form() -> None:
    """Some witnesses publish their key as type 0x01: the message has the same key as type 0x04."""
    right = LIAR.verifier
    published = VerifierKey(right.name, right.public).text
    with pytest.raises(BadWitness, match="a log's key, where type 0x04, a witness's key, is needed") as caught:
        WitnessConfig.parse(f"http://w.example={published}")
    assert str(caught.value).endswith(right.text)


def test_how_many_are_needed() -> None:
    """A majority unless it is said; never more than there are; and one key counts once, under whatever address."""
    texts = [f"http://w.example={WitnessSigningKey.generate(f'w{nth}').verifier.text}" for nth in range(4)]
    assert [WitnessPolicy.of(texts[:nth]).quorum for nth in range(5)] == [0, 1, 2, 2, 3]
    assert WitnessPolicy.of(texts, 0).quorum == 0
    for wrong in ((texts, 5), (texts, -1), ([], 1), ([texts[0], texts[0].replace("w.ex", "v.ex")], 1)):
        with pytest.raises(BadWitness):
            WitnessPolicy.of(*wrong)


def test_settings_become_endorsers_or_one_line_of_error(tmp_path: Path) -> None:
    """The settings become the endorsers; what does not go together is one line that says so."""
    from api.cli.assemble import endorsers
    from api.cli.shared import CannotRun
    from api.settings import Settings

    witness = f"http://w.example={LIAR.verifier.text}"
    assert endorsers(Settings()).policy == WitnessPolicy()
    assert endorsers(Settings(witnesses=(witness,))).policy.quorum == 1
    authority = "http://tsa.example"
    for wrong in (
        Settings(witnesses=(witness,), witness_quorum=2),
        Settings(witnesses=("nonsense",)),
        Settings(timestamp_authority=authority),
        Settings(timestamp_ca=tmp_path),
        Settings(timestamp_authority=authority, timestamp_ca=tmp_path),
    ):
        with pytest.raises(CannotRun):
            endorsers(wrong)

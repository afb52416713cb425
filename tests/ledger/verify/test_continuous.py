"""The chain is checked in the background, at a bounded rate; what is found is recorded, and nothing waits for it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import psycopg
import pytest

from ledger.database import Connection
from ledger.tlog.sign.signer import Signer
from ledger.tlog.signing_keys import SigningKey
from ledger.verify.continuous import VerificationConfig
from ledger.verify.database import verify_chain
from ledger.verify.scan import ChainBroken, Root, Scan
from tests.ledger.tlog.logs import key_for
from tests.ledger.verify.verifying import (
    EDIT,
    REPAIR,
    fill,
    head_of,
    on_record,
    recorded,
    results,
    sign,
    until,
    verifying,
)
from tests.support import connect
from tests.tampering import tamper

REHASH = """
    UPDATE events e
    SET prev_hash = p.hash, hash = event_hash(
        p.hash, e.position, e.version, (extract(epoch FROM e.recorded_at) * 1000000)::bigint, e.body)
    FROM events p
    WHERE e.position = {at} AND p.position = e.position - 1
"""

# The event at 5 once more, as another one.
FORGED = """
    INSERT INTO events SELECT f.* FROM events e, jsonb_populate_record(
        e, jsonb_build_object('position', e.position + 1, 'stream', 'request-6', 'id', gen_random_uuid())) f
    ORDER BY e.position DESC LIMIT 1
"""


@pytest.fixture
def key(database_url: str) -> SigningKey:
    """A key for the ledger."""
    return key_for(database_url)


def test_a_good_chain_is_recorded_once_a_day(database_url: str, key: SigningKey, tmp_path: Path) -> None:
    """However many rounds there are, and after a restart; new events are followed, and new checkpoints compared."""
    fill(database_url, 700)
    sign(database_url, key, tmp_path / "last")
    for _ in range(2):
        with verifying(
            database_url, VerificationConfig(rate=1_000_000, rest_s=0.05, rests=0, settle_s=0, keys=(key.verifier,))
        ) as verifier:
            until(verifier, lambda now: now.passed_s is not None)
            on_record(database_url, 1)
            fill(database_url, 3)
            head = head_of(database_url)
            status = until(verifier, lambda now, head=head: now.position >= head)  # type: ignore[misc]
            assert (status.state, status.finding) == ("leads", None)
            assert status.checkpoint_size == 700
            assert status.age_s is not None
            assert 0 <= status.age_s < 20
            until(verifier, lambda now, first=status.passed_s: now.passed_s != first)  # type: ignore[misc]
    (body,) = recorded(database_url)
    assert body["actor"] == {"id": "advice-ledger", "kind": "service", "role": "verifier"}
    assert body["stream"] == f"verification-{datetime.now(UTC):%Y-%m-%d}"
    data = body["data"]
    assert (data["first_position"], data["last_position"], data["checkpoint_size"]) == (1, 700, 700)
    assert data["result"] == "good"
    assert "finding" not in data


def test_an_empty_ledger_has_nothing_to_record(database_url: str) -> None:
    """It is through at once, again and again."""
    with verifying(database_url) as verifier:
        until(verifier, lambda now: now.passed_s is not None)
        verifier.scans_more()
    assert recorded(database_url) == []


def test_a_process_that_just_began_does_not_record_that_all_is_well(database_url: str) -> None:
    """A process records a good result only after it has run for a while, and a finding at once."""
    fill(database_url, 5)
    with verifying(database_url, VerificationConfig(rest_s=0.05, rests=0, settle_s=3600)) as verifier:
        first = until(verifier, lambda now: now.passed_s is not None).passed_s
        until(verifier, lambda now: now.passed_s != first)
        assert recorded(database_url) == []
        verifier._started_s -= 3600
        on_record(database_url, 1)


@pytest.mark.parametrize(
    ("took_s", "rest_s"), [(0, 60), (3, 60), (200, 3_800), (2_000, 38_000), (20_000, 86_400), (10**6, 86_400)]
)
def test_scans_of_many_events_are_rare(took_s: float, rest_s: float) -> None:
    """A scan takes a twentieth of the time, and the next one begins after a minute at least and a day at most."""
    assert VerificationConfig().rest_after(took_s) == rest_s


@pytest.mark.tampers
def test_new_events_are_verified_while_scans_rest(database_url: str) -> None:
    """A forged event at the end is found long before the next scan."""
    fill(database_url, 5)
    with verifying(database_url, VerificationConfig(rate=1_000_000, rest_s=3600, settle_s=0)) as verifier:
        until(verifier, lambda now: now.passed_s is not None)
        tamper(database_url, FORGED, "UPDATE head SET position = position + 1")
        until(verifier, lambda now: now.finding is not None)


def test_the_rate_is_bounded(database_url: str) -> None:
    """600 events at 400 a second take a second and a half, less the first piece, and one piece is in work at a time."""
    fill(database_url, 600)
    started_s = monotonic()
    with verifying(database_url, VerificationConfig(rate=400)) as verifier:
        half = until(verifier, lambda now: now.position)
        assert half.position <= 40
        until(verifier, lambda now: now.passed_s is not None)
    assert monotonic() - started_s > 1.2


@pytest.mark.tampers
@pytest.mark.parametrize(
    ("statements", "finding", "position"),
    [
        (["UPDATE events SET body = replace(body, '1000.00', '9000.00') WHERE position = 300"], "edited", 300),
        (["DELETE FROM events WHERE position = 300"], "deleted", 300),
        (["DELETE FROM events WHERE position > 690"], "truncated", 691),
        (["UPDATE sealed_fields SET salts = '{}' WHERE position = 5"], "commitment-mismatch", 5),
        (["UPDATE stream_clients SET client_id = 'x' WHERE stream = 'request-5'"], "client-mismatch", 5),
        (["INSERT INTO sealed_fields VALUES (9999, '{}', '{}')"], "stray-sealed", 9999),
        (["UPDATE tiles SET hashes = repeat('x', 8192)::bytea WHERE number = 1"], "proof-mismatch", 257),
        (["UPDATE tiles SET hashes = overlay(hashes PLACING sha256('') FROM 3201)"], "proof-mismatch", 101),
        (["DELETE FROM tiles WHERE number = 1"], "proof-mismatch", 257),
        (["UPDATE partial_tiles SET hashes = substring(hashes FROM 1 FOR 32) || sha256('x')"], "proof-mismatch", 1),
        (["DELETE FROM partial_tiles"], "proof-mismatch", 1),
        (["UPDATE checkpoints SET note = 'x'"], "damaged", 0),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_is_wrong_is_recorded_once(
    database_url: str,
    key: SigningKey,
    tmp_path: Path,
    statements: list[str],
    finding: str,
    position: int,
) -> None:
    """By its name and place, one event however often it is seen; and it stays in the status."""
    fill(database_url, 700)
    sign(database_url, key, tmp_path / "last")
    tamper(database_url, *statements)
    with verifying(
        database_url, VerificationConfig(rate=1_000_000, rest_s=0.05, rests=0, settle_s=0, keys=(key.verifier,))
    ) as verifier:
        status = until(verifier, lambda now: now.finding)
        assert (status.finding, status.first_bad_position) == (finding, position)
        assert status.position < max(position, 1)
        bad = on_record(database_url, 1)
        verifier.scans_more()
        assert verifier.status.finding == finding
        assert recorded(database_url) == bad
    assert [(body["data"]["finding"], body["data"]["first_bad_position"]) for body in bad] == [(finding, position)]


@pytest.mark.tampers
def test_a_changed_head_is_recorded_and_then_what_it_does_to_the_chain(database_url: str) -> None:
    """The record of a changed head is itself appended to that head, so the next scan finds the break in the chain."""
    fill(database_url, 20)
    tamper(database_url, "UPDATE head SET hash = sha256('x')")
    with verifying(database_url) as verifier:
        on_record(database_url, 2)
        verifier.scans_more()
        assert (verifier.status.finding, verifier.status.first_bad_position) == ("edited", 20)
    findings = [(body["data"]["finding"], body["data"]["first_bad_position"]) for body in recorded(database_url)]
    assert findings == [("head-mismatch", 20), ("edited", 20)]


@pytest.mark.tampers
def test_a_rewrite_behind_its_back_is_seen_without_a_checkpoint(database_url: str) -> None:
    """A suffix made to fit passes as a chain; the thread has seen another one, and does not forget it."""
    fill(database_url, 20)
    with verifying(database_url) as verifier:
        until(verifier, lambda now: now.passed_s is not None)
        on_record(database_url, 1)
        until(verifier, lambda now: now.position >= 21)
        tamper(
            database_url,
            "UPDATE events SET body = replace(body, '1000.00', '9000.00') WHERE position = 20",
            *(REHASH.format(at=at) for at in (20, 21)),
            "UPDATE head SET hash = (SELECT hash FROM events WHERE position = 21)",
        )
        with connect(database_url, "verifier") as conn:
            assert verify_chain(conn).ok
        status = until(verifier, lambda now: now.finding)
        assert status.finding == "forked"
        on_record(database_url, 3)
        verifier.scans_more()
        assert verifier.status.finding == "forked"
    findings = [
        (body["data"].get("finding"), body["data"].get("first_bad_position")) for body in recorded(database_url)
    ]
    # The tail of the last scan compares only the last event; the next scan cannot confirm any of them.
    assert findings == [(None, None), ("forked", 21), ("forked", 1)]


@pytest.mark.tampers
def test_each_change_of_the_result_is_recorded(database_url: str) -> None:
    """A failure, the first good round after it, and the same failure again on one day; a restart adds nothing."""
    fill(database_url, 20)
    tamper(database_url, EDIT)
    settings = VerificationConfig(rate=1_000_000, rest_s=0.05, rests=0, settle_s=3600)
    with verifying(database_url, settings) as verifier:
        on_record(database_url, 1)
        tamper(database_url, REPAIR)
        until(verifier, lambda now: now.passed_s is not None and now.finding is None)
        on_record(database_url, 2)
        tamper(database_url, EDIT)
        on_record(database_url, 3)
    with verifying(database_url, settings) as verifier:
        until(verifier, lambda now: now.finding == "edited")
        verifier.scans_more()
    assert results(database_url) == ["bad", "good", "bad"]


def test_rounds_in_any_pieces_are_the_same(database_url: str, key: SigningKey, tmp_path: Path) -> None:
    """Piece by piece of any size, a round comes to the root of all its events, and meets each known root on the way."""
    fill(database_url, 600)
    sign(database_url, key, tmp_path / "last")
    with connect(database_url, "verifier") as conn:
        root = through(conn, Scan([key.verifier]), 1)
        for most in (255, 256, 257, 10_000):
            assert through(conn, Scan([key.verifier], Root(600, root, "before")), most) == root
        with pytest.raises(ChainBroken, match="forked at position 1: before has another root for the first"):
            through(conn, Scan((), Root(599, root, "before")), 500)
        with pytest.raises(ChainBroken, match="rolled-back at position 601"):
            Scan((), Root(601, root, "before")).take(conn, 500)
        with pytest.raises(ChainBroken, match="bad-signature"):
            Scan([SigningKey.generate(key.verifier.name).verifier]).take(conn, 500)
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_signer_that_is_ahead_is_no_fault(
    database_url: str, key: SigningKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles are stored before the checkpoint over them: the edge of the newest one is a beginning of what is there."""
    fill(database_url, 600)
    sign(database_url, key, tmp_path / "last")
    fill(database_url, 300)
    with monkeypatch.context() as patch:
        patch.setattr(Signer, "_publish", lambda *_: None)
        sign(database_url, key, tmp_path / "last")
    with connect(database_url, "verifier") as conn:
        assert conn.execute("SELECT octet_length(hashes) FROM partial_tiles WHERE level = 1").fetchall() == [(96,)]
        one = Scan([key.verifier])
        assert (one.take(conn, 10_000), one.checkpoint_size) == (900, 600)


def through(conn: Connection, one: Scan, most: int) -> bytes:
    """The root that a round of 600 events comes to."""
    while one.take(conn, most):
        pass
    one.end(conn)
    assert (one.size, one.checkpoint_size) == (600, 600)
    return one.root

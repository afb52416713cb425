"""Where streams end is recorded once a day by the process that signs; the tree can be built again from the events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import orjson
import pytest

from ledger.background import running
from ledger.proof.bundle.heads import client_key, stream_key
from ledger.proof.format.canonical import canonical
from ledger.tlog.heads.record import STREAM, _entries, newest_heads, record_heads
from ledger.tlog.heads.recorder import HeadsRecorder
from ledger.tlog.heads.tree import build
from schema.migrate import migrate
from tests.ledger.cases import ask
from tests.ledger.tlog.logs import fill
from tests.support import connect, eventually, scratch_database

DAY_S = 86_400.0


@pytest.fixture
def url(server_url: str) -> Iterator[str]:
    """A ledger with six requests of three clients, and 30 events of another stream."""
    with scratch_database(server_url) as found:
        with connect(found) as conn:
            migrate(conn)
        ask(found, 3)
        fill(found, 30)
        ask(found, 3)
        yield found


def recorded(url: str) -> list[int]:
    """The positions of the records."""
    with connect(url) as conn:
        return [row[0] for row in conn.execute("SELECT position FROM events WHERE stream = %s ORDER BY 1", [STREAM])]


def test_the_tree_is_that_of_the_events(url: str) -> None:
    """Each stream with its last version, each client with all its streams: as counted in the plainest way."""
    with connect(url, "verifier") as conn, connect(url, "writer") as writer:
        position = record_heads(conn, writer, None, None)
        # Later events, of old and new streams, change nothing about what was recorded.
        ask(url, 3)
        fill(url, 5)
        record = newest_heads(conn)
        assert record is not None
        assert (record.event.position, record.as_of, position) == (55, 54, 55)
        with connect(url) as owner:
            heads = owner.execute("SELECT stream, max(version) FROM events WHERE position <= 54 GROUP BY 1").fetchall()
        value = {
            stream_key("s"): [["s", 30]],
            client_key("client-1"): [["request-1", 4], ["request-4", 4]],
            client_key("client-2"): [["request-2", 4], ["request-5", 4]],
            client_key("client-3"): [["request-3", 4], ["request-6", 4]],
        }
        value |= {stream_key(stream): [[stream, version]] for stream, version in heads}
        entries = sorted((key, orjson.dumps(heads)) for key, heads in value.items())
        assert record.blinding is not None
        assert build(entries, record.blinding).root == record.root
        tree = record.tree(conn, client_key("client-2"))
        assert tree is not None
        assert tree.value == b'[["request-2",4],["request-5",4]]'


def test_odd_names_have_canonical_values(url: str) -> None:
    """Whatever a stream is called, the value that the database makes is canonical JSON, in order of bytes."""
    names = ['quote"', "back\\slash", "tab\t", "bell\a", "new\nline", "del\x7f", "z", "Z"]
    names += ["é", "\U0001f600", "\uff5e", "\u2028"]
    with connect(url) as owner:
        owner.execute("ALTER TABLE events DISABLE TRIGGER USER")
        for name in names:
            owner.execute(
                "INSERT INTO events SELECT (SELECT max(position) + 1 FROM events), gen_random_uuid(), %s, 1, type,"
                " recorded_at, body, prev_hash, hash FROM events WHERE position = 1",
                [name],
            )
            owner.execute("INSERT INTO stream_clients VALUES (%s, 'client-odd', 1)", [name])
    with connect(url, "verifier") as conn:
        values = dict(_entries(conn, 1000))
    for name in names:
        assert values[stream_key(name)] == canonical([[name, 1]])
    ordered = sorted(names, key=lambda name: name.encode())
    assert values[client_key("client-odd")] == canonical([[name, 1] for name in ordered])


def test_an_empty_place_is_no_client(url: str) -> None:
    """A client without streams has no leaf."""
    with connect(url, "verifier") as conn, connect(url, "writer") as writer:
        record_heads(conn, writer, None, None)
        record = newest_heads(conn)
        assert record is not None
        tree = record.tree(conn, client_key("client-9"))
        assert tree is not None
        assert tree.value is None


@contextmanager
def recorder(url: str, day: float) -> Iterator[HeadsRecorder]:
    """A recorder whose clock is so many days ahead."""
    now_s = datetime.now(UTC).timestamp()
    made = HeadsRecorder(url, settle_s=0, look_s=0.02, clock=lambda: now_s + day * DAY_S)
    with running(made, 10):
        yield made


def test_it_is_recorded_once_a_day(url: str) -> None:
    """The first day one; on the same day no other; on the next day one if anything else was recorded."""
    with recorder(url, 0) as worker:
        eventually("it is recorded", lambda: len(recorded(url)) == 1)
        fill(url, 1)
        eventually("it has looked", lambda: worker.status.state == "running")
    assert len(recorded(url)) == 1
    with recorder(url, 1) as worker:
        eventually("it is recorded", lambda: len(recorded(url)) == 2)
        # The clock of the recorder is a day ahead of that of the database, so that the next look is a day later, too:
        # but nothing else was recorded.
        eventually("it has looked", lambda: worker.status.state == "running")
    assert len(recorded(url)) == 2


def test_two_recorders_record_once(url: str) -> None:
    """Both look at once; the stream's version lets one of them record, and the other one sees it."""
    with recorder(url, 0) as one, recorder(url, 0) as other:
        eventually("both have looked", lambda: one.status.state == other.status.state == "running")
    assert len(recorded(url)) == 1


def test_an_empty_ledger_records_nothing(server_url: str) -> None:
    """Without events there are no streams."""
    with scratch_database(server_url) as url:
        with connect(url) as conn:
            migrate(conn)
        with recorder(url, 0) as worker:
            eventually("it has looked", lambda: worker.status.state == "running")
        assert recorded(url) == []

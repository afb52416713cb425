"""Attacks on a real ledger, by a superuser with the triggers out of the way: each one named and located."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ledger.database import Connection
from ledger.proof.findings import Verdict
from ledger.proof.format.hashes import genesis_hash
from ledger.verify.database import verify_chain
from ledger.verify.ledger_verifier import BY_INDEX, SESSION, SLICE, between
from ledger.verify.report import ChainReport
from schema.events import RecommendationRecorded
from tests.support import append, connect, failed, new, requested

PAIRS = 6
LENGTH = 2 * PAIRS
OPENED = 2 * PAIRS + 4

TOOLS, *ATTACKS = (Path(__file__).parent / "attacks.sql").read_text("utf-8").split("\n--: ")[1:]

TABLES = ("events", "sealed_fields", "stream_clients", "stream_numbers", "head")


def fill(conn: Connection) -> None:
    """Appends twelve events: six requests, each with its answer or failure."""
    for number in range(1, PAIRS + 1):
        append(conn, new("request-", requested(f"client-{number}", notes=f'Zürich\n"quoted"\\ {number} \U0001f600')))
        answer = RecommendationRecorded(recommendation={"equity": "0.6", "return": 0.045}, model_name="m")
        append(conn, new(f"request-{number}", answer if number % 3 else failed()))


@contextmanager
def superuser(url: str) -> Iterator[Connection]:
    """A connection that may do anything, with no trigger in its way."""
    with connect(url) as conn:
        for table in TABLES:
            conn.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER ALL").format(sql.Identifier(table)))
        yield conn


def check(url: str) -> ChainReport:
    """Return the report, made with the rights of the verifier's role alone."""
    with connect(url, "verifier") as conn:
        return verify_chain(conn)


def found(report: ChainReport) -> list[tuple[str, int]]:
    """Kind and position of each finding."""
    return [(one.kind.value, one.position) for one in report.findings]


@pytest.mark.tampers
@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.partition(":")[0] for attack in ATTACKS])
def test_an_attack_is_named_and_located(attack: str, database_url: str) -> None:
    """Each attack yields exactly one finding, of the right kind, at the first bad position."""
    title, _, statements = attack.partition("\n")
    kind, position = title.partition(": ")[2].split(" at ")
    with superuser(database_url) as conn:
        fill(conn)
        conn.execute(TOOLS.partition("\n")[2].encode())
        conn.execute(statements.encode())
    report = check(database_url)
    assert found(report) == [(kind, int(position))]
    assert not report.ok


def test_a_genuine_ledger_is_good(database_url: str) -> None:
    """All that append() records passes, and the report counts it."""
    with connect(database_url) as conn:
        fill(conn)
        head = conn.execute("SELECT origin, position, hash FROM head").fetchone()
    report = check(database_url)
    assert report.ok
    assert (report.events, report.opened, report.erased) == (LENGTH, OPENED, 0)
    assert (report.first_position, report.last_position) == (1, LENGTH)
    assert (report.origin, report.last_position, report.head_hash) == head


def test_an_empty_ledger_is_good(database_url: str) -> None:
    """No events and a head at 0 with the genesis hash is a whole ledger."""
    report = check(database_url)
    assert report.ok
    assert (report.events, report.first_position, report.last_position, report.head_hash) == (0, 0, 0, None)


@pytest.mark.tampers
def test_the_head_of_an_empty_ledger_is_checked(database_url: str) -> None:
    """A head at 0 must have the genesis hash of its origin."""
    with superuser(database_url) as conn:
        conn.execute("UPDATE head SET hash = %s", [genesis_hash("another")])
    assert found(check(database_url)) == [("genesis-mismatch", 0)]


@pytest.mark.tampers
def test_deleted_values_without_an_event_are_a_finding(database_url: str) -> None:
    """Each position is named, and none counts as erased: no event says who erased a person's values."""
    with superuser(database_url) as conn:
        fill(conn)
        conn.execute("DELETE FROM sealed_fields WHERE position IN (5, 7)")
        conn.execute("DELETE FROM stream_clients WHERE stream IN ('request-3', 'request-4')")
    report = check(database_url)
    assert found(report) == [("sealed-missing", 5), ("sealed-missing", 7)]
    assert "(client_id, notes)" in report.findings[0].message
    assert (report.opened, report.erased) == (OPENED - 4, 0)


@pytest.mark.tampers
def test_all_sealed_values_deleted_is_not_an_erasure(database_url: str) -> None:
    """The first positions are named, and further ones counted."""
    with superuser(database_url) as conn:
        fill(conn)
        conn.execute("DELETE FROM sealed_fields")
    report = check(database_url)
    sealed = [position for position in range(1, LENGTH + 1) if position % 2 or position % 6]
    assert found(report) == [("sealed-missing", position) for position in sealed]


@pytest.mark.tampers
def test_a_client_added_to_a_stream_without_one_is_named(database_url: str) -> None:
    """One row in the index of clients would spoil a client's bundle; a stream that is nobody's has none."""
    with superuser(database_url) as conn:
        fill(conn)
        append(conn, new("agent-x", failed()), new("agent-x", failed(detail="sealed, and not about a client")))
        assert check(database_url).ok
        conn.execute("INSERT INTO stream_clients VALUES ('agent-x', 'client-1', 1)")
    assert found(check(database_url)) == [("client-mismatch", LENGTH + 1)]


@pytest.mark.tampers
def test_a_cut_tail_with_the_head_set_back_leaves_traces(database_url: str) -> None:
    """The chain alone cannot show it, but sealed values and numbers of streams that were left behind do."""
    with superuser(database_url) as conn:
        fill(conn)
        conn.execute("DELETE FROM events WHERE position > 8")
        conn.execute(
            "UPDATE head SET (position, hash, recorded_at) = (SELECT position, hash, recorded_at FROM events"
            " WHERE position = 8)"
        )
    strays = [("stray-sealed", position) for position in (9, 10, 11)]
    clients = [("client-mismatch", 0)] * 2
    assert found(check(database_url)) == [("number-mismatch", 0), *clients, *strays]


@pytest.mark.tampers
def test_a_rewritten_suffix_passes_and_the_report_says_so(database_url: str) -> None:
    """A chain that was rewritten from position 11 on, with hashes and head, passes: only a checkpoint shows it."""
    with superuser(database_url) as conn:
        fill(conn)
        conn.execute("UPDATE events SET body = replace(body, '1000.00', '9000.00') WHERE position = 11")
        for position in (11, 12):
            conn.execute(
                "UPDATE events e SET prev_hash = p.hash, hash = event_hash(p.hash, e.position, e.version,"
                " (extract(epoch FROM e.recorded_at) * 1000000)::bigint, e.body)"
                " FROM events p WHERE e.position = %s AND p.position = e.position - 1",
                [position],
            )
        conn.execute("UPDATE head SET hash = (SELECT hash FROM events WHERE position = 12)")
    report = check(database_url)
    assert (report.ok, report.verdict) == (True, Verdict.NOT_SIGNED)
    assert "not detectable without a trusted checkpoint" in report.not_proven[0]


@pytest.mark.tampers
def test_several_attacks_are_several_findings(database_url: str) -> None:
    """Independent changes are each found, in order of position."""
    with superuser(database_url) as conn:
        fill(conn)
        conn.execute("UPDATE events SET body = '{}' WHERE position = 2")
        conn.execute("DELETE FROM events WHERE position = 5")
        conn.execute("UPDATE events SET type = 'x' WHERE position = 8")
        conn.execute("UPDATE sealed_fields SET fields = '{}' WHERE position = 9")
        conn.execute("UPDATE head SET recorded_at = 'epoch'")
    assert found(check(database_url)) == [
        ("edited", 2),
        ("deleted", 5),
        ("column-mismatch", 8),
        ("sealed-missing", 9),
        ("head-mismatch", 12),
    ]


def test_progress_reaches_the_total(database_url: str) -> None:
    """Progress is told from 0 to all events, never beyond the total that goes with it."""
    told: list[tuple[int, int]] = []
    with connect(database_url) as conn:
        fill(conn)
        verify_chain(conn, on_progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, LENGTH)
    assert told[-1] == (LENGTH, LENGTH)


def test_a_report_is_of_one_moment(database_url: str) -> None:
    """Events that are appended while it runs are not in the report, and do not make it fail."""
    with connect(database_url) as writer, connect(database_url, "verifier") as conn:
        fill(writer)

        def append_more(_done: int, _total: int) -> None:
            append(writer, new("request-", requested()))

        report = verify_chain(conn, on_progress=append_more)
        assert report.ok
        assert report.last_position == LENGTH
        assert verify_chain(conn).last_position > LENGTH


def test_it_changes_nothing_and_leaves_the_connection_usable(database_url: str) -> None:
    """Its transaction is read only, its settings end with it, and the connection serves on."""
    with connect(database_url) as conn:
        fill(conn)
        before = conn.execute("SELECT current_setting('enable_seqscan')").fetchone()
        verify_chain(conn)
        assert conn.execute("SELECT current_setting('enable_seqscan')").fetchone() == before
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        append(conn, new("other", failed()))


def test_without_rights_it_cannot_run(database_url: str) -> None:
    """A login that may not read the ledger gets PostgreSQL's error, and no report."""
    with connect(database_url, "writer") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        verify_chain(conn)


def test_without_a_ledger_it_cannot_run(server_url: str) -> None:
    """A database without a ledger is an error, not an empty ledger."""
    with psycopg.connect(server_url, autocommit=True) as conn, pytest.raises(psycopg.errors.UndefinedTable):
        verify_chain(conn)


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the table of each scan of a plan, and the number of rows that it gave."""
    if "Relation Name" in plan:
        yield plan["Relation Name"], int(plan["Actual Rows"] * plan["Actual Loops"])
    for below in plan.get("Plans", []):
        yield from scans(below)


def test_a_slice_reads_no_sealed_value_of_another(database_url: str) -> None:
    """A merge join starts at the first row of both tables, so a slice limits both: its cost does not grow with the
    events before it."""
    with connect(database_url) as conn:
        fill(conn)
    with connect(database_url, "verifier") as conn, conn.transaction():
        conn.execute(SESSION, BY_INDEX)
        conn.execute("SET LOCAL enable_nestloop = off")
        copy = SLICE.format(**between(LENGTH - 2, LENGTH)).as_string(conn)
        query = copy.split("COPY (")[1].rsplit(") TO STDOUT")[0]
        [(found,)] = conn.execute(sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) {}").format(sql.SQL(query))).fetchall()
    read = [rows for table, rows in scans(found[0]["Plan"]) if table.startswith("sealed_fields")]
    assert 1 <= sum(read) <= 2, found

"""append() with the writer's role: it cannot use up numbers, and takes only what the catalogue has."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from ledger.database import Connection, conninfo
from ledger.errors import NumberTooHigh, UnknownEventType
from ledger.store import events as store
from ledger.store.envelope import Line, encode
from schema.events import CATALOGUE
from schema.migrate import migrate
from tests.support import append, append_text, connect, edited, line, new, refused

BEYOND = ["999999999999999999", "9007199254740992", "9007199254740991", "1000000000000000000", "9" * 40]


@pytest.mark.parametrize("number", BEYOND)
def test_no_name_exhausts_the_numbers(writer: Connection, nothing_recorded: None, number: str) -> None:
    """In a category with numbers, a number beyond the next one is refused with AL008, and numbering goes on."""
    with writer.transaction(force_rollback=True):
        append(writer, new("gap-"), new("gap-2"))
        with refused("AL008") as refusal, writer.transaction():
            append(writer, new("innocent"), new(f"gap-{number}"))
        assert refusal.detail["stream"] == "gap-"
        with refused("AL008"), writer.transaction():
            append(writer, new("gap-4"))
        assert [row.stream for row in append(writer, new("gap-"))] == ["gap-3"]


def test_numbers_begin_after_any_name(writer: Connection) -> None:
    """Before a category has numbers, its names have numbers up to 2^52, so that at least as many are left."""
    for number in (2**52 + 1, 2**53 - 1, 10**17):
        with refused("AL008"):
            append(writer, new(f"early-{number}"))
    append(writer, new(f"early-{2**52}"), new(f"early-{'9' * 32}"))
    assert [row.stream for row in append(writer, new("early-"))] == [f"early-{2**52 + 1}"]


@pytest.mark.parametrize("category", ["verification-2026-11-", "access-2026-", "7-", "-", "a--"])
def test_only_categories_that_end_with_a_letter_get_numbers(
    writer: Connection, nothing_recorded: None, category: str
) -> None:
    """Otherwise the streams of the days of a month would have numbers beyond the next one."""
    with refused("AL008"):
        append(writer, new(category))


def test_an_existing_stream_takes_more_events(writer: Connection) -> None:
    """The bound is for new streams: one that exists takes events whatever its number is."""
    append(writer, new("exists-50"))
    append(writer, new("exists-"))
    assert append(writer, new("exists-50"), new("exists-51"))[0].version == 2


@pytest.mark.parametrize(
    "change",
    [
        {"type": "made.up"},
        {"type": ""},
        {"type": "portfolio.requested/1"},
        {"schema": 2},
        {"schema": "1"},
        {"schema": 1.5},
        {"schema": None},
        {"schema": "1/1"},
        {"type": "a' OR true --"},
    ],
    ids=str,
)
def test_the_catalogue_has_what_is_appended(writer: Connection, nothing_recorded: None, change: dict[str, Any]) -> None:
    """A type or version that is not in event_types is refused with AL009, beside one that is too."""
    text = edited(new("x"), body=lambda body: {**body, **change})
    with refused("AL009") as refusal:
        append_text(writer, line(new("innocent")) + "\n" + text)
    assert refusal.detail["line"] == 2


def test_all_types_of_this_version_are_registered(superuser: Connection) -> None:
    """event_types has the catalogue; nobody can take a type out of it."""
    found = superuser.execute("SELECT type, version FROM event_types ORDER BY type").fetchall()
    assert found == sorted((event.type, event.schema_version) for event in CATALOGUE.values())
    for statement in ("DELETE FROM event_types", "UPDATE event_types SET version = 7", "TRUNCATE event_types"):
        with refused("AL006"):
            superuser.execute(statement.encode())


def test_types_of_another_version_stay(database_url: str) -> None:
    """Migrating adds the types that are missing and leaves those of a newer version, which goes on appending."""
    with connect(database_url) as conn:
        conn.execute("ALTER TABLE event_types DISABLE TRIGGER ALL")
        conn.execute("DELETE FROM event_types WHERE type = 'request.failed'")
        conn.execute("INSERT INTO event_types (type, version) VALUES ('request.failed', 2)")
        with refused("AL009"):
            append(conn, new("old"))
        migrate(conn)
        append(conn, new("old"))
        text = edited(new("new"), body=lambda body: {**body, "schema": 2})
        conn.execute("SET search_path = ledger")
        assert append_text(conn, text)[0].stream == "new"


def test_a_recorded_type_is_still_a_replay(database_url: str) -> None:
    """An event of a type that the catalogue lacks, sent again, gets its receipt: it is recorded."""
    with connect(database_url) as conn:
        event = new("first")
        (row,) = append(conn, event)
        conn.execute("ALTER TABLE event_types DISABLE TRIGGER ALL")
        conn.execute("DELETE FROM event_types")
        assert [(again.position, again.replayed) for again in append(conn, event)] == [(row.position, True)]


def test_these_refusals_have_names(database_url: str) -> None:
    """store.append() raises NumberTooHigh and UnknownEventType."""

    async def attempt(*lines: Line) -> None:
        async with await psycopg.AsyncConnection.connect(conninfo(database_url, "writer"), autocommit=True) as conn:
            await store.append(conn, lines)

    asyncio.run(attempt(encode(new("request-"))))
    with pytest.raises(NumberTooHigh, match="beyond the next one"):
        asyncio.run(attempt(encode(new("request-999999999999999999"))))
    with pytest.raises(UnknownEventType, match=r"no event type made\.up/1"):
        asyncio.run(attempt(replace(encode(new("request-")), type="made.up")))

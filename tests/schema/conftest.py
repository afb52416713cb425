"""A ledger that the tests of one module share, and connections to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import (
    Connection,
    connect,
    fresh_ledger,
)


@pytest.fixture(scope="module")
def ledger(server_url: str) -> Iterator[str]:
    """A ledger that the tests of this module share; each uses streams of its own."""
    with fresh_ledger(server_url) as url:
        yield url


@pytest.fixture(scope="module")
def writer(ledger: str) -> Iterator[Connection]:
    """A connection that may append and do nothing else."""
    with connect(ledger, "writer") as conn:
        yield conn


@pytest.fixture(scope="module")
def superuser(ledger: str) -> Iterator[Connection]:
    """A connection that may look everywhere."""
    with connect(ledger) as conn:
        yield conn


@pytest.fixture
def nothing_recorded(superuser: Connection) -> Iterator[None]:
    """Asserts that the test leaves every table of record as it was."""
    tables = ("events", "sealed_fields", "stream_clients", "stream_numbers", "head")
    rows = {table: f"SELECT * FROM {table} ORDER BY 1" for table in tables}  # noqa: S608 - the names stand above
    before = {table: superuser.execute(query).fetchall() for table, query in rows.items()}
    yield
    assert {table: superuser.execute(query).fetchall() for table, query in rows.items()} == before

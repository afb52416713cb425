"""A ledger that the tests of one module share, connections to it, and places to migrate."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from ledger.database import Connection
from schema.database_roles import ROLES, role_name
from tests.support import connect, fresh_ledger, scratch_database


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


@pytest.fixture
def conn(server_url: str) -> Iterator[Connection]:
    """A superuser's connection to a database with nothing in it."""
    with scratch_database(server_url) as url, psycopg.connect(url, autocommit=True) as found:
        yield found


@pytest.fixture
def other_schema(server_url: str) -> Iterator[str]:
    """A name for a ledger whose roles do not exist yet; they are gone again afterwards."""
    name = f"ledger_{uuid.uuid4().hex[:8]}"
    yield name
    with psycopg.connect(server_url, autocommit=True) as admin:
        for role in ("owner", *ROLES):
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role_name(name, role))))

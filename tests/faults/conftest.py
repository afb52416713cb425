"""Fixtures for the tests of faults."""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from api.postgres.embedded import EmbeddedPostgres
from projections.rebuild import rebuild_outdated
from schema.migrate import migrate
from tests.api.conftest import fresh_api
from tests.conftest import copy_database

__all__ = ["fresh_api"]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of one module's own, which its tests may stop and change, with a ledger to copy."""
    folder = Path(tempfile.mkdtemp(prefix="advice-ledger-"))
    try:
        with EmbeddedPostgres(folder, settings={"fsync": "off"}) as found:
            with psycopg.connect(found.url, autocommit=True) as conn:
                migrate(conn)
            rebuild_outdated(found.url)
            yield found
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def ledger(server: EmbeddedPostgres) -> str:
    """A fresh ledger on that server, which goes with it."""
    server.ensure_running()
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(make_conninfo(server.url, dbname="postgres"), autocommit=True) as conn:
        copy_database(conn, "advice_ledger", name)
    return make_conninfo(server.url, dbname=name)

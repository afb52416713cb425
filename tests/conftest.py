"""Fixtures for every test: a server, a database with our schema for one test alone, and the hypothesis profile.

Tests that use a server get the marker `database` by themselves. By default each process starts an embedded PostgreSQL.
ADVICE_LEDGER_TEST_SERVERS names servers to use instead: URLs, separated by spaces, one for each process. Their logins
must be able to create databases and roles. Two processes cannot share a server: tests make and drop roles, and roles
belong to a server, not to a database.
"""

import contextlib
import os
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import hypothesis
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

# A test server's data is thrown away, so it need not survive a power cut.
FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off"}

# `-n auto` on a machine with many cores: each process collects all tests and starts a server, which costs more than it
# brings from here on.
MOST_PROCESSES = 8

# Each test has a database of its own. A copy of 9 MB in 300 files takes ten times as long on a disk as in memory.
IN_MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 * 1024**3

hypothesis.settings.register_profile("house", deadline=None, max_examples=50, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("house")


class Template(NamedTuple):
    """A database with our schema, to copy; and its search_path, which a copy does not inherit."""

    name: str
    search_path: str


def given_servers() -> list[str]:
    """Return the URLs in ADVICE_LEDGER_TEST_SERVERS."""
    return os.environ.get("ADVICE_LEDGER_TEST_SERVERS", "").split()


def pytest_xdist_auto_num_workers() -> int:
    """Return the number of processes for `-n auto`: one for each given server, or one more than cores.

    A process with its server keeps two thirds of a core busy: the rest is waiting for threads and other processes.
    """
    return len(given_servers()) or min((os.cpu_count() or 1) + 1, MOST_PROCESSES)


@pytest.hookimpl(tryfirst=True)  # before pytest applies -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that uses a server, also through other fixtures. Files with the longest limits of time come first.

    A long test that starts when the other processes have nothing left to do keeps them idle.
    """
    limits: Counter[Path] = Counter()
    for item in items:
        if "server_url" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.database)
        if limit := item.get_closest_marker("timeout"):
            limits[item.path] = max(limits[item.path], limit.args[0])
    items.sort(key=lambda item: limits[item.path], reverse=True)


@pytest.fixture(scope="session", autouse=True)
def state_home() -> Iterator[None]:
    """The user's folder for state is one of the tests."""
    with tempfile.TemporaryDirectory(prefix="advice-ledger-state-") as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", name)
        yield


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The URL of a server that this process has for itself."""
    given = given_servers()
    if given:
        process = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        yield given[int(process) % len(given)]
        return
    from api.postgres.embedded import EmbeddedPostgres

    # Not in pytest's folder: as root, each new run of pytest shuts the server's account out of that again.
    data_dir = Path(tempfile.mkdtemp(prefix="advice-ledger-", dir=roomy()))
    try:
        with EmbeddedPostgres(data_dir, settings=FAST_SETTINGS) as server:
            yield server.url
    finally:
        shutil.rmtree(data_dir)


def roomy() -> Path | None:
    """Return a folder in memory with room for servers, or None for the usual place of temporary folders."""
    return IN_MEMORY if IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ROOM_BYTES else None


@pytest.fixture(scope="session")
def template_database(server_url: str) -> Iterator[Template]:
    """A migrated, empty ledger, made once. PostgreSQL copies a database only while no session is connected to it."""
    from projections.rebuild import rebuild_outdated
    from schema.migrate import migrate

    name = f"test_{uuid.uuid4().hex}_template"
    with psycopg.connect(server_url, autocommit=True) as admin:
        _create(admin, name)
        try:
            with psycopg.connect(make_conninfo(server_url, dbname=name), autocommit=True) as conn:
                migrate(conn)
            rebuild_outdated(make_conninfo(server_url, dbname=name))
            with psycopg.connect(make_conninfo(server_url, dbname=name)) as conn:
                row = conn.execute("SELECT current_setting('search_path')").fetchone()
            assert row is not None
            yield Template(name, row[0])
        finally:
            _drop(admin, name)


@pytest.fixture
def database_url(server_url: str, template_database: Template, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh, empty, migrated ledger for one test, checked by `verify_after` when the test is over."""
    with ledger_copy(server_url, template_database, verify=request.node.get_closest_marker("tampers") is None) as url:
        yield url


@contextlib.contextmanager
def ledger_copy(server_url: str, template: Template, *, verify: bool = True) -> Iterator[str]:
    """Yield the URL of a fresh copy of the template, verify its chain after the block, and drop it."""
    name = f"test_{uuid.uuid4().hex}"
    url = make_conninfo(server_url, dbname=name)
    with psycopg.connect(server_url, autocommit=True) as admin:
        _create(admin, name, template)
        try:
            yield url
            if verify:
                verify_after(url)
        finally:
            _drop(admin, name)


def verify_after(url: str) -> None:
    """Assert that the chain of a ledger holds."""
    from ledger.verify.database import verify_chain

    with psycopg.connect(url, autocommit=True) as conn:
        report = verify_chain(conn)
    assert report.ok, [str(finding) for finding in report.findings]


def _create(admin: psycopg.Connection, name: str, template: Template | None = None) -> None:
    if template is None:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return
    copy_database(admin, template.name, name)
    admin.execute("SELECT set_config('search_path', %s, false)", (template.search_path,))
    admin.execute(sql.SQL("ALTER DATABASE {} SET search_path FROM CURRENT").format(sql.Identifier(name)))


def copy_database(admin: psycopg.Connection, template: str, name: str) -> None:
    """Copy a ledger's database, with the rights on it, which PostgreSQL does not copy.

    File by file, not through the write-ahead log, if the server is new enough to choose.
    """
    from schema.database_roles import grant_on_database

    how = sql.SQL("STRATEGY file_copy" if admin.info.server_version >= 150_000 else "")
    copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} {}")
    admin.execute(copy.format(sql.Identifier(name), sql.Identifier(template), how))
    grant_on_database(admin, name, "ledger")


def _drop(admin: psycopg.Connection, name: str) -> None:
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

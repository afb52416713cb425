"""Facilities of every row: sizes, a server, databases on it, and a child process to measure in."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ParamSpec, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from rich.console import Console

from ledger.database import Connection, conninfo
from schema.migrate import migrate
from tests.bench.cpu import Meter, server_pid

P = ParamSpec("P")
R = TypeVar("R")

# Started anew, not forked: a child must not share the parent's connections, and is measured from a clean start.
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Options:
    """Sizes. Everything that a row does is bounded by one of them."""

    events: int = 100_000
    seconds: float = 5.0
    rounds: int = 5


@dataclass(frozen=True)
class Bench:
    """A server to measure on, and where to report progress."""

    url: str
    options: Options
    console: Console

    @cached_property
    def server(self) -> int | None:
        """The process id of the server; None if it is on another machine."""
        return server_pid(self.url)

    def meter(self) -> Meter:
        """Return a meter of the processor time of client and server together."""
        return Meter(self.server)

    def say(self, message: str) -> None:
        """Print progress."""
        self.console.print(f"[dim]{message}[/]", highlight=False)

    @contextlib.contextmanager
    def database(self) -> Iterator[str]:
        """Yield the URL of an empty database, and drop it."""
        name = f"bench_{uuid.uuid4().hex}"
        with psycopg.connect(self.url, autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {} ENCODING 'UTF8' TEMPLATE template0").format(sql.Identifier(name)))
        try:
            yield make_conninfo(self.url, dbname=name)
        finally:
            with psycopg.connect(self.url, autocommit=True) as admin:
                admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextlib.contextmanager
    def ledger(self) -> Iterator[str]:
        """The URL of an empty ledger, dropped afterwards. Its roles stay: other ledgers of the server may use them."""
        with self.database() as url:
            with psycopg.connect(url, autocommit=True) as conn:
                migrate(conn)
                conn.execute("INSERT INTO ledger.event_types (type, version) VALUES ('bench.noted', 1)")
            yield url


@contextlib.contextmanager
def server() -> Iterator[str]:
    """ADVICE_LEDGER_DATABASE_URL, or an embedded server of our own with the settings that the product gives it."""
    given = os.environ.get("ADVICE_LEDGER_DATABASE_URL")
    if given:
        yield given
        return
    from api.postgres.embedded import EmbeddedPostgres

    data_dir = Path(tempfile.mkdtemp(prefix="advice-ledger-bench-"))
    try:
        with EmbeddedPostgres(data_dir) as embedded:
            yield embedded.url
    finally:
        shutil.rmtree(data_dir)


def connect(url: str, role: str | None = None, **settings: str) -> Connection:
    """A connection in autocommit mode that acts as the ledger's role; None keeps the login's rights."""
    return psycopg.connect(conninfo(url, role, **settings), autocommit=True)


def in_child(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a module's function in a process of its own; return or raise what it returns or raises."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        return pool.submit(function, *args, **kwargs).result()

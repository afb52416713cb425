"""The servers of rows 3 and 8, each one uvicorn worker in a process of its own: ours, a plain one, and an echo."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic, sleep
from typing import Any, Literal

import psycopg
import psycopg_pool
import uvicorn
from fastapi import FastAPI
from psycopg.types.json import Jsonb

from api.app import create_app
from api.http.server import server_config
from api.services import Parts
from schema.events import PortfolioRequested
from tests.bench.bench import SPAWN

HOST = "127.0.0.1"
START_S = 60.0
STOP_S = 20.0
# The best for the plain endpoint on two cores, of 2, 4, 8, 16 and 32; the pool's own default, 4, is slower by a third.
PLAIN_POOL = 16

PLAIN_TABLE = (
    "CREATE TABLE requests (id bigserial PRIMARY KEY, client_id text NOT NULL, risk_profile text NOT NULL,"
    " amount_usd numeric(14, 2) NOT NULL, horizon_years integer, objectives jsonb, constraints jsonb, notes text,"
    " created_at timestamptz NOT NULL DEFAULT now())"
)
PLAIN_INSERT = (
    "INSERT INTO requests (client_id, risk_profile, amount_usd, horizon_years, objectives, constraints, notes)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id"
)

Kind = Literal["ledger", "answering", "plain", "echo"]


def ledger_app(url: str) -> FastAPI:
    """The product as it is served, projector included; without the worker, which would write on its own account."""
    return create_app(Parts(database_url=url, projector="process", run_worker=False))


def answering_app(url: str) -> FastAPI:
    """The product as it is served, with the worker and its built-in agent."""
    return create_app(Parts(database_url=url, projector="process"))


def plain_app(url: str) -> FastAPI:
    """What one would write without a ledger: validate, insert a row, commit."""
    pool: psycopg_pool.AsyncConnectionPool[psycopg.AsyncConnection[tuple[int]]] = psycopg_pool.AsyncConnectionPool(
        url, min_size=PLAIN_POOL, max_size=PLAIN_POOL, open=False
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with psycopg_pool_opened(pool):
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/portfolio/recommendations", status_code=202)
    async def request_recommendation(asked: PortfolioRequested) -> dict[str, int | str]:
        found = asked.model_dump(mode="json")
        given = [
            asked.client_id,
            asked.risk_profile,
            asked.amount_usd,
            asked.horizon_years,
            None if asked.objectives is None else Jsonb(found["objectives"]),
            None if asked.constraints is None else Jsonb(found["constraints"]),
            asked.notes,
        ]
        async with pool.connection() as conn:
            row = await (await conn.execute(PLAIN_INSERT, given)).fetchone()
        assert row is not None
        return {"request_id": row[0], "status": "queued"}

    return app


@asynccontextmanager
async def psycopg_pool_opened(
    pool: psycopg_pool.AsyncConnectionPool[psycopg.AsyncConnection[tuple[int]]],
) -> AsyncIterator[None]:
    """The pool, filled, while the block runs."""
    await pool.open(wait=True)
    try:
        yield
    finally:
        await pool.close()


def echo_app() -> FastAPI:
    """The limit of the framework: validate and give back."""
    app = FastAPI()

    @app.post("/portfolio/recommendations", status_code=202)
    async def request_recommendation(asked: PortfolioRequested) -> PortfolioRequested:
        return asked

    return app


def serve(kind: Kind, url: str, port: int) -> None:
    """Runs one server until SIGTERM, with the loop and parser that `advice-ledger serve` gets."""
    apps: dict[Kind, Callable[[], FastAPI]] = {
        "ledger": lambda: ledger_app(url),
        "answering": lambda: answering_app(url),
        "plain": lambda: plain_app(url),
        "echo": echo_app,
    }
    app = apps[kind]()
    options: dict[str, Any] = {"host": HOST, "port": port, "loop": "uvloop", "access_log": False}
    options["log_level"] = "warning"
    if kind in {"ledger", "answering"}:
        config = server_config(app, **options)
    else:
        config = uvicorn.Config(app, http="httptools", **options)
    uvicorn.Server(config).run()


@contextmanager
def running(kind: Kind, url: str) -> Iterator[tuple[int, int]]:
    """(port, process id) of a server of this kind on the database `url`, while the block runs."""
    port = _free_port()
    process = SPAWN.Process(target=serve, args=(kind, url, port), name=f"bench-{kind}")
    process.start()
    try:
        _wait_for(port)
        assert process.pid is not None
        yield port, process.pid
    finally:
        process.terminate()
        process.join(STOP_S)
        if process.is_alive():
            process.kill()
            process.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = monotonic() + START_S
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            if monotonic() > deadline:
                raise
            sleep(0.05)
        else:
            return

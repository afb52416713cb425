"""Serve a witness over HTTP: two routes, in an application of its own or in the ledger's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.witness.store import StoreError
from api.witness.witness import Reply, Witness
from ledger.tlog.add_checkpoint import MAX_REQUEST_BYTES

log = logging.getLogger(__name__)

Argument = TypeVar("Argument")
Result = TypeVar("Result")

# The longest time for the whole body to arrive, in seconds.
BODY_S = 10.0
# Callers are strangers, so their common use of resources is limited: current requests, of up to half a megabyte, and
# threads, which are not those of the ledger's own routes. Further requests get 503.
MOST_REQUESTS = 64
MOST_THREADS = 4


class TooLarge(Exception):
    """The body is larger than any valid request."""


def make_app(witness: Witness, *, most_requests: int = MOST_REQUESTS) -> Starlette:
    """Make an application that is a witness and nothing else."""
    app = Starlette()
    install_witness(app, witness, most_requests=most_requests)

    async def healthz(_request: Request) -> Response:
        try:
            await run_in_threadpool(witness.store.seen)
        except StoreError as error:
            log.error("%s", error)  # noqa: TRY400 - the message says it all
            return PlainTextResponse("the state cannot be read\n", 503)
        return PlainTextResponse("ok\n")

    app.router.routes.append(Route("/healthz", healthz, methods=["GET"]))
    return app


def install_witness(app: Starlette, witness: Witness, *, most_requests: int = MOST_REQUESTS) -> None:
    """Add POST /add-checkpoint and GET /<origin hash>/checkpoint. Callers are not authenticated.

    At add-checkpoint, the signature on the checkpoint counts. Everybody may read a cosigned checkpoint.
    """
    endpoints = Endpoints(witness, most_requests)

    def add(method: str, path: str, answer: Callable[[Request], Awaitable[Reply]]) -> None:
        async def endpoint(request: Request) -> Response:
            request.scope["route"] = route  # as FastAPI sets it; the metrics count responses by route
            return _response(await endpoints.bounded(answer, request))

        route = Route(path, endpoint, methods=[method])
        app.router.routes.append(route)

    add("POST", "/add-checkpoint", endpoints.add_checkpoint)
    add("GET", "/{origin_hash}/checkpoint", endpoints.latest_checkpoint)


class Endpoints:
    """The answers of both routes. They share the limits on requests and threads."""

    def __init__(self, witness: Witness, most_requests: int) -> None:
        self._witness = witness
        self._most_requests = most_requests
        self._in_hand = 0
        self._threads = ThreadPoolExecutor(MOST_THREADS, "witness")

    async def bounded(self, answer: Callable[[Request], Awaitable[Reply]], request: Request) -> Reply:
        """Return the answer, or 503 if too many requests are current."""
        if self._in_hand >= self._most_requests:
            return Reply(503, "too many requests at once; ask again\n")
        self._in_hand += 1
        try:
            return await answer(request)
        except StoreError as error:
            log.error("%s", error)  # noqa: TRY400 - the message says it all
            return Reply(503, "the witness cannot use its state; ask again\n")
        finally:
            self._in_hand -= 1

    async def add_checkpoint(self, request: Request) -> Reply:
        """Read the body and answer it. Raises StoreError."""
        try:
            async with asyncio.timeout(BODY_S):
                body = await _body(request)
        except TooLarge:
            return Reply(413, f"a request has at most {MAX_REQUEST_BYTES} bytes\n")
        except TimeoutError:
            return Reply(408, "the body did not arrive in time\n")
        except ClientDisconnect:
            return Reply(400, "the connection was closed before the body was complete\n")
        return await self._in_thread(self._witness.add_checkpoint, body)

    async def latest_checkpoint(self, request: Request) -> Reply:
        """Answer with the checkpoint of the log whose origin has this hash. Raises StoreError."""
        origin_hash = request.path_params["origin_hash"]
        note = await self._in_thread(self._witness.latest_checkpoint, origin_hash)
        if note is None:
            return Reply(404, "no checkpoint of a log with this origin was cosigned here\n")
        return Reply(200, note.decode())

    async def _in_thread(self, work: Callable[[Argument], Result], argument: Argument) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, argument)


def _response(reply: Reply) -> Response:
    headers = {"Content-Type": reply.kind, "Cache-Control": "no-store"}
    if reply.status == 503:
        headers["Retry-After"] = "1"
    return Response(reply.body, reply.status, headers)


async def _body(request: Request) -> bytes:
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_REQUEST_BYTES:
            raise TooLarge
    return bytes(received)

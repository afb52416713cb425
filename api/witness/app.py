"""The HTTP interface of a witness: one route, in an application of its own or in the ledger's."""

from __future__ import annotations

import asyncio
import copy
import logging

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.witness.store import StoreError
from api.witness.witness import Reply, Witness
from ledger.tlog.add_checkpoint import MAX_REQUEST_BYTES

log = logging.getLogger(__name__)

# How long the whole body may take to arrive, in seconds.
BODY_S = 10.0


# More requests at once get 503.
MAX_REQUESTS = 200
# A request to a witness has a short head.
MAX_HEAD_BYTES = 16_384
# How long an idle connection stays open after an answer, in seconds. Callers that lose it open another.
KEEP_ALIVE_S = 5


class TooLarge(Exception):
    """The body is larger than any request."""


def make_app(witness: Witness) -> Starlette:
    """Make an application that is a witness and nothing else."""
    app = Starlette()
    install_witness(app, witness)

    async def healthz(_request: Request) -> Response:
        try:
            await run_in_threadpool(witness.store.seen)
        except StoreError as error:
            log.error("%s", error)  # noqa: TRY400 - the message says it all
            return PlainTextResponse("the state cannot be read\n", 503)
        return PlainTextResponse("ok\n")

    app.router.routes.append(Route("/healthz", healthz, methods=["GET"]))
    return app


def server_config(app: Starlette, *, grace_s: int, max_requests: int = MAX_REQUESTS) -> uvicorn.Config:
    """Configure uvicorn for a witness. Requests in hand are finished within `grace_s` after it was told to stop.

    uvicorn does not limit how long a connection may take to send a head; the proxy in front does.
    """
    return uvicorn.Config(
        app,
        http="h11",  # httptools takes a head of any length
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        ws="none",
        log_config=copy.deepcopy(uvicorn.config.LOGGING_CONFIG),
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=max_requests,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s,
    )


def install_witness(app: Starlette, witness: Witness) -> None:
    """Add POST /add-checkpoint. Callers are not authenticated: the signature on the checkpoint counts."""

    async def add_checkpoint(request: Request) -> Response:
        request.scope["route"] = route  # as FastAPI sets it; the metrics count responses by route
        reply = await _reply(witness, request)
        headers = {"Content-Type": reply.kind, "Cache-Control": "no-store"}
        if reply.status == 503:
            headers["Retry-After"] = "1"
        return Response(reply.body, reply.status, headers)

    route = Route("/add-checkpoint", add_checkpoint, methods=["POST"])
    app.router.routes.append(route)


async def _reply(witness: Witness, request: Request) -> Reply:
    try:
        async with asyncio.timeout(BODY_S):
            body = await _body(request)
        return await run_in_threadpool(witness.add_checkpoint, body)
    except TooLarge:
        return Reply(413, f"a request has at most {MAX_REQUEST_BYTES} bytes\n")
    except TimeoutError:
        return Reply(408, "the body did not arrive in time\n")
    except ClientDisconnect:
        return Reply(400, "the connection was closed before the body was complete\n")
    except StoreError as error:
        log.error("%s", error)  # noqa: TRY400 - the message says it all
        return Reply(503, "the witness cannot use its state; ask again\n")


async def _body(request: Request) -> bytes:
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > MAX_REQUEST_BYTES:
            raise TooLarge
    return bytes(received)

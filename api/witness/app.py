"""A witness over HTTP: one route, in an application of its own or in the ledger's."""

from __future__ import annotations

import asyncio
import logging

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from api.witness.state import StateError
from api.witness.witness import Reply, Witness
from ledger.proof.tlog.cosignature import MAX_REQUEST_BYTES

log = logging.getLogger(__name__)

# For the whole body to arrive.
BODY_S = 10.0


class TooLarge(Exception):
    """The body is larger than any request."""


def make_app(witness: Witness) -> Starlette:
    """An application that is a witness and nothing else."""
    app = Starlette()
    install_witness(app, witness)

    async def healthz(_request: Request) -> Response:
        try:
            await run_in_threadpool(witness.state.seen)
        except StateError as error:
            log.error("%s", error)  # noqa: TRY400 - the message says it all
            return PlainTextResponse("the state cannot be read\n", 503)
        return PlainTextResponse("ok\n")

    app.router.routes.append(Route("/healthz", healthz, methods=["GET"]))
    return app


def install_witness(app: Starlette, witness: Witness) -> None:
    """Adds POST /add-checkpoint. Who calls is nobody's business: what counts is who signed."""

    async def add_checkpoint(request: Request) -> Response:
        request.scope["route"] = route  # as FastAPI does, for whoever counts responses by route
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
    except StateError as error:
        log.error("%s", error)  # noqa: TRY400 - the message says it all
        return Reply(503, "the witness cannot use its state; ask again\n")


async def _body(request: Request) -> bytes:
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > MAX_REQUEST_BYTES:
            raise TooLarge
    return bytes(found)

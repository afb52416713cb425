"""The log, for those who check it: checkpoint and tiles as C2SP tlog-tiles has them, and proofs made of these.

Checkpoint and tiles are for everybody: hashes say nothing of a client, and the programs that read them send no token.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api.http.auth.permissions import MayRead
from api.http.parameters import PathId, RowId, as_json
from api.http.problems import ApiError, FieldError, documented, problem
from api.services import InjectedServices, Services
from ledger.database import AsyncConnection
from ledger.errors import NotFound
from ledger.proof.tlog.merkle import leaf_hash
from ledger.proof.tlog.tiles import EntryBundle, Tile, TileError, TileFlaw, parse_path
from ledger.proof.tlog.tlog_proof import TlogProof
from ledger.service.ledger import Ledger
from ledger.tlog.serve import tiles

T = TypeVar("T")

router = APIRouter(tags=["log"])
logger = logging.getLogger(__name__)

NOTE_TYPE = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"
# A checkpoint is replaced within seconds; a tile of some width never changes, and neither does its bundle.
BRIEFLY = {"Cache-Control": "public, max-age=1"}
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
# What is not covered yet will be: no cache may go on saying that it is not there.
NOT_KEPT = {"Cache-Control": "no-store"}

TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
BINARY_SCHEMA = {"type": "string", "format": "binary"}
BYTES: dict[int | str, dict[str, Any]] = {200: {"content": {BINARY: {"schema": BINARY_SCHEMA}}}}


class Inclusion(BaseModel):
    """That the log has an event: from its leaf hash, the proof leads to the root in the checkpoint. Hashes are hex."""

    position: int
    size: int
    hash: str
    leaf: str
    proof: list[str]
    checkpoint: str


class Consistency(BaseModel):
    """That the tree of size `to` begins with that of size `from`; `checkpoint` is null where none is over just `to`."""

    model_config = ConfigDict(populate_by_name=True)

    from_size: int = Field(alias="from")
    to_size: int = Field(alias="to")
    proof: list[str]
    checkpoint: str | None


class Sizes(BaseModel):
    """Which two trees; without `to`, the newest checkpoint's is the second."""

    model_config = ConfigDict(extra="forbid")

    old: RowId = Field(alias="from", description="Size of the older tree.")
    new: RowId | None = Field(None, alias="to", description="Size of the newer tree.")


@router.get("/checkpoint", response_class=Response, responses={**TEXT, **documented(404, 503)})
async def checkpoint(services: InjectedServices) -> Response:
    """The newest checkpoint, a signed note; where witnesses are asked, the newest that enough of them cosigned."""

    async def work(conn: AsyncConnection) -> tiles.PublishedCheckpoint:
        size = await services.published.size(conn)
        return _signed(await tiles.published(conn, size) or await tiles.published(conn))

    try:
        found = await services.ledger.readers.run(work, within_s=services.ledger.patience_s)
    except NotFound as error:
        return _not_yet(error)
    return Response(found.note, headers=BRIEFLY, media_type=NOTE_TYPE)


@router.get("/tile/{path:path}", response_class=Response, responses={**BYTES, **documented(404, 503)})
async def tile(services: InjectedServices, request: Request, path: str) -> Response:
    """A tile of hashes (`<L>/<N>[.p/<W>]`) or a bundle of entries (`entries/<N>[.p/<W>]`)."""
    asked = f"tile/{path}"
    if not request.scope["path"].endswith(asked):  # the router drops a newline at the end
        asked = ""
    try:
        wanted = parse_path(asked)
    except TileError:
        return problem("not-found", "no tile has this path", headers=NOT_KEPT)

    async def work(conn: AsyncConnection) -> bytes:
        _check_covered(tiles.needs(wanted), await tiles.covered(conn))
        if isinstance(wanted, EntryBundle):
            return await tiles.entries(conn, wanted)
        return await _tile(conn, wanted)

    try:
        content = await _read(services.ledger, work)
    except NotFound as error:
        return _not_yet(error)
    return Response(content, headers=FOREVER, media_type=BINARY)


@router.get(
    "/proofs/inclusion/{position}.tlog-proof",
    response_class=Response,
    responses={**BYTES, **documented(401, 403, 404, 422, 503)},
)
async def tlog_proof(services: InjectedServices, caller: MayRead, position: PathId) -> Response:
    """The proof that the log has an event, as a file that is verified offline. Any role."""
    published, proof = await _inclusion(services, position)
    return _file(position, published, proof)


@router.get("/proofs/inclusion/{position}", response_model=Inclusion, responses=documented(401, 403, 404, 422, 503))
async def inclusion(services: InjectedServices, request: Request, caller: MayRead, position: PathId) -> Response:
    """The proof that the log has an event; with `Accept: application/octet-stream` as a tlog-proof file. Any role."""
    published, proof = await _inclusion(services, position)
    if request.headers.get("accept", "").partition(";")[0].strip().lower() == BINARY:
        return _file(position, published, proof)
    assert published.event is not None
    found = {
        "position": position,
        "size": published.size,
        "hash": published.event.hex(),
        "leaf": leaf_hash(published.event).hex(),
        "proof": [each.hex() for each in proof],
        "checkpoint": published.note,
    }
    return as_json(found)


@router.get("/proofs/consistency", response_model=Consistency, responses=documented(401, 403, 404, 422, 503))
async def consistency(services: InjectedServices, caller: MayRead, asked: Annotated[Sizes, Query()]) -> Response:
    """The proof that one tree begins with another. Any role."""

    async def work(conn: AsyncConnection) -> dict[str, object]:
        size = await tiles.covered(conn)
        new = asked.new or await services.published.size(conn) or size
        _check_covered(max(asked.old, new), size)
        if asked.old > new:
            reason = "Input should be at most to"
            raise ApiError("invalid", "not valid: from", errors=[FieldError(field="from", reason=reason)])
        proof = await tiles.consistency(conn, asked.old, new)
        of_new = await tiles.published(conn, new)
        note = None if of_new is None else of_new.note
        return {"from": asked.old, "to": new, "proof": [each.hex() for each in proof], "checkpoint": note}

    return as_json(await _read(services.ledger, work))


async def _read(ledger: Ledger, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """What `work` reads. Where the stored log does not hold, nothing is served of it, and a person has to look."""
    try:
        return await ledger.readers.run(work)
    except TileError as error:
        logger.error("the stored log does not hold: %s (docs/operate/continuous-verification.md)", error)  # noqa: TRY400 - it says it all
        detail = "what is stored of the log is not what was signed, so nothing can be proven with it; ask the operator"
        raise ApiError("log-damaged", detail, headers=NOT_KEPT) from error


def _signed(found: tiles.PublishedCheckpoint | None) -> tiles.PublishedCheckpoint:
    if found is None:
        raise NotFound("not-covered", "no checkpoint was signed yet", size=0)
    return found


async def _tile(conn: AsyncConnection, wanted: Tile) -> bytes:
    [content] = await tiles.contents(conn, [wanted])
    if len(content) != 32 * wanted.width:
        raise TileError(TileFlaw.CONTENT, f"{wanted.path} has {len(content)} bytes in the database")
    return content


async def _inclusion(services: Services, position: int) -> tuple[tiles.PublishedCheckpoint, list[bytes]]:

    async def work(conn: AsyncConnection) -> tuple[tiles.PublishedCheckpoint, list[bytes]]:
        size = await services.published.size(conn)
        # What the checkpoint that is shown does not cover yet may be covered by the newest.
        published, proof = await services.proof_cache.inclusion(
            conn, position, size if size and size >= position else None
        )
        found = _signed(published)
        _check_covered(position, found.size)
        return found, proof

    return await _read(services.ledger, work)


def _file(position: int, published: tiles.PublishedCheckpoint, proof: list[bytes]) -> Response:
    content = TlogProof(position - 1, tuple(proof), published.note.encode()).encode()
    name = {"Content-Disposition": f'attachment; filename="{position}.tlog-proof"', **NOT_KEPT}
    return Response(content, headers=name, media_type=BINARY)


def _check_covered(needed: int, size: int) -> None:
    if needed > size:
        raise NotFound("not-covered", f"the newest checkpoint covers the events up to position {size}", size=size)


def _not_yet(error: NotFound) -> Response:
    return problem(error.code, str(error), headers=NOT_KEPT, facts=error.facts)

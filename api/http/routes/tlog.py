"""The transparency log: checkpoint and tiles in the format C2SP tlog-tiles, and proofs made from them.

Checkpoint and tiles need no token: hashes tell nothing about a client, and the programs that read them send none.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from api.http.auth.permissions import MayReadProofs
from api.http.parameters import NoQuery, PathId, RowId, as_json
from api.http.problems import ApiError, FieldError, documented, problem
from api.services import InjectedServices, Services
from ledger.database import AsyncConnection
from ledger.errors import NotFound
from ledger.proof.errors import EvidenceError
from ledger.proof.tlog.merkle import leaf_hash
from ledger.proof.tlog.tiles import EntryBundle, Tile, TileError, TileFlaw
from ledger.proof.tlog.tlog_proof import TlogProof
from ledger.service.ledger import Ledger
from ledger.tlog.serve import tiles
from ledger.tlog.serve.cose_receipt import MEDIA_TYPE, make_receipt
from ledger.tlog.serve.proof_file import encode_proof
from ledger.tlog.serve.tile_path import parse_path

T = TypeVar("T")

router = APIRouter(tags=["log"])
log = logging.getLogger(__name__)

NOTE_TYPE = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"
# A checkpoint is replaced within seconds. A tile of a given width never changes, and neither does its entry bundle.
BRIEFLY = {"Cache-Control": "public, max-age=1"}
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
# An event that is not covered yet soon will be: no cache may keep the answer that it is not.
NOT_KEPT = {"Cache-Control": "no-store"}

TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
BINARY_SCHEMA = {"type": "string", "format": "binary"}
BYTES: dict[int | str, dict[str, Any]] = {200: {"content": {BINARY: {"schema": BINARY_SCHEMA}}}}
RECEIPT: dict[int | str, dict[str, Any]] = {200: {"content": {MEDIA_TYPE: {"schema": BINARY_SCHEMA}}}}


class Inclusion(BaseModel):
    """A proof that the transparency log contains an event: from its leaf hash to the root in the checkpoint.

    Hashes are hex.
    """

    position: int
    size: int
    hash: str
    leaf: str
    proof: list[str]
    checkpoint: str


class Consistency(BaseModel):
    """A proof that the tree of size `to` begins with the tree of size `from`.

    `checkpoint` is null if no checkpoint has exactly the size `to`.
    """

    model_config = ConfigDict(populate_by_name=True)

    from_size: int = Field(alias="from")
    to_size: int = Field(alias="to")
    proof: list[str]
    checkpoint: str | None


class Sizes(BaseModel):
    """The sizes of two trees. Without `to`, the second is the tree of the newest checkpoint."""

    model_config = ConfigDict(extra="forbid")

    old: RowId = Field(alias="from", description="Size of the older tree.")
    new: RowId | None = Field(None, alias="to", description="Size of the newer tree.")


@router.get("/checkpoint", response_class=Response, responses={**TEXT, **documented(404, 422, 503)})
async def checkpoint(services: InjectedServices, _query: NoQuery) -> Response:
    """Read the newest checkpoint, a signed note. With witnesses, it is the newest with a quorum of cosignatures."""

    async def work(conn: AsyncConnection) -> tiles.PublishedCheckpoint:
        size = await services.checkpoint_selector.size(conn)
        checkpoints = services.checkpoints
        return _signed(await checkpoints.published(conn, size) or await checkpoints.published(conn))

    try:
        published = await services.ledger.readers.run(work, within_s=services.ledger.patience_s)
    except NotFound as error:
        return _not_covered(error)
    services.tile_cache.published(published.size)
    return Response(published.note, headers=BRIEFLY, media_type=NOTE_TYPE)


@router.get("/tile/{path:path}", response_class=Response, responses={**BYTES, **documented(404, 422, 503)})
async def tile(services: InjectedServices, request: Request, path: str, _query: NoQuery) -> Response:
    """Read a tile of hashes (`<L>/<N>[.p/<W>]`) or an entry bundle (`entries/<N>[.p/<W>]`)."""
    tile_path = f"tile/{path}"
    if not request.scope["path"].endswith(tile_path):  # the router drops a newline at the end
        tile_path = ""
    try:
        address = parse_path(tile_path)
    except TileError:
        return problem("not-found", "no tile has this path", headers=NOT_KEPT)

    async def work(conn: AsyncConnection) -> bytes:
        _check_covered(tiles.needs(address), await services.checkpoints.covered(conn))
        if isinstance(address, EntryBundle):
            return await tiles.entries(conn, address)
        return await _tile(conn, address)

    content = services.tile_cache.get(address)
    if content is None:
        try:
            content = await _read(services.ledger, work)
        except NotFound as error:
            return _not_covered(error)
        services.tile_cache.keep(address, content)
    return Response(content, headers=FOREVER, media_type=BINARY)


@router.get(
    "/proofs/inclusion/{position}.tlog-proof",
    response_class=Response,
    responses={**BYTES, **documented(401, 403, 404, 422, 503)},
)
async def tlog_proof(services: InjectedServices, caller: MayReadProofs, position: PathId, _query: NoQuery) -> Response:
    """Read the proof that the transparency log contains an event, as a file to verify offline. Any role."""
    published, proof = await inclusion_of(services, position)
    return _file(position, published, proof)


@router.get(
    "/proofs/inclusion/{position}.receipt",
    response_class=Response,
    responses={**RECEIPT, **documented(401, 403, 404, 422, 503)},
)
async def receipt(services: InjectedServices, caller: MayReadProofs, position: PathId, _query: NoQuery) -> Response:
    """Read the proof that the transparency log contains an event, as a COSE receipt (RFC 9942). Any role."""
    if services.signer is None:
        raise ApiError("unavailable", "this server has no signing key: ask the one that signs", headers=NOT_KEPT)
    published, proof = await inclusion_of(services, position)
    try:
        content = make_receipt(services.signer.key, published.note.encode(), position - 1, proof)
    except EvidenceError as error:
        detail = "this server's key did not sign the checkpoint that covers the event: ask again once it signed one"
        raise ApiError("unavailable", detail, headers=NOT_KEPT) from error
    name = {"Content-Disposition": f'attachment; filename="{position}.receipt"', **NOT_KEPT}
    return Response(content, headers=name, media_type=MEDIA_TYPE)


@router.get("/proofs/inclusion/{position}", response_model=Inclusion, responses=documented(401, 403, 404, 422, 503))
async def inclusion(
    services: InjectedServices, request: Request, caller: MayReadProofs, position: PathId, _query: NoQuery
) -> Response:
    """Read the proof that the transparency log contains an event.

    With `Accept: application/octet-stream` it is a tlog-proof file. Any role.
    """
    published, proof = await inclusion_of(services, position)
    if request.headers.get("accept", "").partition(";")[0].strip().lower() == BINARY:
        return _file(position, published, proof)
    assert published.event is not None
    content = {
        "position": position,
        "size": published.size,
        "hash": published.event.hex(),
        "leaf": leaf_hash(published.event).hex(),
        "proof": [each.hex() for each in proof],
        "checkpoint": published.note,
    }
    return as_json(content)


@router.get("/proofs/consistency", response_model=Consistency, responses=documented(401, 403, 404, 422, 503))
async def consistency(services: InjectedServices, caller: MayReadProofs, sizes: Annotated[Sizes, Query()]) -> Response:
    """Read the proof that one tree begins with another. Any role."""

    async def work(conn: AsyncConnection) -> dict[str, object]:
        size = await services.checkpoints.covered(conn)
        new = sizes.new or await services.checkpoint_selector.size(conn) or size
        _check_covered(max(sizes.old, new), size)
        if sizes.old > new:
            reason = "Input should be at most to"
            raise ApiError("invalid", "not valid: from", errors=[FieldError(field="from", reason=reason)])
        proof = await tiles.consistency(conn, sizes.old, new)
        of_new = await services.checkpoints.published(conn, new)
        note = None if of_new is None or of_new.size != new else of_new.note
        return {"from": sizes.old, "to": new, "proof": [each.hex() for each in proof], "checkpoint": note}

    return as_json(await _read(services.ledger, work))


async def _read(ledger: Ledger, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Run `work`. Raises ApiError if the stored tiles do not lead to the signed root; then a person must look."""
    try:
        return await ledger.readers.run(work)
    except TileError as error:
        log.error(  # noqa: TRY400 - a traceback would say nothing more
            "the stored tiles are damaged: %s (docs/operate/continuous-verification.md)", error
        )
        detail = "the stored tiles do not lead to the signed root, so nothing can be proven; ask the operator"
        raise ApiError("transparency-log-damaged", detail, headers=NOT_KEPT) from error


def _signed(published: tiles.PublishedCheckpoint | None) -> tiles.PublishedCheckpoint:
    if published is None:
        raise NotFound("not-covered", "no checkpoint was signed yet", size=0)
    return published


async def _tile(conn: AsyncConnection, address: Tile) -> bytes:
    [content] = await tiles.contents(conn, [address])
    if len(content) != 32 * address.width:
        raise TileError(TileFlaw.CONTENT, f"{address.path} has {len(content)} bytes in the database")
    return content


async def inclusion_of(services: Services, position: int) -> tuple[tiles.PublishedCheckpoint, list[bytes]]:
    """Return a checkpoint that covers an event, and the proof. Raises NotFound `not-covered`, ApiError."""
    checkpoints = services.checkpoints

    async def work(conn: AsyncConnection) -> tuple[tiles.PublishedCheckpoint, list[bytes]]:
        size = await services.checkpoint_selector.size(conn)
        # An event that the published checkpoint does not cover yet may be covered by the newest.
        size = size if size and size >= position else None
        try:
            published, proof = await services.proof_cache.inclusion(conn, position, size)
        except TileError:
            if await checkpoints.is_newest_signed(conn):
                raise
            published, proof = None, []
        if published is None or not await checkpoints.is_signed(conn, published.size, published.note):
            published, proof = await services.proof_cache.inclusion(conn, position, await checkpoints.covered(conn))
        published = checkpoints.readable(_signed(published))
        _check_covered(position, published.size)
        return published, proof

    return await _read(services.ledger, work)


def _file(position: int, published: tiles.PublishedCheckpoint, proof: list[bytes]) -> Response:
    content = encode_proof(TlogProof(position - 1, tuple(proof), published.note.encode()))
    name = {"Content-Disposition": f'attachment; filename="{position}.tlog-proof"', **NOT_KEPT}
    return Response(content, headers=name, media_type=BINARY)


def _check_covered(needed: int, size: int) -> None:
    if needed > size:
        raise NotFound("not-covered", f"the newest checkpoint covers the events up to position {size}", size=size)


def _not_covered(error: NotFound) -> Response:
    return problem(error.code, str(error), headers=NOT_KEPT, facts=error.facts)

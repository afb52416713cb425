"""The route with which a subject registers a key of its own, to sign acts with."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayRegisterKey
from api.http.json_route import JsonRoute
from api.http.parameters import RECORDED_HEADERS, recorded
from api.http.problems import ApiError, FieldError, documented
from api.services import InjectedServices
from schema.signing_keys import RegisterKey

router = APIRouter(tags=["signing keys"], route_class=JsonRoute)


class KeyRegistered(BaseModel):
    """The key is registered, with this number among the credentials of the subject."""

    subject: str
    credential: int


@router.post(
    "/me/signing-keys",
    status_code=201,
    response_model=KeyRegistered,
    responses={201: {"headers": RECORDED_HEADERS}, **documented(400, 401, 403, 409, 413, 415, 422, 503)},
)
async def register_signing_key(services: InjectedServices, caller: MayRegisterKey, body: RegisterKey) -> Response:
    """Register a key of yours, which signs its own registration. The key is never good to sign in with. Any role."""
    if body.origins is not None:
        _check_origins(body.origins, body.rp_id or "", services.public_origins)
    receipt, number = await services.ledger.signing_keys.register(caller, caller.id, body)
    return recorded(201, {"subject": caller.id, "credential": number}, receipt, f"/subjects/{caller.id}")


def _check_origins(origins: list[str], rp_id: str, public: tuple[str, ...]) -> None:
    """Check that a passkey is for an address of this ledger: by the settings, as headers can be forged."""
    unknown = [origin for origin in origins if origin not in public]
    if unknown or not all(_is_host_of(origin, rp_id) for origin in origins):
        reason = "not an address of this ledger with this rp_id: see the setting public_origins"
        raise ApiError("invalid", "not valid: origins", errors=[FieldError(field="origins", reason=reason)])


def _is_host_of(origin: str, rp_id: str) -> bool:
    """Return True if rp_id is the host of the origin, or a domain above it."""
    host = origin.partition("://")[2].rpartition(":")[0] or origin.partition("://")[2]
    return host == rp_id or (host.endswith(f".{rp_id}") and not rp_id.rpartition(".")[2].isdigit())

"""The route with which an administrator lets a subject sign in at an OpenID Connect provider."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import MayManageSubjects
from api.http.json_route import JsonRoute
from api.http.parameters import IdempotencyKey, event_id, recorded
from api.http.problems import ApiError, FieldError
from api.http.routes.subject_changes import PROPOSABLE, propose
from api.http.routes.subjects import SubjectName
from api.oidc.fetch import is_safe
from api.services import InjectedServices, Services
from schema.events import CredentialIssued, RegisterIdentity

router = APIRouter(prefix="/subjects", tags=["subjects"], route_class=JsonRoute)


class IdentityRegistered(BaseModel):
    """The subject can sign in at the provider; the identity has this number among its credentials."""

    subject: str
    credential: int


@router.post("/{name}/identities", status_code=201, response_model=IdentityRegistered, responses=PROPOSABLE)
async def register_identity(
    services: InjectedServices,
    caller: MayManageSubjects,
    name: SubjectName,
    body: RegisterIdentity,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Let a subject sign in with an identity at an OpenID Connect provider: one more credential. Role: admin.

    An identity that is a valid credential of a subject is a 409 `identity-registered`. End it as any credential.
    """
    issuer = body.issuer or _issuer(services)
    if not is_safe(issuer):
        reason = "not an address with https, or with http of the machine of the ledger"
        raise ApiError("invalid", "not valid: issuer", errors=[FieldError(field="issuer", reason=reason)])
    key = event_id(caller, idempotency_key)
    if services.ledger.subject_changes.needs_two(caller):
        change = body.model_copy(update={"issuer": issuer})
        return await propose(services, caller, name, CredentialIssued.type, change, key)
    receipt, credential = await services.ledger.subjects.register_identity(
        caller, name, issuer, body.identity, body.expires_at, key, services.callers.check_free
    )
    return recorded(201, {"subject": name, "credential": credential}, receipt, f"/subjects/{name}")


def _issuer(services: Services) -> str:
    """Return the provider that this ledger believes. Raises ApiError if it believes none."""
    if services.identity_provider is None:
        reason = "required: this ledger has no provider in its settings (oidc_issuer)"
        raise ApiError("invalid", "not valid: issuer", errors=[FieldError(field="issuer", reason=reason)])
    return services.identity_provider.config.issuer

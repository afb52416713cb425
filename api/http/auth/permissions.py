"""Check the caller's permission. A permission is a type in a route's signature.

Only the access policy says which roles have it (ledger/domain/access_policy.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from api.callers import Caller, Former
from api.http.auth.acting import ROLE_HEADER, acting, examined
from api.http.auth.sessions import session_of
from api.http.problems import ApiError
from api.services import services_of
from ledger.domain.access_policy import Scope
from ledger.domain.client_scope import ClientScope
from ledger.domain.subject import scope_of
from ledger.service.accesses import Access
from ledger.store.envelope import Actor

# The key of the caller in a request's scope, once it is known.
SCOPE_KEY = "advice_ledger.caller"
# The refusals that are recorded: those of a known subject.
RECORDED = frozenset({"wrong-role", "suspended"})


class Permission(HTTPBearer):
    """A dependency that returns the caller as an Actor if its role may do this; other callers get 401 or 403."""

    def __init__(self, action: str) -> None:
        super().__init__(
            scheme_name="token", description="A token from `advice-ledger credentials issue`.", auto_error=False
        )
        self.action = action

    async def __call__(self, request: Request) -> Actor:  # type: ignore[override]
        """Return the caller. Raises ApiError. With a body it runs twice: before the body is read, and by FastAPI."""
        known: Caller | None = request.scope.get(SCOPE_KEY)
        caller = known if known is not None else await self._caller(request)
        request.scope[SCOPE_KEY] = caller
        wanted = request.headers.getlist(ROLE_HEADER)
        if len(wanted) > 1:
            raise ApiError("choose-role", f"there are several {ROLE_HEADER} headers: send one")
        services = services_of(request.app)
        now = services.callers.now()
        try:
            return acting(caller, self.action, services.access_policy, wanted[0].strip() if wanted else None, now)
        except ApiError as error:
            if error.slug in RECORDED:
                await self._record_refusal(request, caller, error.slug)
            raise

    async def _record_refusal(self, request: Request, caller: Caller | Former, reason: str) -> None:
        """Record the refusal of a caller, once a minute. Raises Unavailable if it cannot be recorded."""
        services = services_of(request.app)
        if not services.read_only:
            role = min(caller.state.roles(services.callers.now()), default="none")
            resource = resource_of(request)
            refused = Access(caller.name, role, "refused", resource, credential=caller.credential, reason=reason)
            await services.ledger.accesses.record(refused)

    async def _caller(self, request: Request) -> Caller:
        services = services_of(request.app)
        given = request.headers.getlist("authorization")
        session = None if given or services.login is None else session_of(request, services.login)
        if session is not None:
            return await self._known(request, await services.callers.find_identity(session.identity))
        if len(given) > 1:
            raise ApiError(
                "several-tokens",
                "there are several Authorization headers: send one, so that it is clear who is calling",
                headers={"WWW-Authenticate": 'Bearer error="invalid_request"'},
            )
        scheme, _, token = "".join(given).partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise ApiError(
                "no-token",
                "send a token: Authorization: Bearer …; make one with `advice-ledger credentials issue`",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return await self._known(request, await services.callers.find(token.strip()))

    async def _known(self, request: Request, caller: Caller | Former | None) -> Caller:
        """Return a caller with a valid credential. Raises ApiError; the refusal of a former holder is recorded."""
        if isinstance(caller, Former):
            await self._record_refusal(request, caller, "unknown-token")
        if not isinstance(caller, Caller):
            raise ApiError(
                "unknown-token",
                "the token is unknown, was revoked or has expired: get another with `advice-ledger credentials issue`;"
                " one of the identity provider is that of no subject, or not for this ledger",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        return caller


@dataclass(frozen=True)
class Reader:
    """The reader, its action (method and route template), and the reach of the permission.

    `examined` are the clients whose sealed values the subject may read as an examiner, also while it acts in another
    role; None if it is not an examiner. `assigned` are the clients that it may read where the policy limits its role
    to assigned ones.
    """

    actor: Actor
    resource: str
    scope: Scope
    examined: ClientScope | None = None
    assigned: ClientScope | None = None


class ReadPermission(Permission):
    """Return the caller and the route as a dependency, for the record of reading."""

    async def __call__(self, request: Request) -> Reader:  # type: ignore[override]
        """Return the reader. Raises ApiError."""
        actor = await super().__call__(request)
        services = services_of(request.app)
        scope = services.access_policy.permissions[self.action][actor.role]
        caller, now = request.scope[SCOPE_KEY], services.callers.now()
        assigned = scope_of(caller.state, caller.name, actor.role, True, now)
        return Reader(actor, resource_of(request), scope, examined(caller, now), assigned)


@dataclass(frozen=True)
class Myself:
    """The caller, and the role that it acts in; None if it has several roles and named none."""

    caller: Caller
    role: str | None


class OwnRights(Permission):
    """Return the caller as a dependency, also if it has several roles and names none."""

    async def __call__(self, request: Request) -> Myself:  # type: ignore[override]
        """Return the caller. Raises ApiError."""
        try:
            role: str | None = (await super().__call__(request)).role
        except ApiError as error:
            if error.slug != "choose-role" or ROLE_HEADER.lower() in request.headers:
                raise
            role = None
        return Myself(request.scope[SCOPE_KEY], role)


def also(request: Request, reader: Reader, action: str) -> Actor:
    """Return the reader as an actor of another action, in the same role. Raises ApiError if it may not do that."""
    services = services_of(request.app)
    caller: Caller = request.scope[SCOPE_KEY]
    return acting(caller, action, services.access_policy, reader.actor.role, services.callers.now())


def resource_of(request: Request) -> str:
    """Return method and route template of a request, without the caller's values."""
    return f"{request.method} {request.scope['route'].path}"


MayRequest = Annotated[Actor, Depends(Permission("request portfolios"))]
MayAnswer = Annotated[Actor, Depends(Permission("answer requests"))]
MayOpen = Annotated[Actor, Depends(Permission("open recommendations"))]
MayDecide = Annotated[Actor, Depends(Permission("decide"))]
MayConfirm = Annotated[Actor, Depends(Permission("confirm decisions"))]
MayCommunicate = Annotated[Actor, Depends(Permission("communicate"))]
MayWithdraw = Annotated[Actor, Depends(Permission("withdraw requests"))]
MayRevoke = Annotated[Actor, Depends(Permission("revoke decisions"))]
MayReview = Annotated[Actor, Depends(Permission("review cases"))]
MayHandleFindings = Annotated[Actor, Depends(Permission("handle findings"))]
MayDraw = Annotated[Actor, Depends(Permission("draw samples"))]
MayReadReviews = Annotated[Reader, Depends(ReadPermission("read reviews"))]
MayRegister = Annotated[Actor, Depends(Permission("register agents"))]
MaySuspend = Annotated[Actor, Depends(Permission("suspend agents"))]
MayResume = Annotated[Actor, Depends(Permission("resume agents"))]
MayRegisterKey = Annotated[Actor, Depends(Permission("register signing keys"))]
MayReadContexts = Annotated[Reader, Depends(ReadPermission("read contexts"))]
MayReadCases = Annotated[Reader, Depends(ReadPermission("read cases"))]
MayReadCalls = Annotated[Reader, Depends(ReadPermission("read model calls"))]
MayReadEvents = Annotated[Reader, Depends(ReadPermission("read events"))]
MayManageSubjects = Annotated[Actor, Depends(Permission("manage subjects"))]
MayReadSubjects = Annotated[Reader, Depends(ReadPermission("read subjects"))]
WhoAmI = Annotated[Myself, Depends(OwnRights("read own rights"))]
MayReadReports = Annotated[Reader, Depends(ReadPermission("read reports"))]
MayReadAgents = Annotated[Reader, Depends(ReadPermission("read agents"))]
MayReadProofs = Annotated[Actor, Depends(Permission("read proofs"))]
MayRegisterClients = Annotated[Actor, Depends(Permission("register clients"))]
MayAssign = Annotated[Actor, Depends(Permission("assign clients"))]
MayMerge = Annotated[Actor, Depends(Permission("merge clients"))]
MayReadClients = Annotated[Reader, Depends(ReadPermission("read clients"))]
MayReadAccesses = Annotated[Reader, Depends(ReadPermission("read who looked"))]
MayDefinePortfolios = Annotated[Actor, Depends(Permission("define portfolios"))]
MayHandleAlerts = Annotated[Actor, Depends(Permission("handle alerts"))]
MayHold = Annotated[Actor, Depends(Permission("hold records"))]
MayErase = Annotated[Actor, Depends(Permission("erase clients"))]
MayRecordPrices = Annotated[Actor, Depends(Permission("record prices"))]
MayAdoptMonitoring = Annotated[Actor, Depends(Permission("adopt monitoring policies"))]
MayRunMonitoring = Annotated[Actor, Depends(Permission("run monitoring"))]
MayReadPortfolios = Annotated[Reader, Depends(ReadPermission("read portfolios"))]
MayReadJobs = Annotated[Reader, Depends(ReadPermission("read jobs"))]
MayCancelJobs = Annotated[Reader, Depends(ReadPermission("cancel jobs"))]
MayExport = Annotated[Actor, Depends(Permission("export"))]
MayReadExports = Annotated[Reader, Depends(ReadPermission("read exports"))]
MayReadMonitoring = Annotated[Reader, Depends(ReadPermission("read monitoring"))]
MayDefineEndpoints = Annotated[Actor, Depends(Permission("define endpoints"))]
MayReadDeliveries = Annotated[Reader, Depends(ReadPermission("read deliveries"))]
MayResendDeliveries = Annotated[Actor, Depends(Permission("resend deliveries"))]

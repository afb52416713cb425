"""Permissions: what each role may do. A permission is a type in a route's signature."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from api.http.auth.tokens import ROLES
from api.http.problems import ApiError
from api.services import services_of
from ledger.store.envelope import Actor

# Where the caller stands in a request's scope, once known.
SCOPE_KEY = "advice_ledger.caller"

# What each role may do. Of second persons the four-eyes policy has the last word (ledger/domain/four_eyes.py).
MAY: dict[str, frozenset[str]] = {
    "request portfolios": frozenset({"advisor"}),
    "answer requests": frozenset({"agent"}),
    "open recommendations": frozenset({"advisor", "compliance"}),
    "decide": frozenset({"advisor"}),
    "confirm decisions": frozenset({"advisor", "compliance"}),
    "communicate": frozenset({"advisor"}),
    "register agents": frozenset({"admin"}),
    "suspend agents": frozenset({"advisor", "compliance", "admin"}),
    "resume agents": frozenset({"compliance", "admin"}),
    "read": frozenset(ROLES),
}


class Permission(HTTPBearer):
    """Lets through callers whose role may do this, as an Actor; others get 401 or 403."""

    def __init__(self, action: str) -> None:
        super().__init__(scheme_name="token", description="From `advice-ledger tokens create`.", auto_error=False)
        self.action = action

    async def __call__(self, request: Request) -> Actor:  # type: ignore[override]
        """The caller. Raises ApiError. May be asked twice of one request: before the body is read, and by FastAPI."""
        known = request.scope.get(SCOPE_KEY)
        actor: Actor = known if known is not None else await self._caller(request)
        if actor.role not in MAY[self.action]:
            needed = " or ".join(sorted(MAY[self.action]))
            raise ApiError("wrong-role", f"to {self.action} takes the role {needed}; this token has {actor.role}")
        request.scope[SCOPE_KEY] = actor
        return actor

    async def _caller(self, request: Request) -> Actor:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise ApiError(
                "no-token",
                "send a token: Authorization: Bearer …; make one with `advice-ledger tokens create`",
                headers={"WWW-Authenticate": "Bearer"},
            )
        actor = await services_of(request.app).callers.find(token.strip())
        if actor is None:
            raise ApiError(
                "unknown-token",
                "the token is unknown or revoked",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        return actor


MayRequest = Annotated[Actor, Depends(Permission("request portfolios"))]
MayAnswer = Annotated[Actor, Depends(Permission("answer requests"))]
MayOpen = Annotated[Actor, Depends(Permission("open recommendations"))]
MayDecide = Annotated[Actor, Depends(Permission("decide"))]
MayConfirm = Annotated[Actor, Depends(Permission("confirm decisions"))]
MayCommunicate = Annotated[Actor, Depends(Permission("communicate"))]
MayRegister = Annotated[Actor, Depends(Permission("register agents"))]
MaySuspend = Annotated[Actor, Depends(Permission("suspend agents"))]
MayResume = Annotated[Actor, Depends(Permission("resume agents"))]
MayRead = Annotated[Actor, Depends(Permission("read"))]

"""Permissions: what each role may do. A permission is a type in a route's signature."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from api.http.auth.tokens import ROLES
from api.http.problems import ApiError
from api.services import services_of
from ledger.store.envelope import Actor

# The key of the caller in a request's scope, once it is known.
SCOPE_KEY = "advice_ledger.caller"

# What each role may do. The four-eyes policy decides who of them may confirm (ledger/domain/four_eyes.py).
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
    """A dependency that returns the caller as an Actor if its role may do this; other callers get 401 or 403."""

    def __init__(self, action: str) -> None:
        super().__init__(
            scheme_name="token", description="A token from `advice-ledger tokens create`.", auto_error=False
        )
        self.action = action

    async def __call__(self, request: Request) -> Actor:  # type: ignore[override]
        """Return the caller. Raises ApiError. Runs twice if there is a body: before it is read, and by FastAPI."""
        known = request.scope.get(SCOPE_KEY)
        actor: Actor = known if known is not None else await self._caller(request)
        if actor.role not in MAY[self.action]:
            needed = " or ".join(sorted(MAY[self.action]))
            raise ApiError("wrong-role", f"to {self.action} needs the role {needed}; this token has {actor.role}")
        request.scope[SCOPE_KEY] = actor
        return actor

    async def _caller(self, request: Request) -> Actor:
        given = request.headers.getlist("authorization")
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
                "send a token: Authorization: Bearer …; make one with `advice-ledger tokens create`",
                headers={"WWW-Authenticate": "Bearer"},
            )
        actor = await services_of(request.app).callers.find(token.strip())
        if actor is None:
            raise ApiError(
                "unknown-token",
                "the token is unknown or revoked: make another with `advice-ledger tokens create`",
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

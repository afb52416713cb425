"""The route that says who the caller is, and what it may do."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from api.http.auth.permissions import Myself, WhoAmI
from api.http.parameters import NoQuery, as_json
from api.http.problems import documented
from api.services import InjectedServices, Services
from ledger.domain.client_scope import ClientScope
from ledger.domain.subject import scope_of
from projections.client_scope import clients_in_scope

router = APIRouter(tags=["subjects"])

# More numbers than this are not listed; `count` has all.
MOST_NUMBERS = 1000


class MyRole(BaseModel):
    """A role that the subject has now."""

    role: str
    until: datetime | None
    clients: list[int] | None


class MyCredential(BaseModel):
    """The credential of this request. `ends_at` is when it expires, or when it gives way to another one."""

    credential: int
    kind: str
    ends_at: datetime | None


class MyClients(BaseModel):
    """The clients that can be read in the acting role; the numbers of at most 1000, if it is some."""

    reach: Literal["all", "some", "none"]
    count: int | None
    numbers: list[int] | None


class Me(BaseModel):
    """The caller. `role` is the one that it acts in; null if it has several and named none."""

    subject: str
    kind: str
    roles: list[MyRole]
    role: str | None
    groups: list[str]
    credential: MyCredential
    clients: MyClients | None


@router.get("/me", response_model=Me, responses=documented(400, 401, 403, 422, 503))
async def get_me(services: InjectedServices, caller: WhoAmI, _query: NoQuery) -> Response:
    """Read who you are: your roles, the role that you act in, your credential, your clients. Any role."""
    state = caller.caller.state
    now = services.callers.now()
    credential = state.credentials[caller.caller.credential]
    return as_json(
        {
            "subject": caller.caller.name,
            "kind": state.kind,
            "roles": [
                {
                    "role": role,
                    "until": state.grants[role].until,
                    "clients": None if (listed := state.grants[role].clients) is None else sorted(listed),
                }
                for role in sorted(state.roles(now))
            ],
            "role": caller.role,
            "groups": sorted(state.groups),
            "credential": {"credential": credential.number, "kind": credential.kind, "ends_at": credential.ends_at},
            "clients": None if caller.role is None else await _clients(services, caller, caller.role, now),
        }
    )


async def _clients(services: Services, caller: Myself, role: str, now: datetime) -> dict[str, object]:
    reach = services.access_policy.scope("read cases", role)
    if reach is None:
        return {"reach": "none", "count": None, "numbers": None}
    scope = scope_of(caller.caller.state, caller.caller.name, role, reach == "assigned", now)
    if scope is None:
        return {"reach": "all", "count": None, "numbers": None}
    numbers = await _numbers(services, scope)
    return {"reach": "some", "count": len(numbers), "numbers": numbers[:MOST_NUMBERS]}


async def _numbers(services: Services, scope: ClientScope) -> list[int]:
    ledger = services.ledger
    return sorted(await ledger.readers.run(lambda conn: clients_in_scope(conn, scope, ledger.patience_s)))

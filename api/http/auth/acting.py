"""Find the role in which a subject acts in one request, and the clients that it may act on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from api.callers import Caller
from api.http.problems import ApiError
from ledger.domain.access_policy import OF_CLIENTS, AccessPolicy
from ledger.domain.client_scope import ClientScope
from ledger.domain.subject import EXAMINER, scope_of
from ledger.store.envelope import Actor

# The header that names the role, for subjects with several.
ROLE_HEADER = "Ledger-Role"

# Each command decides what a suspended agent may still do: it may end its calls, and report past calls.
WHILE_SUSPENDED = frozenset({"answer requests"})


def acting(caller: Caller, action: str, policy: AccessPolicy, wanted: str | None, now: datetime) -> Actor:
    """Return the subject as the actor of an action. `wanted` is the role that it asks for.

    Raises ApiError `suspended`, `wrong-role`, `choose-role`.
    """
    roles = caller.state.roles(now)
    names = _or(roles) or "no role now"
    if caller.state.suspended and action not in WHILE_SUSPENDED:
        raise ApiError("suspended", "this subject is suspended until somebody resumes it")
    if wanted is not None and wanted not in roles:
        raise ApiError("wrong-role", f"{ROLE_HEADER}: this subject does not have this role; it has {names}")
    possible = policy.roles_of(action, caller.state, now) & (roles if wanted is None else {wanted})
    if not possible:
        has = wanted or names
        if policy.roles(action) & (roles if wanted is None else {wanted}):
            has += " for a list of clients, which is not enough"
        needed = _or(policy.roles(action)) or "that nobody has"
        raise ApiError("wrong-role", f"to {action} needs the role {needed}; this subject has {has}")
    if len(possible) > 1:
        raise ApiError("choose-role", f"several of its roles may {action}: send {ROLE_HEADER}: {_or(possible)}")
    [role] = possible
    kind: Any = caller.state.kind
    assigned = policy.scope(action, role) == "assigned"
    scope = scope_of(caller.state, caller.name, role, assigned, now) if action in OF_CLIENTS else None
    return Actor(caller.name, kind, role, caller.credential, judged=caller.state.version, scope=scope)


def examined(caller: Caller, now: datetime) -> ClientScope | None:
    """Return the clients that the subject may examine now, by its grant as an examiner. None without a grant."""
    return scope_of(caller.state, caller.name, EXAMINER, False, now) if EXAMINER in caller.state.roles(now) else None


def _or(roles: frozenset[str] | set[str]) -> str:
    return " or ".join(sorted(roles))

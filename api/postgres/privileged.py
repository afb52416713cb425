"""Find the logins that have more rights than a server needs: superusers, and members of the ledger's owner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ledger.database import AsyncConnection, Connection, RoleLogins, Url
from schema.database_roles import ROLES, role_name

PRIVILEGED = Path(__file__).with_name("privileged.sql").read_text("utf-8")


def privileged_logins(conn: Connection, url: Url) -> list[str]:
    """Return the names of the logins of `url` that have too many rights. `conn` is a session of one of them."""
    return [str(name) for (name,) in conn.execute(PRIVILEGED, parameters(url)).fetchall()]


async def privileged_logins_async(conn: AsyncConnection, asked: dict[str, Any]) -> list[str]:
    """Do the same for the `parameters()` of a URL."""
    return [str(name) for (name,) in await (await conn.execute(PRIVILEGED, asked)).fetchall()]


def parameters(url: Url, schema: str = "ledger") -> dict[str, Any]:
    """Return the parameters of the query: the owner's name, and the logins if each role has one."""
    logins = [role_name(schema, role) for role in ROLES] if isinstance(url, RoleLogins) else []
    return {"owner": role_name(schema, "owner"), "logins": logins}


def warning(login: str) -> str:
    """Return a warning about a login, and where to read what to do."""
    return (
        f"the login {login} is a superuser, may create roles or may act as the ledger's owner, so whoever gets control"
        " of this program can change what is recorded: docs/operate/logins.md says how to give each role a login"
    )

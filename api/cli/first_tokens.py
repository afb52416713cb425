"""Make the first tokens on a loopback address; refuse another address while no token exists."""

from __future__ import annotations

from collections.abc import Mapping

from api.cli.shared import CannotRun, note, say
from api.http.auth import tokens
from api.postgres.connect import RoleDenied, connect

INTRODUCTION = """\
A token for each role. They are shown only now; "advice-ledger tokens" makes and revokes more.
Paste these lines into the terminal that you want to work in:

{exports}

Then request a recommendation, and read the newest request:

curl -i {base}/portfolio/recommendations \\
  -H "Authorization: Bearer $ADVISOR" -H 'Content-Type: application/json' \\
  -d '{{"client_id": "client-1", "risk_profile": "balanced", "amount_usd": "250000.00"}}'

curl '{base}/portfolio/requests?limit=1' -H "Authorization: Bearer $ADVISOR"
"""
ADVICE = "make one first: advice-ledger tokens create NAME --role ROLE, with the same database options"


def ensure_tokens(url: str, base: str, *, local: bool) -> None:
    """On a loopback address, make and show the first tokens. Raises CannotRun if another address has none."""
    try:
        conn = connect(url, "owner")
    except RoleDenied:
        note("this login may not see the tokens; every caller needs one: advice-ledger tokens create")
        return
    with conn:
        created = tokens.create_first(conn) if local else {}
        if created:
            say(_introduction(created, base))
        elif tokens.counts(conn).active == 0:
            if not local:
                raise CannotRun(f"there is no active token, and others can reach this address; {ADVICE}")
            note(f"every token is revoked, so all calls are refused; {ADVICE}")


def _introduction(created: Mapping[str, str], base: str) -> str:
    exports = "\n".join(f"export {role.upper()}={token}" for role, token in created.items())
    return INTRODUCTION.format(exports=exports, base=base)

"""Make the first tokens on a loopback address; refuse another address while no token exists.

Tokens are shown on a terminal, and nowhere else: stdout may be a file that others read, or a journal. Elsewhere they
go to a file that only its owner can read.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

from api.cli.shared import CannotRun, note, say
from api.http.auth import tokens
from api.postgres.connect import RoleDenied, connect
from ledger.database import Url

SHOWN = """\
Tokens, one for each name. They are shown only now; "advice-ledger tokens" makes and revokes more.
Paste these lines into the terminal that you want to work in:

{exports}
"""
KEPT = """\
Tokens, one for each name, are in a file that only you can read; "advice-ledger tokens" makes and revokes more.
Paste this line into the terminal that you want to work in:

. {path}
"""
EXAMPLES = """
Then request a recommendation, and read the newest request:

curl -i {base}/portfolio/recommendations \\
  -H "Authorization: Bearer $ADVISOR" -H 'Content-Type: application/json' \\
  -d '{{"client_id": "client-1", "risk_profile": "balanced", "amount_usd": "250000.00"}}'

curl '{base}/portfolio/requests?limit=1' -H "Authorization: Bearer $ADVISOR"
"""
ADVICE = "make one first: advice-ledger tokens create NAME --role ROLE, with the same database options"


def ensure_tokens(url: Url, base: str, folder: Path, *, local: bool) -> None:
    """On a loopback address, make the first tokens and show them, or keep them in a file in `folder`.

    Raises CannotRun if another address has none, or if the file cannot be written.
    """
    try:
        conn = connect(url, "owner")
    except RoleDenied:
        note("this login may not see the tokens; every caller needs one: advice-ledger tokens create")
        return
    with conn:
        # If the tokens cannot be shown or kept, none are made.
        with conn.transaction():
            created = tokens.create_first(conn) if local else {}
            if created:
                with introduced(created, folder) as text:
                    say(text + EXAMPLES.format(base=base))
        if not created and tokens.counts(conn).active == 0:
            if not local:
                raise CannotRun(f"there is no active token, and others can reach this address; {ADVICE}")
            note(f"every token is revoked, so all calls are refused; {ADVICE}")


@contextlib.contextmanager
def introduced(created: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Yield the text to print about new tokens. It has them only if stdout is a terminal, else the name of their file.

    The file is removed if the block fails. Raises CannotRun if it cannot be written.
    """
    exports = "\n".join(f"export {variable(name)}={token}" for name, token in created.items())
    if sys.stdout.isatty():
        yield SHOWN.format(exports=exports)
        return
    try:
        path = _kept(f"{exports}\n", folder)
    except OSError as error:
        raise CannotRun(f"the new tokens cannot be kept in {folder}: {error.strerror}; start on a terminal") from error
    with contextlib.ExitStack() as made:
        made.callback(path.unlink)
        yield KEPT.format(path=shlex.quote(str(path)))
        made.pop_all()


def variable(name: str) -> str:
    """Return the name of the shell variable for a token."""
    return name.upper().replace("-", "_")


def _kept(text: str, folder: Path) -> Path:
    """Write a new file, `tokens.sh` or `tokens-2.sh` and so on, that only its owner can read."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in count(1):
        path = folder / ("tokens.sh" if number == 1 else f"tokens-{number}.sh")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError:
            path.unlink()
            raise
        return path
    raise AssertionError("count() does not end")

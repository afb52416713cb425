"""Register the first subjects, with a token each, on a loopback address. Refuse to serve another address without them.

Tokens are shown only on a terminal, because stdout may be a file that others read, or a journal. Otherwise they go to
a file that only its owner can read.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

import psycopg

from api.cli.administration import catch_up
from api.cli.shared import CannotRun, note, say
from api.http.auth.tokens import new_token
from api.postgres.connect import connect
from ledger.database import Connection, Url
from ledger.domain.subject import ROLES
from ledger.errors import LogRefused, VersionConflict, from_database
from ledger.service.admission import admit
from ledger.store.envelope import Actor
from ledger.store.events import CHECK_HISTORY
from projections.credentials.model import CREDENTIALS

SHOWN = """\
Tokens of the first subjects, one for each role. They are shown only now; "advice-ledger subjects" and
"advice-ledger credentials" make and revoke more.
Paste these lines into the terminal that you want to work in:

{exports}
"""
KEPT = """\
Tokens of the first subjects, one for each role, are in a file that only you can read; "advice-ledger subjects" and
"advice-ledger credentials" make and revoke more.
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
ADVICE = "make one first: advice-ledger subjects add NAME --role ROLE --token, with the same database options"
# Count the valid credentials, and all credentials that ever existed.
COUNT = (
    "SELECT count(*) FILTER (WHERE revoked_at IS NULL AND (ends_at IS NULL OR ends_at > now())), count(*)"
    " FROM credentials"
)
ACTOR = Actor("advice-ledger", "service", "first-start")


def ensure_tokens(url: Url, base: str, folder: Path, *, local: bool, known: Sequence[tuple[int, bytes]] = ()) -> None:
    """On a loopback address, register the first subjects and show their tokens, or keep them in a file in `folder`.

    Nothing is recorded unless the database has the `known` events, which were signed last.

    Raises CannotRun if another address has none, or if the file cannot be written.
    """
    catch_up(url, CREDENTIALS)
    with connect(url, "reader") as conn:
        [(good, ever)] = conn.execute(COUNT).fetchall()
    if good:
        return
    if not local:
        raise CannotRun(f"there is no good credential, and others can reach this address; {ADVICE}")
    with connect(url, "writer") as conn:
        if not check_known(conn, known):
            return
        if not ever and _first(conn, base, folder):
            # Catch up once the tokens are shown, so that a caller who pastes one at once is let in.
            catch_up(url, CREDENTIALS)
        else:
            note(f"every credential was revoked or has expired, so all calls are refused; {ADVICE}")


def check_known(conn: Connection, known: Sequence[tuple[int, bytes]]) -> bool:
    """Return True if the database has these events; otherwise print the reason. `conn` acts as the writer."""
    try:
        conn.execute(CHECK_HISTORY, [[position for position, _ in known], [hash_ for _, hash_ in known]])
    except psycopg.Error as error:
        reason = from_database(error)
        if not isinstance(reason, LogRefused):
            raise
        note(f"no subject is registered: {reason}")
        return False
    return True


def _first(conn: Connection, base: str, folder: Path) -> bool:
    """Register a subject for each role, named as the role. Return False if one already exists."""
    created = {role: new_token() for role in ROLES}
    # If the tokens cannot be shown or kept, nothing is recorded.
    with contextlib.suppress(VersionConflict), conn.transaction():
        admit(conn, ACTOR, [(role, role, sha256) for role, (_, sha256) in created.items()])
        with introduced({role: token for role, (token, _) in created.items()}, folder) as text:
            say(text + EXAMPLES.format(base=base))
        return True
    return False


@contextlib.contextmanager
def introduced(created: Mapping[str, str], folder: Path) -> Iterator[str]:
    """Yield the text to print about new tokens. It has the tokens if stdout is a terminal, and otherwise the name of
    their file.

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

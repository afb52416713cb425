"""Make the logins of the ledger's roles, and the file with their passwords.

The file has libpq's format (.pgpass), so `PGPASSFILE=FILE psql -U ledger_reader` works. It has one line for each role:

    *:*:*:ledger_reader:PASSWORD
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from api.postgres.connect import BadPasswords, CannotConnect, RoleDenied, connect
from ledger.database import Connection, Url
from schema.database_roles import ROLES, allow_login, role_name

PASSWORD_BYTES = 32
MAX_CHARS = 64 * 1024
MAKE = "advice-ledger migrate --logins FILE makes a new file, or adds what is missing"
# A colon or a backslash within a field has a backslash before it.
FIELD = re.compile(r"((?:[^:\\]|\\.)*)(?::|$)")


def make_logins(conn: Connection, url: Url, *, schema: str = "ledger") -> None:
    """Make each role a login that can connect with `url`, if it cannot yet. `conn` may change the roles.

    Raises BadPasswords, and RoleDenied if the server still refuses a login.
    """
    if isinstance(url, str):
        return
    if url.passwords is None:
        for role in ROLES:
            allow_login(conn, role_name(schema, role))
        return
    names = {role: role_name(schema, role) for role in ROLES}
    passwords = read_passwords(url.passwords)
    if missing := ", ".join(name for name in names.values() if name not in passwords):
        raise BadPasswords(f"{url.passwords} has no password for {missing}: {MAKE}")
    for role, name in names.items():
        if not gets_in(url, role, schema=schema):
            allow_login(conn, name, passwords[name])
            connect(url, role, schema=schema).close()


def ensure_passwords(path: Path, *, schema: str = "ledger") -> None:
    """Make the file, or add the roles that it lacks. Raises BadPasswords."""
    names = [role_name(schema, role) for role in ROLES]
    try:
        passwords = read_passwords(path) if os.path.lexists(path) else {}
        if missing := [name for name in names if name not in passwords]:
            _add(path, missing)
    except OSError as error:
        raise BadPasswords(f"{path} cannot be written: {error.strerror}") from error


def read_passwords(path: Path) -> Mapping[str, str]:
    """Return the password of each login in the file. Raises BadPasswords, also if others can read the file."""
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MAX_CHARS + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise BadPasswords(f"{path} cannot be read: {reason}; {MAKE}") from error
    if len(text) > MAX_CHARS:
        raise BadPasswords(f"{path} has more than {MAX_CHARS} characters, so it is no file of passwords; {MAKE}")
    if mode & 0o077:
        raise BadPasswords(f"others can read {path}: change its passwords, and give it the mode 0600")
    found = {}
    for line in text.splitlines():
        fields = [re.sub(r"\\(.)", r"\1", text) for text in FIELD.findall(line)]
        if not line.startswith("#") and len(fields) > 4:
            found[fields[3]] = fields[4]
    return found


def gets_in(url: Url, role: str, *, schema: str = "ledger") -> bool:
    """Return True if the login for this role connects and may act as it."""
    with contextlib.suppress(CannotConnect, RoleDenied):
        connect(url, role, schema=schema).close()
        return True
    return False


def _add(path: Path, names: Sequence[str]) -> None:
    """Append a random password for each name. A file that exists keeps its mode."""
    lines = "".join(f"*:*:*:{name}:{secrets.token_hex(PASSWORD_BYTES)}\n" for name in names)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())

"""Whom PostgreSQL runs as: ourselves, except that it refuses to run as root.

Started by root, it runs as the owner of an existing cluster, else as the system user `embedded_postgres`, which is
created when missing. That account must pass through the folders above the cluster and above the binaries. Where it
cannot, they get the execute bit for others, with a warning in the log: passing, not listing or reading. A home folder
of mode 0700 becomes 0711 that way.
"""

import logging
import os
import pwd
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from api.postgres.errors import StartError

SYSTEM_USER = "embedded_postgres"
# Of our environment, which may hold the signing key: a server's own is readable by whoever may run programs in it.
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TZ")
GRACE_S = 30  # beyond the limit that pg_ctl keeps by itself

_logger = logging.getLogger(__name__)


class Account(NamedTuple):
    """A user and group id that is not root's."""

    uid: int
    gid: int


def server_account(pgdata: Path) -> Account | None:
    """The account for the cluster at `pgdata`, which need not exist yet; None for ourselves."""
    if os.geteuid() != 0:
        return None
    if pgdata.exists() and (owner := pgdata.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    return _system_account()


def give(path: Path, account: Account | None) -> None:
    """Make `account` the owner of one file or folder."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def let_pass(path: Path, account: Account | None) -> None:
    """Let `account` reach `path` through each folder above it."""
    if account is None:
        return
    for folder in path.parents:
        status = folder.stat()
        if not _may_pass(status, account):
            _logger.warning("letting the PostgreSQL account pass through %s (execute bit for others)", folder)
            folder.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)


def let_read(folder: Path, account: Account | None) -> None:
    """Let `account` read a tree of public files that a strict umask closed when they were installed."""
    if account is None or folder.stat().st_mode & stat.S_IXOTH:
        return
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def run_as(account: Account | None, command: list[str], *, timeout_s: int) -> tuple[int, str]:
    """Run one of PostgreSQL's programs to its end: (exit code, all it printed). Raises StartError when it hangs.

    A file takes the output, not a pipe: a server that pg_ctl leaves behind would hold the pipe open.
    """
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"LC_ALL": "C"}
    with tempfile.TemporaryFile() as output:
        try:
            code = subprocess.run(  # noqa: S603 - our own binaries, no shell
                command,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=environment,
                timeout=timeout_s + GRACE_S,
                user=account.uid if account else None,
                group=account.gid if account else None,
                extra_groups=[] if account else None,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise StartError(
                f"{command[0]} did not end within {error.timeout} s; look for what holds it up."
            ) from error
        output.seek(0)
        return code, output.read().decode(errors="replace").strip()


def _may_pass(status: os.stat_result, account: Account) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _system_account() -> Account:
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        entry = _add_system_user()
    return Account(entry.pw_uid, entry.pw_gid)


def _add_system_user() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    try:
        subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - a constant, found on root's PATH
        return pwd.getpwnam(SYSTEM_USER)  # also when another process added it first
    except (OSError, KeyError) as error:
        raise StartError(
            f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} cannot be created. "
            f"Create it ({' '.join(command)}), or start advice-ledger as another user."
        ) from error

"""The account that PostgreSQL runs as: the account of this process, except under root, where PostgreSQL refuses to run.

Started by root, PostgreSQL runs as the owner of an existing cluster, or else as the system user `embedded_postgres`,
which is created if needed. That account must pass through the folders above the cluster and above the binaries. Folders
that it cannot pass through get the execute bit for others, with a warning in the log: others can then pass through, but
not list or read. A home folder of mode 0700 becomes 0711. `docs/decisions/0009-postgres-as-root.md` says why.
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
# The variables of our environment that the server gets. Our environment may hold the signing key, and SQL that
# may run programs can read the server's environment.
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "TZ")
GRACE_S = 30  # in addition to the time limit that pg_ctl itself keeps

log = logging.getLogger(__name__)


class Account(NamedTuple):
    """The user id and group id of an account other than root."""

    uid: int
    gid: int


def server_account(pgdata: Path) -> Account | None:
    """Return the account for the cluster at `pgdata`, which need not exist yet. None means our own."""
    if os.geteuid() != 0:
        return None
    if pgdata.exists() and (owner := pgdata.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    return _system_account()


def give(path: Path, account: Account | None) -> None:
    """Make `account` the owner of one file or folder, unless it is None."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def let_pass(path: Path, account: Account | None) -> None:
    """Let `account` pass through each folder above `path`."""
    if account is None:
        return
    for folder in path.parents:
        status = folder.stat()
        if not _may_pass(status, account):
            log.warning("letting the PostgreSQL account pass through %s (execute bit for others)", folder)
            folder.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)


def let_read(folder: Path, account: Account | None) -> None:
    """Let `account` read a tree of public files, in case they were installed under a strict umask."""
    if account is None or folder.stat().st_mode & stat.S_IXOTH:
        return
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def run_as(account: Account | None, command: list[str], *, timeout_s: int) -> tuple[int, str]:
    """Run one of PostgreSQL's programs and return its exit code and output. Raises StartError if it hangs.

    The output goes to a file, not to a pipe: the server that pg_ctl starts would keep the pipe open.
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
            raise StartError(f"{command[0]} did not end within {error.timeout} s; find out what blocks it.") from error
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
            f"PostgreSQL refuses to run as root, and the system user {SYSTEM_USER} cannot be created. "
            f"Create it ({' '.join(command)}), or start advice-ledger as another user."
        ) from error

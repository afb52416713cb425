"""Load the settings of a command, and open the database that they choose.

Only this module reads settings from the environment.
"""

from __future__ import annotations

import contextlib
import getpass
import os
from collections.abc import Iterator
from pathlib import Path

from platformdirs.unix import Unix

from api.cli.shared import CannotRun
from api.postgres.connect import open_database
from api.postgres.embedded import default_data_dir
from api.settings import Settings, load_settings
from ledger.database import Connection, Url
from ledger.store.head import read_head


def configured(config: Path | None, **flags: object) -> Settings:
    """Load the settings. A flag that is None was not used. Raises SettingsError."""
    return load_settings(flags, config, os.environ, default_data_dir())


@contextlib.contextmanager
def opened(settings: Settings, *, make: bool = False, supervise: bool = False) -> Iterator[Url]:
    """Yield the chosen database while the block runs; see `open_database()`. Raises CannotRun."""
    passwords = settings.database_logins
    if passwords is not None and settings.database_url is None:
        raise CannotRun("the setting database_logins needs database_url: the embedded database has logins of its own")
    if passwords is not None and "PGPASSWORD" in os.environ:
        raise CannotRun(f"PGPASSWORD would replace the passwords in {passwords}: put the owner's into database_url")
    with open_database(
        settings.database_url, settings.data_dir, passwords=passwords, make=make, supervise=supervise
    ) as url:
        yield url


def data_folder(settings: Settings) -> Path | None:
    """Return the folder of the embedded PostgreSQL; None if the settings name a server."""
    return None if settings.database_url is not None else settings.data_dir or default_data_dir()


def state_folder(settings: Settings) -> Path | None:
    """Return the folder for the copies of state files; None for an account without a home folder."""
    if settings.state_dir is not None:
        return settings.state_dir
    folder = Unix("advice-ledger").user_state_path
    return folder if folder.is_absolute() else None


def exports_folder(settings: Settings) -> Path | None:
    """Return the folder for the files of exports; None for an account without a home folder."""
    if settings.exports_dir is not None:
        return settings.exports_dir
    folder = data_folder(settings) or state_folder(settings)
    return None if folder is None else folder / "exports"


def endpoint_keys_folder(settings: Settings) -> Path | None:
    """Return the folder for the keys of endpoints; None for an account without a home folder."""
    if settings.endpoint_keys is not None:
        return settings.endpoint_keys
    folder = data_folder(settings) or state_folder(settings)
    return None if folder is None else folder / "endpoints"


def origin_of(conn: Connection) -> str:
    """Return the ledger's name. Raises CannotRun without a ledger."""
    head = read_head(conn)
    if head is None:
        raise CannotRun("this database has no ledger yet: run advice-ledger migrate")
    return head.origin


def operator() -> str:
    """Return the actor of events that commands record: `cli:` and the name of the operating system's user."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in containers
        name = str(os.getuid())
    return f"cli:{name}"

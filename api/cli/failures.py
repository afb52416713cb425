"""List the failures that a command may meet, and make the line to print for each. Imported when a command fails."""

from __future__ import annotations

import psycopg

from api.cli.shared import CannotRun
from api.extras import MissingExtra
from api.postgres.connect import DatabaseError
from api.postgres.embedded import EmbeddedError
from api.settings import SettingsError
from ledger.backup.manifest import BackupError
from ledger.database import one_line
from ledger.erasure.rewrite import ScrubFailed
from ledger.errors import LedgerError
from ledger.tlog.sign.errors import KeyUnusable, SigningRefused
from projections.rebuild import RebuildFailed
from projections.registry import UnknownReadModel
from schema.errors import MigrationError

EXPECTED: tuple[type[BaseException], ...] = (
    BackupError,
    CannotRun,
    DatabaseError,
    EmbeddedError,
    KeyUnusable,
    KeyboardInterrupt,
    LedgerError,
    MigrationError,
    MissingExtra,
    OSError,
    RebuildFailed,
    ScrubFailed,
    SettingsError,
    SigningRefused,
    UnicodeEncodeError,
    UnknownReadModel,
    psycopg.Error,
)


def reason(error: BaseException) -> str:
    """Return the line for an expected failure. Most failures carry it as their message."""
    match error:
        case UnknownReadModel():
            return str(error.args[0])
        case psycopg.Error():
            return f"the database failed: {one_line(error)}"
        case UnicodeEncodeError():
            return "an argument is not valid text in UTF-8"
        case KeyboardInterrupt():
            return "interrupted"
        case OSError(strerror=str() as why):
            return f"{error.filename}: {why}" if error.filename else why
    return str(error)

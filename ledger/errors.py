"""What can go wrong on the write side.

    LedgerError
    ├── InvalidEvent            the event may not be recorded as it is; names the field
    ├── Refused                 the state does not allow the command; has a code
    │   └── NotFound            there is nothing to command
    ├── Conflict
    │   ├── IdConflict          the id is recorded with other content        AL002
    │   ├── VersionConflict     the stream is not at the expected version    AL003
    │   └── ClientConflict      the stream belongs to another client         AL005
    ├── CommitmentMismatch      a commitment does not open                   AL004
    ├── Immutable               somebody tried to change the record          AL006
    └── Unavailable             the database does not answer; try again
        └── Overloaded          too much is waiting already

The database's SQLSTATEs become these classes in one table, `BY_SQLSTATE`; api/http/problems.py makes HTTP problems of them.
"""

from __future__ import annotations

import json
from typing import Any

import psycopg


class LedgerError(Exception):
    """Base of all; the message is for the person who meets it."""


class InvalidEvent(LedgerError):
    """The event may not be recorded. `field` is a dotted path into it, `reason` says what is wrong there."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class Refused(LedgerError):
    """The command is not allowed now. `code` is a short name that clients may depend on; `facts` say more."""

    def __init__(self, code: str, message: str, **facts: str | int) -> None:
        super().__init__(message)
        self.code = code
        self.facts = facts


class NotFound(Refused):
    """There is no such thing in this ledger."""


class Conflict(LedgerError):
    """Another append was there first. `detail` has what the database said: line, id, stream, expected, actual."""

    def __init__(self, message: str, detail: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.detail = detail or {}


class IdConflict(Conflict):
    """The id is recorded already, with other content."""


class VersionConflict(Conflict):
    """The stream is not at the version that the caller expected."""


class ClientConflict(Conflict):
    """The stream belongs to another client."""


class CommitmentMismatch(LedgerError):
    """A commitment in a body does not open to the sealed value sent with it."""


class Immutable(LedgerError):
    """What is recorded does not change."""


class Unavailable(LedgerError):
    """The database did not answer. The outcome may be unknown: send it again with the same id."""

    retry_after_s = 1


class Overloaded(Unavailable):
    """More is waiting to be recorded than this process holds."""


BY_SQLSTATE: dict[str, type[LedgerError]] = {
    "AL001": InvalidEvent,
    "AL002": IdConflict,
    "AL003": VersionConflict,
    "AL004": CommitmentMismatch,
    "AL005": ClientConflict,
    "AL006": Immutable,
    "23505": IdConflict,  # twice in one batch: no earlier row to compare with
    "23514": InvalidEvent,  # a check constraint: name or size out of bounds
    "22P02": InvalidEvent,  # not JSON, or not a UUID
    "22P05": InvalidEvent,  # U+0000 in a string
    "22023": InvalidEvent,  # JSON of another kind than an object, or a salt that is not hex
}
# Where one SQLSTATE says too little.
BY_CONSTRAINT: dict[str, type[LedgerError]] = {
    "events_stream_version_key": VersionConflict,  # a stream that was to get this number is there already
}


def from_database(error: psycopg.Error) -> LedgerError | None:
    """The ledger's own error for one that the database raised; None where it has no meaning here."""
    if isinstance(error, psycopg.OperationalError):
        return Unavailable("the database does not answer; try again")
    kind = BY_CONSTRAINT.get(error.diag.constraint_name or "") or BY_SQLSTATE.get(error.sqlstate or "")
    message = error.diag.message_primary or "refused by the database"
    if kind is None:
        return None
    if issubclass(kind, InvalidEvent):
        return kind("", message)
    if issubclass(kind, Conflict):
        return kind(message, _detail(error))
    return kind(message)


def _detail(error: psycopg.Error) -> dict[str, Any]:
    try:
        found = json.loads(error.diag.message_detail or "{}")
    except ValueError:  # DETAIL of PostgreSQL's own errors is prose
        return {}
    return found if isinstance(found, dict) else {}

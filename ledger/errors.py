"""The errors of the write side.

    LedgerError
    ├── InvalidEvent            the event cannot be recorded; names the field
    │   └── NumberTooHigh       the stream's number would use up the numbers AL008
    ├── InvalidLines            lines of a batch cannot be recorded; names each
    ├── UnknownEventType        the database's catalogue lacks the type      AL009
    ├── Refused                 the state does not allow the command; has a code
    │   └── NotFound            the subject of the command does not exist
    ├── Conflict
    │   ├── IdConflict          the id is recorded with other content        AL002
    │   ├── VersionConflict     the stream is not at the expected version    AL003
    │   ├── ClientConflict      the stream belongs to another client         AL005
    │   └── ClientTaken         the client's identifier is registered        AL012
    ├── CommitmentMismatch      a commitment does not open                   AL004
    ├── StreamUnreadable        no command can be decided on this stream
    │   └── StreamSetAside      a read model cannot show this stream
    ├── Immutable               an attempt to change the record              AL006
    └── Unavailable             the database does not answer; try again
        ├── LogRefused          the database is not the one that was signed      AL010
        ├── NotAttested         no recording key of the ledger attests the batch AL011
        ├── ClockAhead          the database's clock has jumped ahead            AL007
        ├── ContentAltered      a read model shows what was not recorded
        └── Overloaded          too many events wait already

`BY_SQLSTATE` maps SQLSTATEs of the database to these classes; api/http/problems.py maps the classes to HTTP problems.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import psycopg


class LedgerError(Exception):
    """The base of all errors here. The message is for the person who reads it."""


class InvalidEvent(LedgerError):
    """The event cannot be recorded. `field` is a dotted path into it; `reason` says what is wrong there."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class NumberTooHigh(InvalidEvent):
    """The number of a new stream is beyond the next one of its category. Nothing was recorded."""


class InvalidLines(LedgerError):
    """Lines of a batch cannot be recorded. `errors` has a field, such as `line 3: since`, and a reason for each."""

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field}: {reason}" for field, reason in errors))
        self.errors = tuple(errors)


class UnknownEventType(LedgerError):
    """The database's catalogue has no such event type or version. Nothing was recorded: an operator has to migrate."""

    retry_after_s = 60


class Refused(LedgerError):
    """The state does not allow the command. Clients may depend on `code`; `facts` are further members of the answer."""

    def __init__(self, code: str, message: str, **facts: str | int) -> None:
        super().__init__(message)
        self.code = code
        self.facts = facts


class NotFound(Refused):
    """The ledger has no item with this name or id."""


class Conflict(LedgerError):
    """Another append came first. `detail` is that of the database: line, id, stream, expected, actual."""

    def __init__(self, message: str, detail: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.detail = detail or {}


class IdConflict(Conflict):
    """The id is already recorded, with other content."""


class VersionConflict(Conflict):
    """The stream, or that of a precondition, is not at the expected version."""


class ClientConflict(Conflict):
    """The stream belongs to another client."""


class ClientTaken(Conflict):
    """The identifier of a client is registered already, in another stream."""


class ClientErased(Refused):
    """The client was erased: no further event is recorded in its streams, or with its number."""


class CommitmentMismatch(LedgerError):
    """A commitment in a body does not open to the sealed value beside it."""


class StreamUnreadable(LedgerError):
    """An event of the stream has a shape that no client of the service can send. Its values are not shown."""

    retry_after_s = 300

    @classmethod
    def at(cls, stream: str, position: int) -> StreamUnreadable:
        """Describe a stream on which no command can be decided."""
        return StreamUnreadable(
            f"the event at position {position} of the stream {stream!r} lacks what every client sends, so that nothing"
            " can be decided there: an operator has to look"
        )


class StreamSetAside(StreamUnreadable):
    """A read model's fold cannot process the events of this stream, so there is nothing to read."""

    def __init__(self, read_model: str, stream: str, position: int, sqlstate: str) -> None:
        super().__init__(
            f"the read model {read_model} cannot show the stream {stream!r} from position {position} on"
            f" (SQLSTATE {sqlstate}); its events are recorded: an operator has to install a version that can fold"
            " them, which rebuilds the read model"
        )


class Immutable(LedgerError):
    """The database refuses to change or delete what is recorded."""


class Unavailable(LedgerError):
    """The database did not answer. The outcome may be unknown: retry with the same id."""

    retry_after_s = 1


class ClockAhead(Unavailable):
    """The clock of the database is ahead of the last event and of this program's clock. Nothing was recorded."""


class LogRefused(Unavailable):
    """The database does not continue what was signed last. Nothing is recorded until a person has decided."""

    retry_after_s = 30


class NotAttested(Unavailable):
    """The ledger records only what a recording key attests, and this process has no key in use."""

    retry_after_s = 60


class ContentAltered(Unavailable):
    """A read model differs from the record. Nothing is shown until it was rebuilt."""

    retry_after_s = 30


class Overloaded(Unavailable):
    """More events wait to be recorded than this process can hold."""


BY_SQLSTATE: dict[str, type[LedgerError]] = {
    "AL001": InvalidEvent,
    "AL002": IdConflict,
    "AL003": VersionConflict,
    "AL004": CommitmentMismatch,
    "AL005": ClientConflict,
    "AL006": Immutable,
    "AL007": ClockAhead,
    "AL008": NumberTooHigh,
    "AL009": UnknownEventType,
    "AL010": LogRefused,
    "AL011": NotAttested,
    "AL012": ClientTaken,
    "AL013": ClientErased,
    "23505": IdConflict,  # the id is twice in one batch, so there is no earlier row to compare with
    "23514": InvalidEvent,  # a check constraint: name or size out of bounds
    "22P02": InvalidEvent,  # not JSON, or not a UUID
    "22P05": InvalidEvent,  # U+0000 in a string
    "22003": InvalidEvent,  # a number beyond those of jsonb
    "22023": InvalidEvent,  # JSON of another kind than an object, or a salt that is not hex
}
# Constraints that say more than their SQLSTATE.
BY_CONSTRAINT: dict[str, type[LedgerError]] = {
    "events_stream_version_key": VersionConflict,  # another append has created the stream with this number
}


# The session or the server is in a bad state, though psycopg does not derive these from OperationalError.
BAD_SESSION = frozenset(
    {
        "25006",  # read-only: a standby, or a primary that was demoted
        "25P02",  # in a failed transaction
        "25P03",  # ended for being idle in a transaction
        "26000",  # a prepared statement is gone
        "72000",  # the snapshot is too old
    }
)
# PostgreSQL raises these with an SQLSTATE that mostly means something else. Its text is translated; the source is not.
STALE_PLAN = ("0A000", frozenset({"plancache.c"}))  # "cached plan must not change result type"
FILE_DENIED = ("42501", frozenset({"md.c", "fd.c", "slru.c", "relmapper.c", "buffile.c", "xlog.c"}))


def is_operational(error: psycopg.Error) -> bool:
    """Return True if the session or the server is at fault, so that a retry on a new connection may succeed."""
    if isinstance(error, psycopg.OperationalError) or error.sqlstate in BAD_SESSION:
        return True
    sources = dict([STALE_PLAN, FILE_DENIED]).get(error.sqlstate or "", frozenset())
    return error.diag.source_file in sources


def from_database(error: psycopg.Error) -> LedgerError | None:
    """Return the ledger's error for an error of the database; None if it has no meaning here."""
    if is_operational(error):
        return Unavailable("the database does not answer; try again")
    kind = BY_CONSTRAINT.get(error.diag.constraint_name or "") or BY_SQLSTATE.get(error.sqlstate or "")
    message = error.diag.message_primary or "refused by the database"
    if kind is None:
        return None
    if issubclass(kind, InvalidEvent):
        return kind("", message)
    if issubclass(kind, Refused):
        return kind("client-erased", message)
    if issubclass(kind, Conflict):
        return kind(message, _detail(error))
    return kind(message)


def _detail(error: psycopg.Error) -> dict[str, Any]:
    try:
        detail = json.loads(error.diag.message_detail or "{}")
    except ValueError:  # the DETAIL of PostgreSQL's own errors is prose
        return {}
    return detail if isinstance(detail, dict) else {}

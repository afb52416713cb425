"""Register new subjects by one synchronous append: at the first start of a server, and where no server runs yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import psycopg

from ledger.database import Connection
from ledger.domain.subject import AGENT, SubjectState, stream_of
from ledger.domain.subject_commands import NewToken, register
from ledger.errors import from_database
from ledger.store.envelope import Actor, NewEvent, encode, uuid7
from ledger.store.events import APPEND, parameters
from schema.events import SubjectRegistered


def admit(conn: Connection, actor: Actor, names: Iterable[tuple[str, str, str]]) -> None:
    """Register subjects with a role and a token each, given as name, role and SHA-256: all of them or none.

    `conn` acts as the writer. Raises VersionConflict if one of them already exists, and other errors of the ledger.
    """
    append(conn, [new for name, role, sha256 in names for new in admitted(actor, name, role, sha256)])


def admitted(actor: Actor, name: str, role: str, sha256: str) -> list[NewEvent]:
    """Return the events that make a new subject with a role and a token. Raises Refused or InvalidEvent."""
    kind = SubjectRegistered(kind="agent" if role == AGENT else "human")
    events = register(SubjectState(), name, kind, [role], NewToken(sha256))
    return [NewEvent(uuid7(), stream_of(name), event, actor, version) for version, event in enumerate(events)]


def append(conn: Connection, events: Sequence[NewEvent]) -> None:
    """Append events in the transaction of `conn`. Raises the errors of the ledger, or psycopg.Error."""
    try:
        conn.cursor(binary=True).execute(APPEND, parameters([encode(new) for new in events]))
    except psycopg.Error as error:
        raise from_database(error) or error from error

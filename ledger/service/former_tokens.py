"""Record the tokens of earlier versions as subjects and credentials, once, when a ledger is migrated.

Earlier versions kept callers in a table `tokens`, outside the chain. The migration renames it to `former_tokens`. Each
row becomes a subject of its name, an agent or a person, with its role and its token. A revoked token is recorded and
revoked. So callers keep their tokens, and events of the past keep their actors. The subject of a suspended agent is
suspended as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from ledger.database import Connection
from ledger.domain.subject import AGENT, stream_of
from ledger.service.admission import append
from ledger.store.envelope import Actor, NewEvent, uuid7
from schema.events import (
    CredentialIssued,
    CredentialRevoked,
    Event,
    SubjectRegistered,
    SubjectRoleGranted,
    SubjectSuspended,
)

ROWS = (Path(__file__).parent / "former_tokens.sql").read_bytes()
EXISTS = "SELECT to_regclass('former_tokens') IS NOT NULL"
LOCK = "LOCK TABLE former_tokens IN ACCESS EXCLUSIVE MODE"
DROP = "DROP TABLE former_tokens"

ACTOR = Actor("advice-ledger", "service", "migration")
CARRIED_OVER = "carried over: the agent was suspended when this ledger was migrated"
REVOKED = "carried over: revoked before this ledger was migrated"


class FormerToken(NamedTuple):
    """A row of the former table. `suspended`: it belongs to an agent that was suspended."""

    name: str
    role: str
    sha256: str
    revoked_at: datetime | None
    suspended: bool

    @property
    def recordable(self) -> bool:
        """Return True unless the name ends with "-", which cannot name a stream: its holder needs another name."""
        return not self.name.endswith("-")


def record_former_tokens(conn: Connection) -> list[FormerToken]:
    """Record the rows of `former_tokens` and drop the table, in one transaction. Return the rows.

    `conn` acts as the owner, in autocommit mode. Without the table, return an empty list. If several servers do this
    at once, one succeeds; after a crash the next one does. Raises LedgerError.
    """
    if conn.execute(EXISTS).fetchone() != (True,):
        return []
    with conn.transaction():
        conn.execute(LOCK)
        rows = [FormerToken(*row) for row in conn.execute(ROWS)]
        events = [new for row in rows if row.recordable for new in _events(row)]
        if events:
            append(conn, events)
        conn.execute(DROP)
    return rows


def _events(row: FormerToken) -> Iterator[NewEvent]:
    events: list[Event] = [
        SubjectRegistered(kind=AGENT if row.role == AGENT else "human"),
        SubjectRoleGranted(role=row.role),
        CredentialIssued(credential=1, kind="token", sha256=row.sha256),
    ]
    if row.revoked_at is not None:
        events.append(CredentialRevoked(credential=1, reason=REVOKED))
    if row.suspended:
        events.append(SubjectSuspended(reason=CARRIED_OVER))
    for event in events:
        yield NewEvent(uuid7(), stream_of(row.name), event, ACTOR)

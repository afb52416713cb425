"""A ledger whose events are attested, and what its owner can do to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.database import Connection
from ledger.proof.findings import Kind
from ledger.store import events as store
from ledger.store.attested import attested_faults, first_fault
from ledger.store.envelope import Line, NewEvent, encode
from ledger.store.events import Receipt
from ledger.store.head import read_head
from ledger.store.recorder import Recorder
from ledger.tlog import recording_keys
from ledger.tlog.signing_keys import RecordingKey
from tests.support import connect

# What the owner of the tables can do before anything else.
DISARM = """
    ALTER TABLE attestations DISABLE TRIGGER USER;
    ALTER TABLE events DISABLE TRIGGER USER;
    ALTER TABLE head DISABLE TRIGGER USER;
    ALTER TABLE recording_keys DISABLE TRIGGER USER;
"""
# An event at the end, with the hash that append() would give it, as somebody else.
FORGE = """
    WITH last AS (SELECT * FROM events WHERE position = (SELECT position FROM head)),
    made AS (
        SELECT position + 1 AS position, gen_random_uuid() AS id, 'forged-' || position AS stream,
               type, recorded_at, hash, body
        FROM last
    ), whole AS (
        SELECT m.*, replace(replace(m.body, l.id::text, m.id::text), '"stream":"' || l.stream || '"',
                            '"stream":"' || m.stream || '"') AS forged
        FROM made m, last l
    ), added AS (
        INSERT INTO events (position, id, stream, version, type, recorded_at, body, prev_hash, hash)
        SELECT position, id, stream, 1, type, recorded_at, forged, hash,
               event_hash(hash, position, 1, (extract(epoch FROM recorded_at) * 1000000)::bigint, forged)
        FROM whole RETURNING position, hash
    )
    UPDATE head h SET position = a.position, hash = a.hash FROM added a
"""


@dataclass
class AttestedLedger:
    """A ledger with one registered key. `writer` has the role writer; `conn` is the superuser's."""

    url: str
    conn: Connection
    writer: Connection
    origin: str
    key: RecordingKey
    recorder: Recorder = field(init=False)

    def __post_init__(self) -> None:
        self.recorder = recording_keys.recorder(self.key)

    @classmethod
    def of(cls, url: str, conn: Connection, writer: Connection) -> AttestedLedger:
        """Register the first key of an empty ledger."""
        head = read_head(conn)
        assert head is not None
        made = cls(url, conn, writer, head.origin, RecordingKey.generate(head.origin + recording_keys.ENDING))
        recording_keys.register_first(writer, made.key)
        return made

    def append(self, *events: NewEvent | Line, recorder: Recorder | None = None) -> list[Receipt]:
        """Append events in one group, attested by this ledger's recorder or another one."""
        lines = [event if isinstance(event, Line) else encode(event) for event in events]
        with self.writer.cursor(binary=True) as cursor:
            cursor.execute(store.APPEND, store.parameters(lines, recorder=recorder or self.recorder))
            return store.receipts(lines, cursor.fetchone())

    def owner(self, *statements: str) -> None:
        """Do something that only the owner of the tables can do."""
        self.conn.execute(DISARM)
        for statement in statements:
            self.conn.execute(statement.encode())

    def forge(self) -> int:
        """Add an event at the end behind the back of append(); return its position."""
        self.owner(FORGE)
        return self.last

    @property
    def last(self) -> int:
        """The position of the last event."""
        head = read_head(self.conn)
        assert head is not None
        return head.position

    def faults(self) -> list[tuple[Kind, int, int]]:
        """What is wrong with the attestations: kind, first and last position."""
        with self.conn.transaction():
            return [fault[:3] for fault in attested_faults(self.conn, self.origin, self.last)]

    def first_fault(self, after: int = 0, upto: int | None = None) -> tuple[Kind, int, int] | None:
        """What the signer would say of the events after one position, up to another."""
        with connect(self.url, "signer") as conn:
            fault = first_fault(conn, self.origin, after, upto or self.last)
        return None if fault is None else fault[:3]

"""Open a ledger for reading and recording: its writer, its readers, and the commands over them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from ledger.database import Url, conninfo
from ledger.domain.client import Registration
from ledger.erasure.eraser import Eraser
from ledger.service.erasures import Erasing
from ledger.service.ledger import Ledger
from ledger.service.policies import Policies
from ledger.store.readers import STATEMENT_TIMEOUT_S, Readers
from ledger.store.recorder import Recorder
from ledger.store.writer import KnownEvents, Writer

# Connections that claim requests for agents over HTTP.
CLAIMING = 1
# The longest time that an erasure waits for a read model or the head.
ERASER_WAITS_S = 10


@dataclass(frozen=True)
class LedgerParts:
    """The arguments of `open_ledger()`."""

    # The connection string of a migrated ledger, for a login that may act in all its roles, or one login for each
    # role.
    database_url: Url
    schema_name: str = "ledger"
    # True to read only, without a writer. The database may be a standby.
    read_only: bool = False
    policies: Policies = field(default_factory=Policies.packaged)
    registration: Registration = field(default_factory=Registration)
    # The recorder that attests what this process records; None if the ledger has no recording keys.
    recorder: Recorder | None = None
    # What an erasure needs from the read models; None if this process erases nothing.
    erasing: Erasing | None = None
    # The number of connections for reads.
    readers: int = 8
    # The longest time that a read waits for its projection, and a write for the database, in seconds.
    patience_s: float = 3.0


@asynccontextmanager
async def open_ledger(parts: LedgerParts, known: KnownEvents = tuple) -> AsyncIterator[Ledger]:
    """Open a writer and readers; close them when the block ends. `known` are events that the database must have.

    The database need not answer yet: each part connects on its own, again and again.
    """
    async with AsyncExitStack() as stack:
        readers = await open_readers(parts, stack, "reader", parts.readers)
        # The lock timeout limits how long an append waits for the row of `head`. An append that is cancelled there is
        # certainly not recorded.
        url = conninfo_of(parts, "writer", "writer", lock_timeout=f"{parts.patience_s}s")
        recorder = parts.recorder and parts.recorder.another()
        writer = Writer(url, patience_s=parts.patience_s, known=known, recorder=recorder)
        if not parts.read_only:
            await writer.start()
        stack.push_async_callback(writer.close)
        claiming = None if parts.read_only else await open_readers(parts, stack, "claims", CLAIMING, "writer")
        ledger = Ledger(writer, readers, parts.patience_s, parts.policies, parts.registration, claiming)
        if parts.erasing is not None and not parts.read_only:
            ledger.erasures = ledger.erasures.by(_eraser(parts, parts.erasing), parts.erasing.family)
            ledger.disposals = replace(ledger.disposals, erasures=ledger.erasures)
        yield ledger


def _eraser(parts: LedgerParts, erasing: Erasing) -> Eraser:
    url = conninfo_of(parts, "eraser", "eraser", lock_timeout=f"{ERASER_WAITS_S}s")
    return Eraser(url, erasing.fold_again, parts.recorder and parts.recorder.another())


async def open_readers(
    parts: LedgerParts, stack: AsyncExitStack, name: str, most: int, role: str = "reader"
) -> Readers:
    """Open a pool of connections for reads; the stack closes it."""
    readers = Readers(conninfo_of(parts, role, name), most=most, patience_s=parts.patience_s)
    await readers.open()
    stack.push_async_callback(readers.close)
    return readers


def conninfo_of(parts: LedgerParts, role: str, name: str, **options: str) -> str:
    """Return the connection string for a role. pg_stat_activity shows the name."""
    return conninfo(
        parts.database_url,
        role,
        schema=parts.schema_name,
        application=f"advice-ledger {name}",
        statement_timeout=f"{STATEMENT_TIMEOUT_S}s",
        **options,
    )

"""Which checkpoint readers are shown where witnesses are asked."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from ledger.database import Connection, conninfo
from ledger.tlog.quorum import WitnessPolicy
from ledger.tlog.serve.published import CheckpointSelector
from ledger.tlog.signing_keys import WitnessSigningKey
from tests.support import connect

KEYS = [WitnessSigningKey.generate(f"witness.example/{name}").verifier for name in ("a", "b")]
NAMES = [f"{key.name}+{key.key_id:08x}" for key in KEYS]
POLICY = WitnessPolicy.of([f"http://127.0.0.1:1={key.text}" for key in KEYS], 2)


def shown(url: str, serving: CheckpointSelector) -> int | None:
    """The size that readers are shown."""

    async def work() -> int | None:
        async with await psycopg.AsyncConnection.connect(conninfo(url, "reader"), autocommit=True) as conn:
            return await serving.size(conn)

    return asyncio.run(work())


def sign(conn: Connection, size: int, *, ago_s: float = 0.0) -> None:
    """A checkpoint; what is in the note is of no matter here."""
    conn.execute("ALTER TABLE checkpoints DISABLE TRIGGER check_checkpoint")
    add = "INSERT INTO checkpoints (size, note, created_at) VALUES (%s, '', clock_timestamp() - %s * interval '1 s')"
    conn.execute(add, [size, ago_s])


def cosign(conn: Connection, size: int, *names: str) -> None:
    """Cosignatures by these."""
    for name in names:
        conn.execute("INSERT INTO cosignatures (size, witness, line) VALUES (%s, %s, 'line')", [size, name])


@pytest.mark.tampers
def test_the_newest_with_its_quorum(database_url: str) -> None:
    """Before the first quorum the newest; then the newest that has it, whatever comes after, cosigned by one or not."""
    serving = CheckpointSelector(POLICY)
    with connect(database_url) as conn:
        assert shown(database_url, serving) is None
        sign(conn, 10)
        cosign(conn, 10, NAMES[0])
        assert shown(database_url, serving) == 10
        cosign(conn, 10, NAMES[1])
        sign(conn, 20)
        cosign(conn, 20, NAMES[1], "somebody else+00000000")
        assert shown(database_url, serving) == 10
        cosign(conn, 20, NAMES[0])
        assert shown(database_url, serving) == 20
        assert shown(database_url, CheckpointSelector(WitnessPolicy())) is None


@pytest.mark.tampers
def test_the_newest_checkpoint_is_shown_once_a_witness_is_down_too_long(database_url: str) -> None:
    """Once a newer one has waited too long, the newest is shown; and none that is smaller, when witnesses come back."""
    serving = CheckpointSelector(POLICY)
    with connect(database_url) as conn:
        sign(conn, 10, ago_s=500)
        cosign(conn, 10, *NAMES)
        sign(conn, 20, ago_s=59)
        assert shown(database_url, serving) == 10
        sign(conn, 15, ago_s=61)
        assert shown(database_url, serving) == 20
        cosign(conn, 15, *NAMES)
        assert shown(database_url, CheckpointSelector(POLICY)) == 15
        assert shown(database_url, serving) == 20
        sign(conn, 30)
        assert shown(database_url, serving) == 20
        cosign(conn, 30, *NAMES)
        assert shown(database_url, serving) == 30

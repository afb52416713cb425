"""The schema that the migrations make equals the reviewed snapshot.

A deliberate change: run this test with ADVICE_LEDGER_WRITE_SNAPSHOT=1, and read the difference before committing it.
Read models are not in it; projections/ makes them.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.schema.render import render
from tests.support import connect, fresh_ledger

SNAPSHOT = Path(__file__).with_name("snapshot.txt")


def test_schema_is_the_snapshot(server_url: str) -> None:
    """Tables, columns, constraints, indexes, functions, triggers, roles and grants are those of snapshot.txt."""
    with fresh_ledger(server_url) as url, connect(url) as conn:
        found = render(conn)
    if "ADVICE_LEDGER_WRITE_SNAPSHOT" in os.environ:
        SNAPSHOT.write_text(found, "utf-8")
    assert found.splitlines() == SNAPSHOT.read_text("utf-8").splitlines()


def test_snapshot_grants_nothing_to_public() -> None:
    """No line of the snapshot gives PUBLIC anything, and no right can be handed on."""
    lines = SNAPSHOT.read_text("utf-8").splitlines()
    assert [line for line in lines if line.startswith("grant")]
    assert [line for line in lines if line.endswith((" to public", " with grant option"))] == []

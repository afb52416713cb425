"""The schema that the migrations make equals the reviewed snapshot, which is what `verify` compares with.

A deliberate change: run this test with ADVICE_LEDGER_WRITE_SNAPSHOT=1, and read the difference before committing it.
Read models are not in it; projections/ makes them.
"""

from __future__ import annotations

import os

from schema.migrate import OBJECTS as SNAPSHOT
from tests.schema.render import render
from tests.support import connect, fresh_ledger


def test_schema_is_the_snapshot(server_url: str) -> None:
    """Tables, columns, constraints, indexes, functions, triggers, roles and grants are those of schema/objects.txt."""
    with fresh_ledger(server_url) as url, connect(url) as conn:
        found = render(conn)
    if "ADVICE_LEDGER_WRITE_SNAPSHOT" in os.environ:
        SNAPSHOT.write_text(found, "utf-8")
    assert found.splitlines() == SNAPSHOT.read_text("utf-8").splitlines()


def test_snapshot_grants_nothing_to_public() -> None:
    """No line of the snapshot gives PUBLIC anything, and no right can be handed on."""
    grants = [line for line in SNAPSHOT.read_text("utf-8").splitlines() if "\tgrant on " in line]
    assert grants
    assert [line for line in grants if "\tgrant on " in line and ("to PUBLIC" in line or "grant option" in line)] == []

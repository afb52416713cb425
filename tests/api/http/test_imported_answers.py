"""The answers of `GET /events/{position}` are lines of a history."""

from __future__ import annotations

from pathlib import Path

from tests.api.served import Api
from tests.conftest import Template, ledger_copy
from tests.ledger.imports.scenes import importable, imported, positions, rows


def test_answers_are_imported(api: Api, server_url: str, template_database: Template, tmp_path: Path) -> None:
    """The read models of the other ledger are those of this one."""
    for client in ("client-1", "client-2"):
        api.answered(api.asked(client_id=client, notes="größer"), recommendation={"share": 0.1, "large": 1e-7})
    file = tmp_path / "events.ndjson"
    wanted = importable(api.url)
    file.write_bytes(b"".join(api.get(f"/events/{position}").content + b"\n" for position in wanted))
    with ledger_copy(server_url, template_database) as other:
        assert imported(other, file).recorded == len(wanted)
        assert rows(other, positions(api.url, other)) == rows(api.url)

"""advice-ledger subjects changes: list the changes that need two administrators."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer

from api.cli.administration import catch_up, minute
from api.cli.configure import configured, opened
from api.cli.shared import AsJson, ConfigFile, DatabaseUrl, DataDir, say_json, say_table
from ledger.database import Url
from ledger.service.open_ledger import LedgerParts, open_ledger
from projections.event_index.model import EVENT_INDEX
from projections.subject_changes import SubjectChange, read_changes
from schema.states import ChangeState

# The number of newest changes that are shown.
LIMIT = 200


def changes(
    state: Annotated[
        ChangeState | None, typer.Option(show_default=False, help="Only changes in this state. Default: all.")
    ] = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """List the changes of subjects that administrators proposed, where the access policy asks for two of them.

    The newest 200 are shown. Another administrator confirms or declines them over HTTP.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        catch_up(url, EVENT_INDEX)
        found = asyncio.run(_read(url, state))
    if as_json:
        say_json([one.model_dump(mode="json") for one in found])
        return
    rows = [
        (one.id, one.subject, one.change, one.state, one.proposed_by, minute(one.expires_at), one.answered_by or "")
        for one in found
    ]
    say_table(("id", "subject", "change", "state", "proposed by", "expires (UTC)", "answered by"), rows)


async def _read(url: Url, state: ChangeState | None) -> list[SubjectChange]:
    async with open_ledger(LedgerParts(url, readers=2, read_only=True)) as ledger:
        return await ledger.readers.run(lambda conn: read_changes(conn, state, datetime.now(UTC), LIMIT))

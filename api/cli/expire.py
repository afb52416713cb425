"""advice-ledger expire: record that decisions have expired that nobody confirmed in time."""

from __future__ import annotations

from api.cli.administration import catch_up, on_ledger
from api.cli.configure import configured, opened
from api.cli.shared import AsJson, ConfigFile, DatabaseUrl, DataDir, say, say_json
from api.postgres.connect import connect
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor
from projections.decisions.model import DECISIONS
from projections.decisions.overdue import overdue


def expire(
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Record that decisions have expired that nobody confirmed in time.

    The four-eyes policy gave them that time. Their recommendations are proposed again. `serve` does this by itself.
    Nobody can confirm such a decision meanwhile. It may be killed, and run in several places at once.
    """
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with opened(settings) as url:
        catch_up(url, DECISIONS)
        with connect(url, "reader") as conn:
            due = overdue(conn)

        async def work(ledger: Ledger, actor: Actor) -> list[int]:
            return [decision_id for decision_id in due if await ledger.mistakes.expire(actor, decision_id)]

        expired = on_ledger(settings, url, work) if due else []
    if as_json:
        say_json({"expired": expired})
    elif expired:
        say(f"expired: {', '.join(map(str, expired))}")
    else:
        say("no decision has waited for too long")

"""advice-ledger erasures propose and dispose: the two steps of a disposal at the end of retention."""

from __future__ import annotations

import asyncio

from api.cli.administration import catch_up, on_ledger
from api.cli.bars import progress
from api.cli.configure import configured, opened
from api.cli.shared import AsJson, ConfigFile, DatabaseUrl, DataDir, say, say_json
from api.jobs.disposals import do_step
from ledger.service.disposals import number_of_disposal
from ledger.service.ledger import Ledger
from ledger.store.envelope import Actor
from projections.clients.model import CLIENTS
from projections.erasures.model import ERASURES
from schema.disposals import DisposalStep
from schema.events import RequestDisposal


def propose(
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Request the erasure of each client whose records had to be kept and need not be any longer.

    Another subject confirms them: advice-ledger erasures dispose. It may be killed, and run again.
    """
    _step("propose", as_json, database_url, data_dir, config)


def dispose(
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
    config: ConfigFile = None,
) -> None:
    """Confirm each erasure that another subject requested because retention is over. It cannot be undone.

    A legal hold that was placed meanwhile refuses its client. It may be killed, and run again.
    """
    _step("erase", as_json, database_url, data_dir, config)


def _step(step: DisposalStep, as_json: bool, database_url: DatabaseUrl, data_dir: DataDir, config: ConfigFile) -> None:
    settings = configured(config, database_url=database_url, data_dir=data_dir)
    with progress() as on_progress, opened(settings) as url:

        def caught_up() -> None:
            for read_model in (CLIENTS, ERASURES):
                catch_up(url, read_model)

        async def run(ledger: Ledger, actor: Actor) -> tuple[int, dict[str, object]]:
            number = number_of_disposal(await ledger.disposals.request(actor, RequestDisposal(step=step)))
            done = await do_step(
                ledger,
                number,
                lambda done, total: on_progress("clients" if step == "propose" else "erasures", done, total),
                lambda: asyncio.to_thread(caught_up),
            )
            assert done.completed is not None, "it is done"
            return number, done.completed.data

        number, data = on_ledger(settings, url, run)
    if as_json:
        say_json({"disposal": number, **data})
        return
    say(f"disposal {number}, as of {data['as_of']}, policy {data['policy']}")
    what = "proposed" if step == "propose" else f"erased, with {data['values']} values"
    say(f"{data['done']} {what}; {data['forbidden']} forbidden, {data['waiting']} waiting, of {data['looked_at']}")
